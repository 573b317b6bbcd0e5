"""The latents that items and users are labelled by, and what they share: SAULREC's case study (4.4) for any user."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from recbole_ext.arguments import Arguments, as_count, as_index, as_path
from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.explain.chosen import Choice, choices
from recbole_ext.explain.top_items import Saved, labels_of, saved_run, user_of
from recbole_ext.recbole_compat import Latents
from recbole_ext.registry import LATENTS
from recbole_ext.registry.find import require


def answered(arguments: Arguments) -> list[str]:
    """The lines of `show --user=TOKEN --labels` or `show --latent=N`.

    Raises:
        HarnessError: an option that belongs to something else, or what the answer says.
    """
    records = Path(arguments.take("records") or "runs").expanduser()
    model = arguments.name("model")
    dataset = arguments.name("dataset")
    data_path, user = as_path(arguments.take("data-path")), arguments.take("user")
    latent, labels = arguments.take("latent"), "labels" in arguments.flags
    k = as_count(arguments.take("k") or "10", "k")
    if labels and latent is not None:
        raise HarnessError("--labels and --latent are two questions: ask one at a time")
    arguments.finish(*(("labels", "user", "k") if labels else ("latent", "k")))
    if labels and user is None:
        raise HarnessError("--user=TOKEN is missing: whose labels?")
    if not labels and user is not None:
        raise HarnessError("--user says nothing to --latent: the items of a latent are nobody's")
    number = None if latent is None else as_index(latent, "latent")
    with saved_run(records, model, dataset, data_path) as saved:
        if number is not None:
            return latent_card(saved, number, k)
        return case(saved, str(user), k, records)


def latents_of(saved: Saved) -> Latents:
    """The coder of a finished run.

    Raises:
        HarnessError: its model has none.
    """
    require(saved.experiment.model, LATENTS)
    problem, fitted = saved.experiment.problem, saved.fitted
    known = problem.split.pairs(problem.data, *problem.seen_at_test)
    return Latents(fitted.model, fitted.bench, problem.data, known)


def latent_card(saved: Saved, latent: int, k: int) -> list[str]:
    """Lines with the k items that activate a latent most, and their values.

    Raises:
        HarnessError: no such latent, or one that no item has.
    """
    view = latents_of(saved)
    if latent >= view.count:
        raise HarnessError(f"--latent={latent}: {saved.name} has latents 0 to {view.count - 1:,}")
    values = view.codes()[:, latent].double().cpu().numpy()
    having = int((values != 0).sum())
    if not having:
        live = int((view.codes() != 0).any(0).sum())
        raise HarnessError(
            f"--latent={latent}: no item has it ({live:,} of {view.count:,} are some item's)"
        )
    names = labels_of(saved.experiment.problem)
    order = np.argsort(-values, kind="stable")
    shown = [int(item) for item in order if values[item] != 0][:k]
    count = f"{having:,} items have it, most:" if having > 1 else "1 item has it:"
    return [
        f"{saved.name}: latent {latent}; {count}",
        *(f"{values[item]:9.4f}  {names[item]:<60.60}".rstrip() for item in shown),
    ]


def case(saved: Saved, user: str, k: int, records: Path) -> list[str]:
    """Lines with the labels of a user, of its k latest items and of the candidates of its first list, latents that are shared marked,
    and what this run and A-LLMRec's chose.

    Raises:
        HarnessError: no such user, or one whom no list was drawn for.
    """
    problem = saved.experiment.problem
    view, names, index = latents_of(saved), labels_of(problem), user_of(problem, user)
    own, history = view.user_labels(index), view.history(index)[-k:]
    before = view.labels(history) if len(history) else np.empty((0, view.k), dtype=np.int64)
    lines = [
        f"{saved.name}: user {user}; {view.k} of {view.count:,} latents, the largest first",
        f"user: {_written(own, [])}",
        f"the latest {len(history)} items, the latest last; * a latent of the user:",
        *_rows([_written(row, own) for row in before], [names[item] for item in history]),
    ]
    found = choices(saved, index, records)
    items = found.candidates
    labels = view.labels(items)
    lines += [f"{len(items)} candidates of {found.protocol}; + a latent of an item above:"]
    told = []
    for item, row in zip(items.tolist(), labels, strict=True):
        of_user, of_items = _shared(row, own, before)
        shared = f"{of_user} with the user, {of_items} with items"
        told.append(f"{names[item]:<48.48}  {shared}  {', '.join(found.told_of(item))}")
    lines += _rows([_written(row, own, before) for row in labels], told)
    return [*lines, *(_sentence(one, names) for one in found.chosen)]


def _rows(labels: list[str], told: list[str]) -> list[str]:
    """Labels in a column of one width, and what is told of each."""
    width = max(map(len, labels), default=0)
    return [f"  {one:<{width}}  {of:.120}".rstrip() for one, of in zip(labels, told, strict=True)]


def _written(row: Ints, user: Collection[int] | Ints, before: Ints | None = None) -> str:
    """Numbers of latents, `*` behind those of the user and `+` behind those of items of the history."""
    of_user = {int(one) for one in user}
    of_items = set() if before is None else set(before.ravel().tolist())
    marked = (f"{n}{'*' * (n in of_user)}{'+' * (n in of_items)}" for n in row.tolist())
    return f"[{', '.join(marked)}]"


def _shared(row: Ints, user: Ints, before: Ints) -> tuple[int, int]:
    """How many latents an item shares with the user, and with how many items of the history it shares one."""
    return int(np.isin(row, user).sum()), int(np.isin(before, row).any(axis=1).sum())


def _sentence(one: Choice, names: list[str]) -> str:
    if one.why:
        return f"{one.who}: {one.why}"
    said = "named no candidate" if one.item is None else f"chose {names[one.item]:.60}".rstrip()
    return f"{one.who} {said}{', which is right' if one.right else ''}"
