"""One run: lock, tune, fit, rank, and write `<records>/<run_id>/`, the record last."""

from __future__ import annotations

import datetime
import errno
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.core import environment
from recbole_ext.core.energy import Meter
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import locked, write_atomically
from recbole_ext.core.progress import say
from recbole_ext.data.problem import Problem
from recbole_ext.evaluator.beyond import beyond_accuracy
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.ranks import RankTable
from recbole_ext.evaluator.strata import strata, summarise_strata
from recbole_ext.evaluator.tables import FILES, Tables
from recbole_ext.evaluator.warmth import summarise_parts
from recbole_ext.experiment import Experiment
from recbole_ext.pipeline.scored import by_model, by_run_file
from recbole_ext.pipeline.tracking import Tracker, tracking
from recbole_ext.results import LeftAlone, ResultRecord, read_record
from recbole_ext.trainer.checkpoint import save_weights

_MADE_FROM_WEIGHTS = (
    "weights.safetensors",
    "intention.*",
    "interpretability.*",
    "steering-*.*",
    "movement.svg",
)
"""Beside a record; what `show` writes there too."""
_UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
}


def finished(experiment: Experiment, records: Path, force: bool = False) -> ResultRecord | None:
    """The record of an earlier run of the same id; None when there is none that can be read, or it is run by `force`.

    Raises:
        HarnessError: what is there may be a finished run and cannot be read, and is not run over.
    """
    path = records / experiment.run_id / "record.json"
    if not path.is_file():
        return None
    try:
        record = read_record(path)
    except LeftAlone as error:
        raise HarnessError(f"{error}, or keep these runs apart: --records=FOLDER") from None
    except HarnessError as error:
        path.replace(path.with_suffix(".json.corrupt"))
        say(f"set aside as record.json.corrupt, and run again: {error}")
        return None
    return None if force else record


@dataclass(frozen=True)
class Beside:
    """What is done beside a run and changes nothing of it."""

    track: str | None = None
    """Kind of tracking, see `pipeline/tracking.py`."""
    energy: bool = False
    """Whether the energy is measured, see `core/energy.py`."""


def execute(
    experiment: Experiment, records: Path, force: bool = False, beside: Beside | None = None
) -> ResultRecord:
    """Run, unless it has been run, and write `records/<run_id>/`.

    A lock on the id makes a second process wait and then find the first one's result. The record is written last, so
    that a folder without one is an unfinished run, which is done again.
    """
    folder = records / experiment.run_id
    try:
        records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(
            f"--records={records}: {error.strerror}; choose another folder"
        ) from None
    try:
        with locked(records / ".locks" / f"{experiment.run_id}.lock", "this run"):
            return finished(experiment, records, force) or _run(
                experiment, folder, beside or Beside()
            )
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise HarnessError(
            f"--records={records}: {error.strerror}; this run was not recorded, finished ones are kept: make room, "
            "or choose another folder"
        ) from None


def _run(experiment: Experiment, folder: Path, beside: Beside) -> ResultRecord:
    with (
        tracking(beside.track, experiment, folder.parent) as tracker,
        Meter() if beside.energy else nullcontext() as meter,
    ):
        record = _measured(experiment, folder, tracker, meter)
        tracker.finished(record)
    return record


def _measured(
    experiment: Experiment, folder: Path, tracker: Tracker, meter: Meter | None
) -> ResultRecord:
    import torch

    settings, problem = experiment.settings, experiment.problem
    torch.set_num_threads(settings.run["threads"])
    environment.reset_peak_memory()
    scored = (
        by_model(experiment, folder.parent, tracker)
        if experiment.run_file is None
        else by_run_file(experiment)
    )
    tables, ks = scored.tables, settings.evaluation["ks"]
    begun = time.perf_counter()
    ours = [p for p in experiment.served if not protocol_of(p).by_recbole]
    metrics = tables.summarise(ours, ks)
    seconds = scored.seconds + time.perf_counter() - begun
    folder.mkdir(parents=True, exist_ok=True)
    # What is large is written aside: where there is no room for it, an earlier run of this id stays as it was.
    for name in FILES:
        (folder / f".{name}").unlink(missing_ok=True)
    tables.write(problem.data.user_tokens, problem.data.item_tokens, folder, ".")
    weights = folder / ".weights.safetensors"
    weights.unlink(missing_ok=True)
    flags = list(scored.flags)
    if scored.model is not None and settings.run["save_weights"]:
        flags += _save_weights(scored.model, weights)
    value = scored.value
    used = meter.read() if meter else None
    record = ResultRecord(
        run_id=experiment.run_id,
        experiment=experiment.describe(),
        fingerprints=experiment.fingerprints(),
        data=problem.sizes()
        | ({"sources": experiment.sources.sizes()} if experiment.sources else {}),
        candidates=problem.candidates,
        metrics={**metrics, **scored.theirs},
        unserved=experiment.unserved,
        **_of_every_item(tables, problem, ks),
        parts={}
        if tables.scored is None
        else summarise_parts(tables.scored, problem.activity, problem.popularity),
        validation={
            "metric": settings.evaluation["valid_metric"],
            "value": None if value is None else round(value, 8),
        },
        params=scored.params,
        tuning=scored.tuning,
        text=scored.text,
        cost={
            **scored.cost,
            "evaluate_seconds": round(seconds, 3),
            "peak_memory_mb": environment.peak_memory_mb(),
            **({} if used is None else {"energy_kwh": used}),
        },
        environment=environment.describe(settings.run["device"]),
        flags=flags,
        measures={name: round(value, 8) for name, value in scored.measures.items()},
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    _replace(folder, record)
    return record


def _replace(folder: Path, record: ResultRecord) -> None:
    """Put a run in the place of an earlier one of its id, weights and ranks having been written aside.

    The old record goes first and the new one comes last: with a record in it, a folder holds one run's files and no
    other's, whenever this is cut short.
    """
    text = record.to_json()
    (folder / "record.json").unlink(missing_ok=True)
    for pattern in _MADE_FROM_WEIGHTS:
        for made in folder.glob(pattern):
            made.unlink(missing_ok=True)
    for name in ("weights.safetensors", *FILES):
        if (folder / f".{name}").is_file():
            (folder / f".{name}").replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    write_atomically(folder / "record.json", text)


def _save_weights(model: Any, path: Path) -> list[str]:
    try:
        save_weights(model, path)
    except HarnessError as error:
        return [f"weights not saved: {error}"]
    return []


def _of_every_item(tables: Tables, problem: Problem, ks: list[int]) -> dict[str, Any]:
    """`beyond` and `strata` of a record, which full ranking has; nothing where there is none."""
    table = tables.ranked
    if not isinstance(table, RankTable):
        return {}
    assert table.top is not None
    found = beyond_accuracy(table.top, problem.popularity, problem.training_users, ks)
    masks = strata(table, problem.popularity, problem.activity, problem.has_text)
    return {
        "beyond": {name: round(value, 8) for name, value in found.items()},
        "strata": summarise_strata(table, masks, ks),
    }
