"""`run` and `sweep`: what is asked for is planned, checked as a whole, run, and shown as a board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.arguments import Arguments, as_count, as_share
from recbole_ext.commands.board import board_text
from recbole_ext.core.errors import HarnessError, one_of

if TYPE_CHECKING:
    from recbole_ext.experiment import Experiment
    from recbole_ext.pipeline.sweep import Cluster
    from recbole_ext.results import ResultRecord


def run(arguments: Arguments) -> int:
    """One command's models, or those of each step of a suite."""
    suite = arguments.take("suite")
    if suite is None:
        records, dataset = _run_one(arguments)
        if "json" not in arguments.flags:
            print(board_text(records, dataset))
        return 0
    from recbole_ext.core.progress import say
    from recbole_ext.pipeline.suite import read_suite

    # What is typed wins, e.g. --data-path or --records.
    steps, records = read_suite(suite, over=arguments), Path("runs")
    for number, step in enumerate(steps, 1):
        say(f"suite {suite}, run {number} of {len(steps)}: {step.options.get('dataset')}")
        records, _ = _run_one(step)
    if "json" not in arguments.flags:
        print(board_text(records))
    return 0


def sweep(arguments: Arguments) -> int:
    """The same, tuned on a cluster first."""
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
        print(board_text(records, dataset))
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

    from recbole_ext.pipeline.checks import check_memory, check_served
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
    _tell_before(experiments, waiting, asked.tuned)
    for experiment in experiments:
        record = execute(experiment, records, force, Beside(track, energy))
        if experiment in waiting:
            _tell_after(record, records)
        if "json" in arguments.flags:
            print(" ".join(record.to_json().split()))
    return records, problem.spec.name


def _tell_before(experiments: list[Experiment], waiting: list[Experiment], tuned: bool) -> None:
    """What will not be run, and what not be searched."""
    from recbole_ext.core.progress import say

    for experiment in experiments:
        if experiment not in waiting:
            say(
                f"{experiment.model.name}: run {experiment.run_id} is finished, nothing to do (--force runs it again)"
            )
    if tuned:
        for name in dict.fromkeys(e.model.name for e in waiting if e.space is None):
            say(f"{name}: no search space, run untuned")


def _tell_after(record: ResultRecord, records: Path) -> None:
    from recbole_ext.core.progress import say

    model, there = record.experiment["model"], records / record.run_id
    headline, value = record.experiment["valid_metric"], record.validation["value"]
    if value is None:
        say(f"{model}: ranked from its run file -> {there}")
    else:
        say(
            f"{model}: seed {record.experiment['seed']}, validation {headline} {value:.4f}, "
            f"fit {record.cost['fit_seconds']:.1f} s -> {there}"
        )
