"""`show`: what a finished run makes of a user, of all users, of a query, a concept, a neuron or a latent."""

from __future__ import annotations

from pathlib import Path

from recbole_ext.arguments import Arguments, as_count, as_path
from recbole_ext.core.errors import HarnessError, one_of

_OF_CONCEPTS = ("html", "concept", "neuron", "interpretability", "steering")
"""What `show` is asked of a model that offers concepts, one at a time."""


def show(arguments: Arguments) -> int:
    """The lines that answer what is asked of a run."""
    asked = [name for name in _OF_CONCEPTS if name in {*arguments.options, *arguments.flags}]
    if asked:
        from recbole_ext.explain.questions import answered

        print("\n".join(answered(arguments, asked)))
        return 0
    if "labels" in arguments.flags or "latent" in arguments.options:
        from recbole_ext.explain.labels import answered as labelled

        print("\n".join(labelled(arguments)))
        return 0
    if "users" in arguments.options:
        return _show_every_user(arguments)
    from recbole_ext.explain.intention import alphas_of
    from recbole_ext.explain.pairs import scored_rows
    from recbole_ext.explain.top_items import alpha_table, saved_run, top_items

    records = Path(arguments.take("records") or "runs").expanduser()
    model = arguments.name("model")
    dataset = arguments.name("dataset")
    user, query = arguments.take("user"), arguments.take("query")
    k = as_count(arguments.take("k") or "10", "k")
    data_path, queries = as_path(arguments.take("data-path")), as_path(arguments.take("queries"))
    alphas = arguments.take("alpha")
    arguments.finish("user", "query", "queries", "alpha", "k")
    if (user is None) == (queries is None):
        raise HarnessError("--user=TOKEN is missing: whose list? (or --queries=FILE for all users)")
    if alphas is not None and query is None and queries is None:
        raise HarnessError("--alpha is the weight of a --query or of --queries")
    weights = alphas_of(
        alphas or ("0.5" if query is not None else "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1")
    )
    with saved_run(records, model, dataset, data_path) as saved:
        if queries is not None:
            lines = alpha_table(saved, queries, weights)
        elif query is None and saved.experiment.model.scoring == "pointwise":
            lines = scored_rows(saved, str(user), k)
        else:
            lines = top_items(saved, str(user), k, query, weights[0])
    print("\n".join(lines))
    return 0


def _show_every_user(arguments: Arguments) -> int:
    from recbole_ext.explain.every_user import checked_output, write_every_user
    from recbole_ext.explain.top_items import saved_run

    one_of("--users", arguments.take("users"), ("all",))
    records = Path(arguments.take("records") or "runs").expanduser()
    model = arguments.name("model")
    dataset = arguments.name("dataset")
    data_path, output = as_path(arguments.take("data-path")), as_path(arguments.take("output"))
    top = as_count(arguments.take("top") or "20", "top")
    known = ("model", "dataset", "data-path", "records", "top", "output")
    arguments.finish_part("--users=all", *known)
    arguments.finish()
    if output is None:
        raise HarnessError("--output=FILE is missing: where do the lists go? (.parquet or .csv)")
    checked_output(output)  # before anything is loaded
    with saved_run(records, model, dataset, data_path) as saved:
        print("\n".join(write_every_user(saved, top, output)))
    return 0
