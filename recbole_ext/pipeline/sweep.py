"""The search of `--tune`, spread over processes and machines by Ray Tune.

A sweep only fills the log of finished trials that every search reads (`trials.TrialLog`): whatever ends it, the same
command goes on with what is missing, and the run that follows finds each trial made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.experiment import Experiment
from recbole_ext.pipeline.checks import planned_bytes
from recbole_ext.pipeline.training import Training
from recbole_ext.tune.search import Asked, Trial
from recbole_ext.tune.watch import Event, watching

_POLL = 0.2
"""Seconds between looks at whether Ray is still running."""
_PATIENCE = 1.0
"""Least seconds between reports of a trial that no scheduler waits for: a report stops the training until Ray took it."""


@dataclass(frozen=True)
class Cluster:
    """Where trials run, and what each may use."""

    address: str | None = None
    """Of a running cluster; None starts one on this machine and ends it afterwards."""
    cpus: int = 1
    """Processors, and torch's threads, of a trial."""
    gpus: float = 0.0
    """Share of a GPU of a trial."""
    storage: str | None = None
    """Folder (or URI) that all machines see, for Ray's own files; None is a temporary one."""


def sweep_all(experiments: Iterable[Experiment], records: Path, cluster: Cluster) -> None:
    """`sweep` one after the other, then leave Ray.

    Whatever Ray prints meanwhile goes to standard error: standard output is for data.
    """
    with contextlib.redirect_stdout(sys.stderr):
        try:
            for experiment in experiments:
                sweep(experiment, records, cluster)
        finally:
            if "ray" in sys.modules:
                sys.modules["ray"].shutdown()


def sweep(experiment: Experiment, records: Path, cluster: Cluster) -> None:
    """Make all trials of an experiment's space that are not in the log of its search yet.

    Raises:
        HarnessError: Ray is not installed or cannot be reached, no machine has what a trial asks for, or every trial
            failed.
    """
    experiment = experiment.origin
    assert experiment.space is not None
    _ = experiment.problem.validations  # made here once, read by the trials from shared memory
    curves = records / ".trials" / f"{experiment.search_id}.tensorboard"
    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:
        Training(experiment, experiment.embeddings(), Path(scratch)).search_once(
            experiment.space,
            records,
            lambda seeded: lambda asked: _spread(seeded, asked, cluster, curves),
        )


def started(cluster: Cluster) -> Any:
    """The `ray` module, connected.

    Raises:
        HarnessError: it is not installed, or nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # A sweep that is interrupted leaves Ray while Tune still works: it must not start another.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    # The log of trials and the curves are ours: Tune's copies of them cost a write per validation.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    try:
        import ray
    except ImportError:
        raise HarnessError("sweep needs Ray: pip install 'ray[tune]'") from None
    if not ray.is_initialized():
        try:
            ray.init(
                address=cluster.address or "local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = cluster.address or "this machine"
            raise HarnessError(
                f"--ray-address={where}: {' '.join(str(error).split())[:160]}"
            ) from None
    return ray


def _spread(training: Training, asked: Asked, cluster: Cluster, curves: Path) -> Iterator[Trial]:
    """Trials in the order in which they finish."""
    ray = started(cluster)
    happened: queue.Queue[Event] = queue.Queue()
    tuner = _tuner(training, asked, cluster, ray.nodes(), happened)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            tuner.fit()
        except BaseException as error:  # handed to the main thread
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    missing = asked.count
    experiment = training.experiment
    metric = experiment.settings.evaluation["valid_metric"]
    try:
        with watching(f"{experiment.model.name} sweep", metric, asked, curves) as tell:
            while missing:
                try:
                    event = happened.get(timeout=_POLL)
                except queue.Empty:
                    if not thread.is_alive() and happened.empty():
                        break
                    continue
                tell(event)
                if event.over:
                    missing -= len(event.trials)
                    yield from event.trials
        thread.join()
    except BaseException:
        ray.shutdown()  # ends the trials of a sweep that is interrupted
        raise
    if missing:
        why = " ".join(str(failed[0]).split())[:200] if failed else "Ray gave no reason"
        raise HarnessError(
            f"the sweep ended {missing} trials early: {why}; the same command goes on"
        )


def _tuner(
    training: Training,
    asked: Asked,
    cluster: Cluster,
    nodes: list[dict[str, Any]],
    happened: queue.Queue[Event],
) -> Any:
    """Ray's tuner of a stage; a closed-form model's points are one trial that shares its inverse."""
    from ray import tune

    from recbole_ext.tune.adaptive import Chosen
    from recbole_ext.tune.events import Events

    experiment = training.experiment
    assert experiment.space is not None
    searcher, configs = None, [{"points": [point]} for point in asked.untried]
    if training.spec.families:
        configs = [{"points": asked.untried}]
    elif asked.count < len(asked.untried):
        searcher = Chosen(asked, experiment.space.seed)
    scheduler = _scheduler(experiment)
    trial = tune.with_parameters(
        _trial,
        training=training,
        threads=cluster.cpus,
        patience=0.0 if scheduler else _PATIENCE,
    )
    return tune.Tuner(
        tune.with_resources(trial, _resources(nodes, cluster, planned_bytes(experiment))),
        param_space=None if searcher else {"run": tune.grid_search(configs)},
        tune_config=tune.TuneConfig(
            metric="value",
            mode="max",
            reuse_actors=True,
            scheduler=scheduler,
            search_alg=searcher,
            num_samples=asked.count if searcher else 1,
        ),
        run_config=tune.RunConfig(
            storage_path=cluster.storage or str(training.scratch),
            callbacks=[Events(happened)],
            # What a trial raises is caught where it runs: this is for a worker or a machine that died.
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )


def _resources(nodes: list[dict[str, Any]], cluster: Cluster, planned: int) -> dict[str, float]:
    """What Ray reserves for a trial.

    Args:
        nodes: Ray's list of machines.
        cluster: what is asked for.
        planned: bytes that the model plans for; no more than a machine has is reserved, so that it runs there alone.

    Raises:
        HarnessError: no machine has as much, or several have no folder in common.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if len(alive) > 1 and cluster.storage is None:
        raise HarnessError(f"{len(alive)} machines: --storage=DIR is missing, a folder all see")
    most = {key: max(node.get(key, 0.0) for node in alive) for key in ("CPU", "GPU", "memory")}
    for option, wanted, there in (
        ("cpus-per-trial", cluster.cpus, most["CPU"]),
        ("gpus-per-trial", cluster.gpus, most["GPU"]),
    ):
        if wanted > there:
            raise HarnessError(f"--{option}={wanted:g}: no machine has more than {there:g}")
    found: dict[str, float] = {"cpu": cluster.cpus, "gpu": cluster.gpus}
    if planned:
        found["memory"] = min(float(planned), most["memory"])
    return found


