"""Made-up records, and a small board that has a bit of everything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_ext.leaderboard.analysis import Analysis
from recbole_ext.leaderboard.board import _pages
from recbole_ext.leaderboard.data import board_table
from recbole_ext.leaderboard.groups import groups
from recbole_ext.leaderboard.rows import sections
from recbole_ext.results import ResultRecord, read_record, run_id

KS = (10, 20)
HOSTILE = (
    "</script><script>alert('a & b')</script><img src=x onerror=alert(1)> \u2028 \u202e\" $(rm) `x`"
)
"""A model's name that is markup, a command, and turns the line round."""
DOCS = Path(__file__).resolve().parents[2] / "docs" / "protocols.md"


def entry(mean: float, draws: list[float] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
    return found | ({"draws": draws} if draws else {})


def record(
    model: str,
    full: float | None,
    sampled: dict[str, float] | None = None,
    *,
    points: int | None = None,
    params: dict[str, Any] | None = None,
    lists: str = "a",
    flags: tuple[str, ...] = (),
    read: dict[str, str] | None = None,
    environment: dict[str, Any] | None = None,
    fit_seconds: float | None = 1.5,
    created: str = "2026-01-01T00:00:00+00:00",
    **asked: Any,
) -> ResultRecord:
    """A record whose metrics of the whole list are `full` and whose per-positive ones are half of it.

    Args:
        model: Its name.
        full: None for a model that ranks candidates only.
        sampled: Protocol -> value of its per-positive metrics; drawn protocols get two draws.
        points: Points of tuning, None for an untuned run.
        params: Parameters before tuning.
        lists: Repeated, the hash of the candidate lists.
        flags: Remarks.
        read: More fingerprints.
        environment: What differs from the usual one.
        fit_seconds: Cost of fitting.
        created: When.
        asked: Keys of the experiment that differ, `dataset` and `split` among them.
    """
    sampled = {} if sampled is None else sampled
    params = {"p": 1} if params is None else params
    name, split = asked.pop("dataset", "d"), asked.pop("split", {"split": "ratio", "split_seed": 1})
    experiment = {
        "model": model, "model_revision": 1, "evaluator_revision": 1, "protocols": ["full", *sampled], "draws": 2,
        "dataset": {"name": name, "filters": {"min_user": 0}, "split": split}, "exclude": "train", "ks": list(KS),
        "valid_metric": "recall@20", "seed": 1, "threads": 2, "device": "cpu", "params": params,
        "tune": None if points is None else {"stages": [], "trials": points},
    } | asked  # fmt: skip
    fingerprints = {"data": "d" * 64, "split": "5" * 64} | (read or {})
    metrics: dict[str, dict[str, dict[str, Any]]] = {}
    if full is not None:
        metrics["full"] = {f"{m}@{k}": entry(full) for m in ("recall", "ndcg") for k in KS}
        metrics["full"] |= {f"{m}@10": entry(full / 2) for m in ("ndcg_pp", "hit_pp")}
    drawn = {name for name in sampled if not name.startswith("expected")}
    for protocol, value in sampled.items():
        draws = [value - 0.01, value + 0.01] if protocol in drawn else None
        metrics[protocol] = {f"{m}@10": entry(value, draws) for m in ("ndcg_pp", "hit_pp")}
    usual = {"python": "3.11", "platform": "Linux", "cpu": "a cpu", "device": "cpu", "git": None,
             "packages": {"torch": "2.0", "recbole": "1.2.1"}}  # fmt: skip
    tuning = {"metric": "recall@20", "points": points, "seconds": 2.0, "best": {}, "trials": []}
    return ResultRecord(
        run_id=run_id(experiment, fingerprints),
        experiment=experiment,
        fingerprints=fingerprints,
        data={"users": 9, "items": 8, "interactions": 7000, "train": 50, "valid": 10, "test": 10, "test_users": 9},
        candidates={name: (lists * 64)[:64] for name in drawn},
        metrics=metrics,
        validation={"metric": "recall@20", "value": 0.5},
        params=params,
        text=None,
        flags=[*([] if points or not params else ["untuned"]), *flags],
        created=created,
        tuning=tuning if points is not None else None,
        cost={"fit_seconds": fit_seconds, "evaluate_seconds": 0.5, "encode_seconds": None, "peak_memory_mb": 100.0,
              "parameters": 5, "epochs": None},
        environment=usual | (environment or {}),
    )  # fmt: skip


def lines(
    records: Iterable[ResultRecord], known: Analysis | None = None, kind: str = "value"
) -> list[dict[str, Any]]:
    """The lines of one kind of leaderboard.parquet."""
    table = board_table(groups(sections(records)), known or Analysis())
    return [line for line in table.to_pylist() if line["kind"] == kind]


def pages(records: Iterable[ResultRecord], known: Analysis | None = None) -> dict[str, str]:
    """Name of a file -> text, of everything on a board that is text."""
    made = _pages(Path("nowhere/leaderboard"), list(records), known or Analysis())
    return {path.name: text for path, text in made.items() if isinstance(text, str)}


def as_if_by_gpu(path: Path) -> ResultRecord:
    """Make a record on disk one of a run on a GPU."""
    found = read_record(path)
    asked = found.experiment | {"device": "cuda"}
    found = replace(found, experiment=asked, run_id=run_id(asked, found.fingerprints))
    path.write_text(found.to_json())
    return found


def drawn(value: float) -> dict[str, float]:
    return {"uni19": value, "expected@19": value}


BOARD = [
    record("A", 0.5, drawn(0.5)),
    record("B", 0.4, drawn(0.6), points=64),
    record("C", 0.3, drawn(0.4), seed=1),
    record("C", 0.32, drawn(0.42), seed=2),
    record("D", 0.2, flags=("weights not saved: disk full",)),
    record("LM", None, drawn(0.9), fit_seconds=None),
    record("E", 0.3, drawn(0.3), dataset="other", params={}),
]
"""Tuned and untuned, two seeds, a row without sampled and one without full ranking, two datasets."""
