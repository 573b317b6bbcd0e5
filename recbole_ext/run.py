"""One run: lock, tune, fit, rank, and write `<records>/<run_id>/`, the record last."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import tempfile
import time
from pathlib import Path
from typing import Any

from recbole_ext import environment, recbole_compat
from recbole_ext.errors import HarnessError
from recbole_ext.evaluator import protocols
from recbole_ext.evaluator.beyond import beyond_accuracy
from recbole_ext.evaluator.ranks import RankTable
from recbole_ext.evaluator.ranks_file import write_ranks
from recbole_ext.evaluator.strata import strata, summarise_strata
from recbole_ext.experiment import Experiment, Ground
from recbole_ext.files import write_atomically
from recbole_ext.progress import say
from recbole_ext.results import ResultRecord, read_record
from recbole_ext.text import Embeddings
from recbole_ext.training import Fitted, Training, rank_test
from recbole_ext.tune.search import Search, Space
from recbole_ext.tune.trials import TrialLog
from recbole_ext.weights import save_weights

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


def finished(experiment: Experiment, records: Path) -> ResultRecord | None:
    """The record of an earlier run of the same id, None when there is none that can be read."""
    path = records / experiment.run_id / "record.json"
    if not path.is_file():
        return None
    try:
        return read_record(path)
    except HarnessError as error:
        path.replace(path.with_suffix(".json.corrupt"))
        say(f"set aside as record.json.corrupt, and run again: {error}")
        return None


def execute(experiment: Experiment, records: Path, force: bool = False) -> ResultRecord:
    """Run, unless it has been run, and write `records/<run_id>/`.

    A lock on the id makes a second process wait and then find the first one's result. The record is written last, so
    that a folder without one is an unfinished run, which is done again.
    """
    from filelock import FileLock

    folder = records / experiment.run_id
    try:
        (records / ".locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(records / ".locks" / f"{experiment.run_id}.lock")
        with lock:
            done = None if force else finished(experiment, records)
            return done or _run(experiment, folder)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise HarnessError(
            f"--records={records}: {error.strerror}; this run was not recorded, finished ones are kept: make room, "
            "or choose another folder"
        ) from None


def _run(experiment: Experiment, folder: Path) -> ResultRecord:
    import torch

    settings, ground = experiment.settings, experiment.ground
    torch.set_num_threads(settings.run["threads"])
    environment.reset_peak_memory()
    embeddings = experiment.embeddings()
    vectors = embeddings.vectors if embeddings is not None else None
    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:
        training = Training(experiment, vectors, Path(scratch))
        tuning, params = None, dict(settings.params)
        if experiment.space is not None:
            found = _search(training, experiment.space, folder.parent)
            params.update(found.best)
            tuning = {
                "metric": settings.evaluation["valid_metric"],
                "points": len(found.trials),
                "seconds": round(sum(trial.seconds for trial in found.trials), 3),
                "best": found.best,
                "trials": [
                    {k: v for k, v in dataclasses.asdict(trial).items() if v is not None}
                    for trial in found.trials
                ],
            }
        begun = time.perf_counter()
        fitted = training.fit(params, experiment.model.name)
        fit_seconds = time.perf_counter() - begun
        begun = time.perf_counter()
        table = rank_test(fitted, ground)
        ks, asked = settings.evaluation["ks"], settings.evaluation["protocols"]
        metrics = protocols.summarise(table, [p for p in asked if not p.startswith("recbole-")], ks)
        evaluate_seconds = time.perf_counter() - begun
        for protocol in asked:
            if protocol.startswith("recbole-"):
                metrics[protocol] = _by_recbole(fitted, protocol, ks)
        flags = ["untuned"] if params and experiment.space is None else []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").unlink(missing_ok=True)
        if settings.run["save_weights"]:
            flags += _save_weights(fitted.model, folder)
    write_ranks(table, ground.data.user_tokens, ground.data.item_tokens, folder / "ranks.parquet")
    record = ResultRecord(
        run_id=experiment.run_id,
        experiment=experiment.describe(),
        fingerprints=experiment.fingerprints(),
        data=ground.sizes(),
        candidates=ground.candidates,
        metrics=metrics,
        beyond=_beyond(table, ground, ks),
        strata=summarise_strata(
            table, strata(table, ground.popularity, ground.activity, ground.has_text), ks
        ),
        validation={"metric": settings.evaluation["valid_metric"], "value": round(fitted.value, 8)},
        params=params,
        tuning=tuning,
        text=_text(experiment, embeddings),
        cost={
            "fit_seconds": round(fit_seconds, 3),
            "evaluate_seconds": round(evaluate_seconds, 3),
            "encode_seconds": round(embeddings.seconds, 3) if embeddings else None,
            "peak_memory_mb": environment.peak_memory_mb(),
            "parameters": sum(v.numel() for v in fitted.model.state_dict().values()),
            "epochs": fitted.epochs,
        },
        environment=environment.describe(settings.run["device"]),
        flags=flags,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    write_atomically(folder / "record.json", record.to_json())
    return record


def _search(training: Training, space: Space, records: Path) -> Search:
    """Search once, whoever asks: runs that differ in seed or protocol share it, a second process waits for it."""
    from filelock import FileLock

    name = training.experiment.search_id
    with FileLock(records / ".locks" / f"{name}.trials.lock"):
        return training.tune(space, TrialLog(records / ".trials" / f"{name}.jsonl"))


def _by_recbole(fitted: Fitted, protocol: str, ks: list[int]) -> dict[str, dict[str, float]]:
    m = protocols.negatives_of(protocol)
    say(f"RecBole's own evaluator, {m} negatives per positive: this takes its time")
    found = recbole_compat.evaluate(fitted.bench, fitted.model, ks, m)
    return {name: {"mean": value} for name, value in found.items()}


def _beyond(table: RankTable, ground: Ground, ks: list[int]) -> dict[str, float]:
    assert table.top is not None
    users = int((ground.activity > 0).sum())
    found = beyond_accuracy(table.top, ground.popularity, users, ks)
    return {name: round(value, 8) for name, value in found.items()}


def _save_weights(model: Any, folder: Path) -> list[str]:
    temporary = folder / ".weights.safetensors"
    try:
        save_weights(model, temporary)
    except HarnessError as error:
        return [f"weights not saved: {error}"]
    temporary.replace(folder / "weights.safetensors")
    return []


def _text(experiment: Experiment, embeddings: Embeddings | None) -> dict[str, Any] | None:
    if experiment.texts is None or embeddings is None:
        return None
    fields, texts = experiment.texts
    return {
        "encoder": embeddings.encoder,
        "dim": int(embeddings.vectors.shape[1]),
        "fields": fields,
        "coverage": round(sum(bool(text) for text in texts) / len(texts), 4),
    }
