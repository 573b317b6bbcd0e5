"""The command line. Nothing below it reads `sys.argv`, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.arguments import (
    COMMANDS,
    HELP,
    Arguments,
    as_count,
    as_names,
    as_path,
    as_share,
    help_of,
    parse,
)
from recbole_ext.core.errors import HarnessError, either, nearest, one_of

if TYPE_CHECKING:
    from recbole_ext.data.catalog import DatasetSpec
    from recbole_ext.pipeline.sweep import Cluster
    from recbole_ext.results import ResultRecord


def main(argv: list[str]) -> int:
    """Run a command line; returns the exit code: 0 done, 1 a check failed, 2 the user can put it right."""
    _print_anything()
    try:
        code = _answer(argv)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk behind `> FILE` is met here and not after the exit code is given
        return code
    except HarnessError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted; finished runs are kept, and the same command goes on from them",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        _silence()
        return 1
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise  # a fault of ours, which wants its traceback
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"error: {where}{error.strerror}; make room, correct its permissions or name another place; finished runs are kept",
            file=sys.stderr,
        )
        _silence()
        return 2


_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""What a disk or its owner says to a file that no part of us has been told to expect it of, such as the one behind `> FILE`."""


def _print_anything() -> None:
    """Where a terminal has fewer letters than a board, the others are question marks; after a long run it is no time to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="replace")


def _silence() -> None:
    """What could not be printed is not tried again when the process ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # a stream that is no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _answer(argv: list[str]) -> int:
    if {"-h", "--help"} & set(argv) or ["help"] in (argv[:1], argv[1:]):
        print(help_of(argv[0]) if argv[0] in COMMANDS else HELP, end="")
        return 0
    arguments = parse(argv)
    return {
        "run": _run,
        "sweep": _sweep,
        "board": _board,
        "data": _data,
        "show": _show,
        "list": _list,
        "doctor": _doctor,
    }[arguments.command](arguments)


def _run(arguments: Arguments) -> int:
    suite = arguments.take("suite")
    if suite is None:
        records, dataset = _run_one(arguments)
        if "json" not in arguments.flags:
            print(_board_text(records, dataset))
        return 0
    from recbole_ext.core.progress import say
    from recbole_ext.pipeline.suite import read_suite

    # What is typed wins, e.g. --data-path or --records.
    steps, records = read_suite(suite, over=arguments), Path("runs")
    for number, step in enumerate(steps, 1):
        say(f"suite {suite}, run {number} of {len(steps)}: {step.options.get('dataset')}")
        records, _ = _run_one(step)
    if "json" not in arguments.flags:
        print(_board_text(records))
    return 0


def _sweep(arguments: Arguments) -> int:
    from recbole_ext.pipeline.sweep import Cluster

    cluster = Cluster(
        address=arguments.take("ray-address"),
        cpus=as_count(arguments.take("cpus-per-trial") or "1", "cpus-per-trial"),
        gpus=as_share(arguments.take("gpus-per-trial") or "0", "gpus-per-trial"),
        storage=arguments.take("storage"),
    )
    if "tune" in arguments.options or "tune" in arguments.flags:
        raise HarnessError("sweep always tunes; say how much with --trials=N")
    trials = arguments.take("trials")
    if trials is None:
        arguments.flags.add("tune")
    else:
        arguments.options["tune"] = str(as_count(trials, "trials"))
    if "threads" in arguments.options:
        raise HarnessError("--threads of a sweep are its --cpus-per-trial")
    arguments.options["threads"] = str(cluster.cpus)
    arguments.flags.discard("resume")
    if "energy" in arguments.flags:
        raise HarnessError(
            "sweep measures no energy, its trials run in processes of their own; run --tune does"
        )
    scheduler = one_of("--scheduler", arguments.take("scheduler") or "none", ("none", "asha"))
    searcher = one_of("--searcher", arguments.take("searcher") or "random", ("random", "optuna"))
    if searcher == "optuna" and trials is None:
        raise HarnessError(
            "--searcher=optuna chooses among the points: say how many with --trials=N"
        )
    how = {
        "scheduler": None if scheduler == "none" else scheduler,
        "adaptive": searcher == "optuna",
    }
    records, dataset = _run_one(arguments, cluster, how)
    if "json" not in arguments.flags:
        print(_board_text(records, dataset))
    return 0


