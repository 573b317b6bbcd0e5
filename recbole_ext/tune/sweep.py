"""The search of `--tune`, spread over processes and machines by Ray Tune.

A sweep only fills the log of finished trials that every search reads (`trials.TrialLog`): whatever ends it, the same
command goes on with what is missing, and the run that follows finds each trial made.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.errors import HarnessError
from recbole_ext.experiment import Experiment, planned_bytes
from recbole_ext.training import Training
from recbole_ext.tune.search import Point, Trial

_POLL = 0.2
"""Seconds between looks at whether Ray is still running."""


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


def sweep(experiment: Experiment, records: Path, cluster: Cluster) -> None:
    """Make all trials of an experiment's space that are not in the log of its search yet.

    Raises:
        HarnessError: Ray is not installed or cannot be reached, or every trial failed.
    """
    assert experiment.space is not None
    embeddings = experiment.embeddings()
    vectors = embeddings.vectors if embeddings is not None else None
    _ = experiment.ground.valid_task  # made here once, read by the trials from shared memory
    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:
        Training(experiment, vectors, Path(scratch)).search_once(
            experiment.space,
            records,
            lambda seeded: lambda points: _spread(seeded, points, cluster),
        )


def started(cluster: Cluster) -> Any:
    """The `ray` module, connected.

    Raises:
        HarnessError: it is not installed, or nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    try:
        import ray
    except ImportError:
        raise HarnessError("sweep needs Ray: pip install 'ray[tune]'") from None
    if not ray.is_initialized():
        try:
            ray.init(
                address=cluster.address,
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


def _spread(training: Training, points: list[Point], cluster: Cluster) -> Iterator[Trial]:
    """Trials in the order in which they finish; a closed-form model's points are one trial that shares its inverse."""
    ray = started(cluster)
    from ray import tune

    from recbole_ext.tune.finished import Finished

    closed = training.experiment.model.trainer == "closed_form"
    configs = [{"points": points}] if closed else [{"points": [point]} for point in points]
    done: queue.Queue[list[Trial]] = queue.Queue()
    resources: dict[str, float] = {"cpu": cluster.cpus, "gpu": cluster.gpus}
    needed = planned_bytes(training.experiment)
    if needed:
        resources["memory"] = needed

    scheduler = None if closed else _scheduler(training.experiment)
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(
                _trial, training=training, threads=cluster.cpus, reports=scheduler is not None
            ),
            resources,
        ),
        param_space={"run": tune.grid_search(configs)},
        tune_config=tune.TuneConfig(
            metric="value", mode="max", reuse_actors=True, scheduler=scheduler
        ),
        run_config=tune.RunConfig(
            storage_path=cluster.storage or str(training.scratch),
            callbacks=[Finished(done)],
            verbose=0,
        ),
    )
    failed: list[BaseException] = []

    def work() -> None:
        try:
            tuner.fit()
        except BaseException as error:  # handed to the main thread
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    missing = len(points)
    try:
        while missing:
            try:
                found = done.get(timeout=_POLL)
            except queue.Empty:
                if not thread.is_alive() and done.empty():
                    break
                continue
            missing -= len(found)
            yield from found
        thread.join()
    except BaseException:
        ray.shutdown()  # ends the trials of a sweep that is interrupted
        raise
    if missing:
        why = " ".join(str(failed[0]).split())[:200] if failed else "Ray gave no reason"
        raise HarnessError(
            f"the sweep ended {missing} trials early: {why}; the same command goes on"
        )


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


def _trial(config: Mapping[str, Any], training: Training, threads: int, reports: bool) -> None:
    """What runs on a worker: one point, or a family of them; with `reports` after each validation too."""
    import torch

    torch.set_num_threads(threads)
    points = config["run"]["points"]
    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:
        here = dataclasses.replace(training, scratch=Path(scratch))
        begun = time.perf_counter()
        try:
            found = list(here.trials(points, _tell if reports else None))
        except HarnessError as error:
            seconds = round(time.perf_counter() - begun, 3)
            found = [Trial(point, None, seconds, error=str(error)) for point in points]
    _tell(*found)


def _tell(*found: Trial) -> None:
    """Report trials to Ray."""
    from ray import tune

    values = [trial.value for trial in found if trial.value is not None]
    metrics = {
        "value": max(values, default=-float("inf")),
        "trials": [dataclasses.asdict(trial) for trial in found],
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
