"""`--track`: what a run was asked, how its validation went and what came out, for MLflow, Weights & Biases or TensorBoard.

The first two are optional packages, opened by Ray's own functions for them (`ray.air.integrations`), whose addresses and keys come from
where these packages look. Ray's callbacks for sweeps are not used: one of our trials may be many points that share an inverse, which they
would write as one. The record stays the result; whatever fails here once a run is under way is said, and the run goes on.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.errors import HarnessError, one_of
from recbole_ext.core.progress import say
from recbole_ext.experiment import Experiment
from recbole_ext.results import ResultRecord
from recbole_ext.tune.search import Trial

_NEEDS = {"mlflow": "mlflow", "wandb": "wandb", "tensorboard": "tensorboard"}
"""Kind -> the package that it needs."""
_PROJECT = "recbole_ext"
_LONGEST = 500
"""Characters of a parameter: MLflow refuses long ones."""


def check_track(kind: str) -> str:
    """A kind of tracking that is here.

    Raises:
        HarnessError: it is none, or its package is not installed.
    """
    one_of("--track", kind, tuple(_NEEDS))
    if importlib.util.find_spec(_NEEDS[kind]) is None:
        raise HarnessError(f"--track={kind} needs the package {_NEEDS[kind]}: pip install {_NEEDS[kind]}")  # fmt: skip
    return kind


class Log(ABC):
    """Where numbers go."""

    @abstractmethod
    def numbers(self, values: Mapping[str, float], step: int | None) -> None:
        """Write numbers; `step` None is the end."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """Nothing more will come."""


class Tracker:
    """One run that is tracked, or one that is not (`log` None)."""

    def __init__(self, kind: str = "", metric: str = "", log: Log | None = None) -> None:
        self.kind, self.metric, self._log = kind, metric, log

    def validated(self, score: float, best: float, epochs: int) -> None:
        """A validation of the final training; a `trainer.base.Report`."""
        self._write({f"validation/{self.metric}": score}, epochs)

    def searched(self, trials: Sequence[Trial]) -> None:
        """The trials of a search, in order; those of a sweep once it is over. A point's keys that are numbers stand beside its score."""
        for number, trial in enumerate(trials, 1):
            told = {f"trial/{key}": value for key, value in trial.point.items() if _is_number(value)}  # fmt: skip
            told["trial/seconds"] = trial.seconds
            if trial.value is not None:
                told[f"trial/{self.metric}"] = trial.value
            self._write(told, number)

    def finished(self, record: ResultRecord) -> None:
        """What came out: the mean of every metric, what it cost, what the model says of itself."""
        told = {
            f"test/{protocol}/{name}": entry["mean"]
            for protocol, of in record.metrics.items()
            for name, entry in of.items()
        }
        told |= {f"cost/{name}": value for name, value in record.cost.items() if value is not None}
        told |= {f"measure/{name}": value for name, value in record.measures.items()}
        self._write(told, None)

    def _write(self, values: Mapping[str, float], step: int | None) -> None:
        self._tried(lambda log: log.numbers(values, step))

    def close(self, failed: bool) -> None:
        """Nothing more will come."""
        self._tried(lambda log: log.close(failed))
        self._log = None

    def _tried(self, write: Callable[[Log], None]) -> None:
        if self._log is None:
            return
        try:
            write(self._log)
        except Exception as error:  # a server that went away does not cost the run
            self._log = None
            say(f"--track={self.kind} ended: {' '.join(str(error).split())[:200]}; the run goes on")


@contextmanager
def tracking(kind: str | None, experiment: Experiment, records: Path) -> Iterator[Tracker]:
    """Track what happens within; `kind` None tracks nothing.

    Raises:
        HarnessError: it cannot be opened.
    """
    if kind is None:
        yield Tracker()
        return
    name = f"{experiment.model.name} on {experiment.problem.spec.name}"
    asked = {"run_id": experiment.run_id, **flattened(experiment.describe())}
    asked |= {f"fingerprint/{key}": text for key, text in experiment.fingerprints().items()}
    try:
        log = _LOGS[kind](name, asked, records / ".track" / experiment.run_id)
    except Exception as error:  # of whatever package it is
        why = " ".join(str(error).split())[:200]
        raise HarnessError(f"--track={kind} cannot begin: {why}") from None
    tracker = Tracker(kind, experiment.settings.evaluation["valid_metric"], log)
    try:
        yield tracker
    except BaseException:
        tracker.close(failed=True)
        raise
    tracker.close(failed=False)


def flattened(asked: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as `dataset/split/split_seed`; lists, and what is longer than a tracker takes, as the beginning of their JSON."""
    found: dict[str, Any] = {}
    for key, value in asked.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flattened(value, f"{name}/")
        elif isinstance(value, str | int | float | bool):
            found[name] = value[:_LONGEST] if isinstance(value, str) else value
        else:
            found[name] = canonical_json(value)[:_LONGEST]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Tensorboard(Log):
    """Files below the records' `.track/`, those of an earlier run of the id having gone."""

    def __init__(self, name: str, asked: Mapping[str, Any], folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer: Any = SummaryWriter(str(folder))
        table = "\n".join(f"| {key} | `{value}` |" for key, value in asked.items())
        self._writer.add_text(name, f"| key | value |\n|---|---|\n{table}")

    def numbers(self, values: Mapping[str, float], step: int | None) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, 0 if step is None else step)

    def close(self, failed: bool) -> None:
        self._writer.close()


class _Mlflow(Log):
    """A run of the experiment recbole_ext, or of MLFLOW_EXPERIMENT_NAME, where MLFLOW_TRACKING_URI says."""

    def __init__(self, name: str, asked: Mapping[str, Any], folder: Path) -> None:
        from ray.air.integrations.mlflow import setup_mlflow

        self._mlflow: Any = setup_mlflow(
            dict(asked),
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI"),
            experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT),
            create_experiment_if_not_exists=True,
            run_name=name,
            tags={"run_id": str(asked["run_id"])},
        )

    def numbers(self, values: Mapping[str, float], step: int | None) -> None:
        # MLflow takes no @ in a name.
        named = {name.replace("@", "_at_"): float(value) for name, value in values.items()}
        self._mlflow.log_metrics(named, step=step)

    def close(self, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")


class _Wandb(Log):
    """A run of the project recbole_ext, or of WANDB_PROJECT; offline where WANDB_MODE says so."""

    def __init__(self, name: str, asked: Mapping[str, Any], folder: Path) -> None:
        from ray.air.integrations.wandb import setup_wandb

        folder.parent.mkdir(parents=True, exist_ok=True)
        self._run: Any = setup_wandb(
            dict(asked),
            rank_zero_only=False,
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            trial_name=name,
            dir=str(folder.parent),
        )
        # Trials and epochs count on their own.
        for what in ("trial", "validation"):
            self._run.define_metric(f"{what}/*", step_metric=f"{what}/step")

    def numbers(self, values: Mapping[str, float], step: int | None) -> None:
        if step is None:
            self._run.summary.update(dict(values))
            return
        what = next(iter(values)).partition("/")[0]
        self._run.log({**values, f"{what}/step": step})

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=1 if failed else 0)


_LOGS: dict[str, Callable[[str, Mapping[str, Any], Path], Log]] = {
    "tensorboard": _Tensorboard,
    "mlflow": _Mlflow,
    "wandb": _Wandb,
}