def _run_one(
    arguments: Arguments, cluster: Cluster | None = None, how: Mapping[str, Any] | None = None
) -> tuple[Path, str]:
    """Run what a command line asks for: (folder of records, dataset).

    With a cluster its trials run there first, `how` says in which way those of models that train by epoch.
    """
    from recbole_ext.core.energy import check_energy
    from recbole_ext.pipeline.plan import plan

    records = Path(arguments.take("records") or "runs").expanduser()
    track, energy = arguments.take("track"), "energy" in arguments.flags
    arguments.flags.discard("energy")
    if track is not None:
        from recbole_ext.pipeline.tracking import check_track

        check_track(track)
    if energy:
        check_energy()
    asked = plan(arguments, how)
    experiments, problem = asked.experiments, asked.problem

    from recbole_ext.core.progress import say
    from recbole_ext.experiment import check_memory, check_served
    from recbole_ext.pipeline.execute import Beside, execute, finished

    # Everything is checked before anything is run: data, text and encoder of every model.
    force = "force" in arguments.flags
    waiting = [e for e in experiments if not finished(e, records, force)]
    if waiting:
        for experiment in waiting:
            check_served(experiment)
            check_memory(experiment)
        _ = problem.test_task  # draws the lists, or says which protocol asks for too many negatives
    if cluster is not None:
        from recbole_ext.pipeline.sweep import sweep_all

        # Seeds share a search: the first of each model stands for it.
        firsts = {e.model.name: e for e in reversed(waiting) if e.space is not None}
        sweep_all(firsts.values(), records, cluster)
    done = []
    for experiment in experiments:
        model, seed = experiment.model.name, experiment.settings.run["seed"]
        if experiment not in waiting:
            say(
                f"{model}: run {experiment.run_id} is finished, nothing to do (--force runs it again)"
            )
        elif asked.tuned and experiment.space is None:
            say(f"{model}: no search space, run untuned")
        record = execute(experiment, records, force, Beside(track, energy))
        done.append(record)
        headline, value = record.experiment["valid_metric"], record.validation["value"]
        if experiment in waiting and value is None:
            say(f"{model}: ranked from its run file -> {records / record.run_id}")
        elif experiment in waiting:
            say(
                f"{model}: seed {seed}, validation {headline} {value:.4f}, "
                f"fit {record.cost['fit_seconds']:.1f} s -> {records / record.run_id}"
            )
    if "json" in arguments.flags:
        for record in done:
            print(" ".join(record.to_json().split()))
    return records, problem.spec.name


def _board_text(records: Path, dataset: str | None = None, model: list[str] | None = None) -> str:
    import shutil

    from recbole_ext.core.progress import say
    from recbole_ext.leaderboard.board import analysed, load_records
    from recbole_ext.leaderboard.terminal import render_text

    found, damaged = load_records(records)
    shown = _narrowed(found, dataset, model)
    known, broken = analysed(shown, records, records, deep=False)
    for error in damaged + broken:
        say(f"left out: {error}")
    return render_text(shown, shutil.get_terminal_size((160, 50)).columns, known)


def _narrowed(
    records: list[ResultRecord], dataset: str | None, model: list[str] | None
) -> list[ResultRecord]:
    """Those of a dataset and of models.

    Raises:
        HarnessError: there are records, and none of that name: it is mistyped, or never ran.
    """
    names = {
        "dataset": ({r.experiment["dataset"]["name"] for r in records}, [dataset or ""]),
        "model": ({r.experiment["model"] for r in records}, model or [""]),
    }
    for option, (known, wanted) in names.items():
        for name in wanted:
            if records and name and name not in known:
                near = nearest(name, known) or f" (they are of {', '.join(sorted(known))})"
                raise HarnessError(f"--{option}={name}: no record here is of it{near}")
    return [
        r
        for r in records
        if dataset in (None, r.experiment["dataset"]["name"])
        and (not model or r.experiment["model"] in model)
    ]


