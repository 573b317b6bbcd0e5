"""leaderboard.csv: every number of every row, in long form; trials.csv: every trial behind the tuned ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from statistics import fmean

from recbole_ext.core.canonical import canonical_json
from recbole_ext.leaderboard.agreement import ESTIMATORS
from recbole_ext.leaderboard.analysis import Analysis, row_ids
from recbole_ext.leaderboard.rows import DECIMALS, Row, Section, sections, trailing_number
from recbole_ext.results import ResultRecord

_HEADINGS = (
    "dataset", "data", "split", "exclude", "model", "label", "seeds", "protocol", "metric", "estimator", "part", "mean",
    "low", "high", "sd_over_seeds", "sd_over_draws", "tuned_points", "run_ids",
)  # fmt: skip

_Line = tuple[str, str, str, str, tuple[float | None, ...]]
"""Protocol, metric, estimator of full ranking, part of the positives, and the five numbers."""


def render_csv(records: Iterable[ResultRecord], known: Analysis | None = None) -> str:
    """One line per row, protocol and metric, sorted by name so that a changed value is a changed line.

    `estimator` names an estimate of full ranking from a drawn protocol (and `low identified`, `high identified`); `part` a
    part of the positives. A protocol under which a row has no number is a line of the metric `unserved`, whose `part` is why.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEADINGS)
    for section in sections(records):
        for row in sorted(section.rows, key=lambda row: (row.model, row.label)):
            for *names, numbers in _lines(section, row, known or Analysis()):
                shown = ("" if number is None else f"{number:.{DECIMALS}f}" for number in numbers)
                writer.writerow([*_about(row), *names, *shown, *_behind(row)])
    return out.getvalue()


def _about(row: Row) -> list[object]:
    asked, read = row.first.experiment, row.first.fingerprints
    return [
        asked["dataset"]["name"],
        read["data"][:12],
        read["split"][:12],
        asked["exclude"],
        row.model,
        row.label,
        len(row.records),
    ]


def _behind(row: Row) -> list[object]:
    return ["" if row.points is None else row.points, " ".join(r.run_id for r in row.records)]


def _lines(section: Section, row: Row, known: Analysis) -> Iterator[_Line]:
    names = {
        (protocol, metric)
        for record in row.records
        for protocol, metrics in record.metrics.items()
        for metric in metrics
    }
    protocols = ["full", *section.sampled, "ctr"]
    for protocol, metric in sorted(
        names, key=lambda n: (protocols.index(n[0]), n[1].partition("@")[0], trailing_number(n[1]))
    ):
        cell = row.cell(protocol, metric)
        numbers = (
            (cell.mean, cell.low, cell.high, cell.seed_sd, cell.draw_sd) if cell else (None,) * 5
        )
        yield protocol, metric, "", "", numbers
        found = known.corrected.get((row_ids(row), protocol, metric))
        if found is not None:
            for name in ESTIMATORS:
                low, high = found.ends.get(name, (None, None))
                yield protocol, metric, name, "", (getattr(found, name), low, high, None, None)
            yield protocol, metric, "identified", "", (None, found.low, found.high, None, None)
    for protocol, why in sorted({entry for r in row.records for entry in r.unserved.items()}):
        yield protocol, "unserved", "", why, (None,) * 5
    for metric in sorted({name for r in row.records for name in r.beyond}, key=_by_name):
        values = [r.beyond[metric] for r in row.records if metric in r.beyond]
        yield "full", metric, "", "", (fmean(values), None, None, None, None)
    for protocol, parts in (
        ("full", [r.strata for r in row.records]),
        ("ctr", [r.parts for r in row.records]),
    ):
        for part in sorted({name for of_record in parts for name in of_record}):
            of = [of_record[part]["metrics"] for of_record in parts if part in of_record]
            for metric in sorted(set(of[0]).intersection(*of[1:]), key=_by_name):
                ends = (fmean(found[metric][e] for found in of) for e in ("mean", "low", "high"))
                yield protocol, metric, "", part, (*ends, None, None)


def _by_name(metric: str) -> tuple[str, int]:
    return metric.partition("@")[0], trailing_number(metric)


_TRIAL = (
    "dataset",
    "data",
    "split",
    "model",
    "run_id",
    "trial",
    "point",
    "value",
    "seconds",
    "epochs",
    "error",
)


def render_trials(records: Iterable[ResultRecord]) -> str:
    """One line per trial of each search, in the order in which its points were written; seeds share a search."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_TRIAL)
    for section in sections(records):
        for row in sorted(section.rows, key=lambda row: (row.model, row.label)):
            record = row.first
            asked, read = record.experiment, record.fingerprints
            about = asked["dataset"]["name"], read["data"][:12], read["split"][:12], row.model
            for number, trial in enumerate((record.tuning or {}).get("trials", ()), 1):
                point = canonical_json(trial["point"])
                rest = (trial.get(key, "") for key in ("value", "seconds", "epochs", "error"))
                writer.writerow([*about, record.run_id, number, point, *rest])
    return out.getvalue()
