"""From an experiment to ranked test positives: by a model that is trained here, or by another system's run file."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_ext import recbole_compat
from recbole_ext.core.progress import say
from recbole_ext.evaluator.lists import ListTable, rule_measures
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.tables import Tables
from recbole_ext.experiment import Experiment
from recbole_ext.pipeline.tracking import Tracker
from recbole_ext.pipeline.training import Training, full_tables, score_test
from recbole_ext.text import Embeddings
from recbole_ext.trainer.setup import Fitted
from recbole_ext.tune.search import Search


@dataclass(frozen=True)
class Scored:
    """What came out of training and scoring, before any metric is read off it."""

    tables: Tables
    seconds: float
    """Of scoring the test part."""
    params: dict[str, Any]
    """Of the model that was tested."""
    model: Any = None
    """Trained, None for a run file."""
    value: float | None = None
    """Validation score, None for a run file."""
    tuning: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    """What the model says of itself, and of its outputs by other rules than the metrics'."""
    theirs: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """Protocol -> metrics by RecBole's own evaluator."""


def by_run_file(experiment: Experiment) -> Scored:
    """Rank by a run file."""
    assert experiment.run_file is not None
    problem = experiment.problem
    listed = experiment.run_file.read(problem.data)
    flags = listed.remarks(problem.test_task)
    begun = time.perf_counter()
    tables = full_tables(listed.scores, experiment)
    return Scored(tables, time.perf_counter() - begun, {}, flags=flags)


def by_model(experiment: Experiment, records: Path, tracker: Tracker) -> Scored:
    """Embed, tune, fit and rank; trials are kept below `records`, and trials and validations told to a tracker."""
    settings = experiment.settings
    embeddings = experiment.embeddings()
    origin = experiment.origin
    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:
        there = embeddings if origin is experiment else origin.embeddings()
        training = Training(origin, there, Path(scratch), records)
        tuning, params = None, dict(settings.params)
        if experiment.space is not None:
            found = training.search_once(experiment.space, records)
            params.update(found.best)
            tracker.searched(found.trials)
            tuning = _told(found, settings.evaluation["valid_metric"], experiment.space.searcher)
        begun = time.perf_counter()
        fitted = training.fit(params, experiment.model.name, tracker.validated)
        before = fitted.seconds_before
        final = experiment.final
        if final is not experiment:
            again = Training(final, embeddings, Path(scratch), records)
            fitted = again.refit(params, fitted)
            before += fitted.seconds_before
        # A stage that another run has trained is taken, and costs what it did there.
        fit_seconds = time.perf_counter() - begun + before
        if origin is not experiment:
            here = Training(experiment, embeddings, Path(scratch))
            fitted = here.setup.moved(fitted, params)
        begun = time.perf_counter()
        tables = score_test(fitted, experiment)
        seconds = time.perf_counter() - begun
        theirs = {
            protocol: _by_recbole(fitted, protocol, settings.evaluation["ks"])
            for protocol in experiment.served
            if protocol_of(protocol).by_recbole
        }
        flags = ["untuned"] if params and experiment.space is None else []
        flags += _invalid(tables)
        measures = recbole_compat.measures(fitted.model, fitted.bench)
        if isinstance(tables.ranked, ListTable):
            measures |= rule_measures(tables.ranked)
    if measures:
        told = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
        say(f"{experiment.model.name}: {told}")
    cost = {
        "fit_seconds": round(fit_seconds, 3),
        "encode_seconds": round(embeddings.seconds, 3) if embeddings else None,
        "parameters": sum(v.numel() for v in fitted.model.state_dict().values()),
        "epochs": fitted.epochs,
    }
    text = _text(experiment, embeddings)
    return Scored(
        tables,
        seconds,
        params,
        fitted.model,
        fitted.value,
        tuning,
        text,
        cost,
        flags,
        measures,
        theirs,
    )


def _invalid(tables: Tables) -> list[str]:
    """Of each protocol, how many outputs of a model name no candidate."""
    if not isinstance(tables.ranked, ListTable):
        return []
    counts = {name: (int((~v).sum()), v.size) for name, v in tables.ranked.valid.items()}
    return [
        f"{name}: {bad:,} of {total:,} outputs name no candidate and count as misses"
        for name, (bad, total) in counts.items()
        if bad
    ]


def _told(found: Search, metric: str, searcher: str) -> dict[str, Any]:
    """A search as a record has it."""
    return {
        "metric": metric,
        "searcher": searcher,
        "points": len(found.trials),
        "seconds": round(sum(trial.seconds for trial in found.trials), 3),
        "best": found.best,
        "trials": [
            {k: v for k, v in dataclasses.asdict(trial).items() if v is not None}
            for trial in found.trials
        ],
    }


def _by_recbole(fitted: Fitted, protocol: str, ks: list[int]) -> dict[str, dict[str, float]]:
    m = protocol_of(protocol).m
    say(f"RecBole's own evaluator, {m} negatives per positive: this takes its time")
    found = recbole_compat.evaluate(fitted.bench, fitted.model, ks, m)
    return {name: {"mean": value} for name, value in found.items()}


def _text(experiment: Experiment, embeddings: Embeddings | None) -> dict[str, Any] | None:
    read = experiment.texts or experiment.titles
    if read is None and embeddings is None:
        return None
    fields, texts = read or ({}, [])
    covered = [bool(text) for text in texts]
    if read is None and embeddings is not None:
        covered = [bool(row.any()) for row in embeddings.vectors]
    encoded = embeddings and {
        "encoder": embeddings.encoder,
        "dim": int(embeddings.vectors.shape[1]),
    }
    said = {}
    if "user_profiles" in experiment.settings.params:
        file = experiment.profiles
        said["user_profiles"] = f"file {file.path.name}" if file else "mean of training items"
        for of, asked in experiment.written.items():
            said[f"{of[:-1]}_profiles"] = f"written by {asked.writer.source.label} from titles"
    return {
        **(encoded or {}),
        "fields": fields,
        "coverage": round(sum(covered) / len(covered), 4),
        **said,
    }