_OF_BOARD: Mapping[str, tuple[str, ...]] = {
    "html": ("records", "model", "dataset"),
    "publish": ("records",),
    "check": (),
    "verify": ("records", "model", "dataset", "seed", "data-path"),
    "paper": ("records", "model", "dataset"),
    "neighbours": ("records",),
}
"""What `board` is asked beside its text, one at a time -> what else that takes: all else would be ignored."""


def _board(arguments: Arguments) -> int:
    from recbole_ext.core.progress import say
    from recbole_ext.leaderboard import board

    if "compare" in arguments.options:
        return _compare(arguments)
    asked = [name for name in _OF_BOARD if name in {*arguments.options, *arguments.flags}]
    if len(asked) == 1:
        takes = [f"--{one}" for one in _OF_BOARD[asked[0]]] or ["nothing"]
        for name in ("records", "model", "dataset", "seed", "data-path"):
            if name in arguments.options and f"--{name}" not in takes:
                raise HarnessError(
                    f"--{name} says nothing to --{asked[0]} (it takes {either(takes)})"
                )
    published = Path("leaderboard")
    model = arguments.take("model")
    models = as_names(model, "model") if model else None
    dataset = arguments.take("dataset")
    records = as_path(arguments.take("records"))
    verify = arguments.take("verify")
    seed = as_count(arguments.take("seed") or "1", "seed")
    data_path, paper = as_path(arguments.take("data-path")), arguments.take("paper")
    new = as_path(arguments.take("neighbours"))
    html = as_path(arguments.take("html"))
    if "metrics" in arguments.options:
        raise HarnessError("--metrics is of --compare RUN RUN; a board has its own")
    arguments.finish(*_OF_BOARD, "compare")
    if {"publish", "check"} <= arguments.flags:
        raise HarnessError("--publish writes and --check only looks: give one of them")
    if html is not None and (arguments.flags or paper is not None or verify is not None):
        raise HarnessError(
            "--html makes a page of what is there: without --publish, --check, --paper and --verify"
        )
    if len(asked) > 1:
        raise HarnessError(f"--{asked[0]} and --{asked[1]} are two questions: ask one at a time")
    if records is not None and not records.is_dir():
        raise HarnessError(f"--records={records}: no such folder")
    if new is not None:
        from recbole_ext.leaderboard.analysis import read_analysis
        from recbole_ext.leaderboard.neighbours import new_records, render_neighbours

        if not new.is_dir():
            raise HarnessError(f"--neighbours={new}: no such folder")
        fresh, place = new_records(new), records or published / "records"
        (found, damaged), (known, broken) = board.load_records(place), read_analysis(place)
        for error in [*damaged, *broken]:
            say(f"left out: {error}")
        print(render_neighbours(fresh, found, known), end="")
        return 0
    if paper is not None:
        from recbole_ext.leaderboard.papers_beside import render_paper

        found, damaged = board.load_records(records or published / "records")
        for error in damaged:
            say(f"left out: {error}")
        print(render_paper(paper, _narrowed(found, dataset, models)), end="")
        return 0
    if html is not None:
        return _board_page(html, records or published / "records", dataset, models)
    if "publish" in arguments.flags:
        written, remarks = board.publish(records or Path("runs"), published)
        for path in written:
            print(path)
        for error in remarks:
            say(f"left out: {error}")
        return 0
    if "check" in arguments.flags:
        stale = board.check(published)
        for line in stale:
            print(line)
        print(
            "leaderboard/ is stale: python run_bench.py board --publish"
            if stale
            else "leaderboard/ is fresh"
        )
        return 1 if stale else 0
    if verify is not None:
        from recbole_ext.pipeline.verify import verify_records

        found, damaged = board.load_records(records or published / "records")
        for error in damaged:
            say(f"left out: {error}")
        return verify_records(
            _narrowed(found, dataset, models), as_count(verify, "verify"), seed, data_path
        )
    print(_board_text(records or Path("runs"), dataset, models))
    return 0