def _scheduler(experiment: Experiment) -> Any:
    """Ray's, counting validations; None trains every trial to its own end."""
    assert experiment.space is not None
    if experiment.space.scheduler is None:
        return None
    from ray.tune.schedulers import ASHAScheduler

    params = experiment.settings.params
    most = max(1, int(params["epochs"]) // int(params["eval_step"]))
    # A first look after a twentieth, then a third of the trials go on each time.
    return ASHAScheduler(max_t=most, grace_period=max(1, most // 20), reduction_factor=3)


def _trial(
    config: Mapping[str, Any], training: Training, threads: int, patience: float = 0.0
) -> None:
    """What runs on a worker: one point, its validations reported, or a family of them."""
    import torch

    torch.set_num_threads(threads)
    points = config["run"]["points"]
    curve: list[tuple[int, float]] = []
    begun = told = time.perf_counter()

    def so_far(trial: Trial, score: float) -> None:
        nonlocal told
        curve.append((trial.epochs or 0, score))
        if time.perf_counter() - told >= patience:
            _tell([trial], curve)
            curve.clear()
            told = time.perf_counter()

    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:
        here = dataclasses.replace(training, scratch=Path(scratch))
        try:
            found = list(here.trials(points, so_far))
        except Exception as error:  # this trial is a row with its error, the others go on
            seconds = round(time.perf_counter() - begun, 3)
            named = "" if isinstance(error, HarnessError) else f"{type(error).__name__}: "
            why = f"{named}{' '.join(str(error).split())}"[:300]
            found = [Trial(point, None, seconds, error=why) for point in points]
    _tell(found, curve)


def _tell(found: list[Trial], curve: list[tuple[int, float]]) -> None:
    """Report trials, and validations (epochs, score) since the last report, to Ray."""
    from ray import tune

    values = [trial.value for trial in found if trial.value is not None]
    metrics = {
        "value": max(values, default=-float("inf")),
        "trials": [dataclasses.asdict(trial) for trial in found],
        "curve": list(curve),
    }
    _report(tune.report, metrics)


def _report(report: Callable[..., None], metrics: Mapping[str, Any]) -> None:
    """Report to the tuner what selection may see.

    Raises:
        HarnessError: a key of the test part is among it.
    """
    test = [key for key in metrics if "test" in key.lower()]
    if test:
        raise HarnessError(
            f"a tuner must not see {', '.join(test)}: selection reads validation only"
        )
    report(dict(metrics))