def _compare(arguments: Arguments) -> int:
    import shutil

    metrics, records = arguments.take("metrics"), as_path(arguments.take("records"))
    asked = [run for run in str(arguments.take("compare")).split(",") if run] + arguments.words
    arguments.finish_part("--compare RUN RUN", "metrics", "records")
    if len(asked) != 2:
        raise HarnessError(
            f"--compare takes two runs, not {len(asked)}: --compare RUN RUN, each by its id or how that begins"
        )
    if records is not None and not records.is_dir():
        raise HarnessError(f"--records={records}: no such folder")

    from recbole_ext.leaderboard.chosen_run import chosen_run
    from recbole_ext.leaderboard.compare import compare
    from recbole_ext.leaderboard.compared_text import render_comparison

    folders = [records or Path("runs"), Path("leaderboard/records")]
    one, other = (chosen_run(run, folders) for run in asked)
    found = compare(one, other, as_names(metrics, "metrics") if metrics is not None else None)
    print("\n".join(render_comparison(found, shutil.get_terminal_size((160, 50)).columns)))
    return 0


def _board_page(path: Path, records: Path, dataset: str | None, models: list[str] | None) -> int:
    from recbole_ext.core.progress import say
    from recbole_ext.core.web_page import checked_path
    from recbole_ext.leaderboard.analysis import read_analysis
    from recbole_ext.leaderboard.board import load_records
    from recbole_ext.leaderboard.page.make import page_of
    from recbole_ext.leaderboard.page.write import write_page

    checked_path(path, "board.html")
    found, damaged = load_records(records)
    known, broken = read_analysis(records)
    for error in damaged + broken:
        say(f"left out: {error}")
    for line in write_page(page_of(_narrowed(found, dataset, models), known), path):
        print(line)
    return 0


def _data(arguments: Arguments) -> int:
    from recbole_ext.config import dataset_settings
    from recbole_ext.data.build import build, get, published_beside
    from recbole_ext.data.card import card
    from recbole_ext.data.catalog import dataset_names, find_dataset
    from recbole_ext.data.load import load_dataset, unread
    from recbole_ext.data.splits import make_split
    from recbole_ext.pipeline.plan import supply_of

    data_path, supply = as_path(arguments.take("data-path")), supply_of(arguments)
    actions = ("get", "build", "card", "queries")
    if len(arguments.words) != 2 or arguments.words[0] not in actions:
        word = arguments.words[0] if arguments.words else ""
        close = "" if word in actions else nearest(word, actions)
        raise HarnessError(
            f"data {{get,build,card,queries}} NAME{close}; which? (known: {', '.join(dataset_names(data_path))})"
        )
    action, name = arguments.words
    dataset = find_dataset(name, data_path, supply)
    if action == "get":
        arguments.finish(words=2)
        if dataset.source is None:
            raise HarnessError(f"{name} is there ({dataset.folder}); nothing to fetch")
        for role, path in get(dataset.source, supply).items():
            print(f"{role}: {path}")
        return 0
    if action == "queries":
        return _queries(arguments, dataset)
    options = dataset_settings(dataset.options, arguments.options)
    data = load_dataset(dataset, options)
    print("\n".join(card(data, make_split(data, options), str(options["split"]))))
    for column, what in unread(dataset, options):
        print(f"  {column:<24} {what}")
    if dataset.source is not None:
        built = build(dataset.source, options, supply)
        about = {
            "licence": dataset.source.licence,
            "from": dataset.source.page,
            "folder": built.folder,
        }
        for what, value in {**about, "addresses opened": dataset.source.verified}.items():
            print(f"  {what:<24} {value}")
        for line in published_beside(dataset.source, built.manifest):
            print(f"  {line}")
    return 0


def _queries(arguments: Arguments, dataset: DatasetSpec) -> int:
    from recbole_ext.config import dataset_settings
    from recbole_ext.core.environment import chosen_device
    from recbole_ext.core.values import parse_value
    from recbole_ext.data.load import load_dataset
    from recbole_ext.explain.every_user import checked_output
    from recbole_ext.explain.intention import (
        ASKED,
        queries_by,
        queries_from_descriptions,
        write_queries,
    )
    from recbole_ext.text.writer import make_writer

    path = as_path(arguments.take("output")) or Path(f"{dataset.name}.queries.csv")
    checked_output(path, (".csv",))  # before a language model writes for hours
    writer = arguments.take("writer")
    if writer is None and {"device", "trust_remote_code", "ask"} & set(arguments.options):
        raise HarnessError("--device, --trust_remote_code and --ask are of a --writer=lm:NAME")
    ask = one_of("--ask", arguments.take("ask") or ASKED[0], ASKED)
    device = chosen_device(arguments.take("device") or "auto") if writer else "cpu"
    trusted = parse_value(
        "trust_remote_code", arguments.take("trust_remote_code") or "false", False
    )
    data = load_dataset(dataset, dataset_settings(dataset.options, arguments.options))
    if writer:
        made = queries_by(make_writer(writer, device, trusted), data, ask)
    else:
        made = queries_from_descriptions(data)
    write_queries(made, path)
    print(f"{path}: queries for {len(made):,} of {len(data.item_tokens):,} items")
    return 0


_OF_CONCEPTS = ("html", "concept", "neuron", "interpretability", "steering")
"""What `show` is asked of a model that offers concepts, one at a time."""


def _show(arguments: Arguments) -> int:
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


def _list(arguments: Arguments) -> int:
    from recbole_ext.config import model_defaults, shared_keys
    from recbole_ext.core.recbole_package import recbole_models
    from recbole_ext.data.catalog import dataset_names
    from recbole_ext.data.source import described_names
    from recbole_ext.evaluator.protocols import KINDS
    from recbole_ext.registry import MODELS, find_model, plugged_in

    data_path = as_path(arguments.take("data-path"))
    arguments.finish(words=1)
    if arguments.words:
        spec = find_model(arguments.words[0])
        defaults = model_defaults(spec)
        if spec.paper:
            print(f"{spec.name}: {spec.paper.title} ({spec.paper.venue}) {spec.paper.link}")
        for offer in spec.offers:
            print(f"  offers {offer.name}: {offer.what}")
        for key, value in defaults.params.items():
            print(_key(key, value, defaults.rules))
        for number, stage in enumerate(defaults.space, 1):
            print(
                f"  --tune, stage {number}: "
                + "; ".join(f"{key} in {values}" for key, values in stage.items())
            )
        for section, keys in shared_keys().items():
            print(f"of every model, {section}:")
            for key, value in keys.items():
                print(_key(key, value, defaults.rules))
        return 0
    print("models")
    width = max(map(len, (*MODELS, *plugged_in())))
    for spec in MODELS.values():
        print(f"  {spec.name:<{width}} {spec.paper.title if spec.paper else ''}".rstrip())
    for name, entry in plugged_in().items():
        print(f"  {name:<{width}} of package {entry.dist.name if entry.dist else entry.module}")
    theirs = recbole_models()
    for kind in ("general", "sequential"):
        names = [name for name, of in theirs.items() if of == kind]
        print(f"  RecBole, {kind}: {' '.join(names)}")
    print("datasets\n  " + " ".join(dataset_names(data_path)))
    for family in described_names()[1]:
        print(f"  {family}, for the categories in its YAML")
    print(f"protocols\n  {' '.join(KINDS.values())} (e.g. uni19 pop100 expected@100)")
    print("keys of a model: python run_bench.py list MODEL")
    return 0


def _key(key: str, value: Any, rules: Mapping[str, object]) -> str:
    """A key as it is typed, and what it may be."""
    plain = isinstance(value, list) and not any(isinstance(one, list | dict) for one in value)
    typed = ",".join(map(str, value)) if plain and value else value
    return f"  --{key}={typed}" + (f"  ({rules[key]})" if key in rules else "")


def _doctor(arguments: Arguments) -> int:
    from recbole_ext.pipeline.doctor import examine

    arguments.finish()
    lines, sound = examine()
    print("\n".join(lines))
    return 0 if sound else 1
