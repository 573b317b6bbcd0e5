"""leaderboard.parquet: everything that a board knows, in long form; summary.csv: what its pages print; trials.csv: every trial
behind the tuned rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.table_file import read_parquet
from recbole_ext.evaluator.metrics import POINTWISE
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.agreement import ESTIMATORS, agreements
from recbole_ext.leaderboard.analysis import JOINT, Analysis, pair_key, swapped, verdicts
from recbole_ext.leaderboard.groups import Group, Table
from recbole_ext.leaderboard.notes import environment_of
from recbole_ext.leaderboard.papers import paper_tables
from recbole_ext.leaderboard.rows import (
    DECIMALS,
    Row,
    Section,
    cell_places,
    deviation,
    sections,
    trailing_number,
)
from recbole_ext.leaderboard.standings import BY_RECBOLE, COMPARED, compared
from recbole_ext.results import ResultRecord

if TYPE_CHECKING:
    import pyarrow as pa

_WORDS = (
    "kind", "dataset", "group", "data", "split", "exclude", "table", "model", "label", "protocol", "metric", "estimator",
    "part", "other", "run_ids",
)  # fmt: skip
_NUMBERS = ("mean", "low", "high", "sd_over_seeds", "sd_over_draws", "effect", "p", "p_adjusted")
_COUNTS = ("seeds", "tuned_points")
"""Columns of leaderboard.parquet by type. `kind` says what a line is:

* `value`: a metric of a row. `estimator` names an estimate of full ranking from a drawn protocol (and `identified`), `part` a part
  of the positives or of the labelled pairs. The metric `unserved` has no number, and `part` says why.
* `cost`: seconds, memory and the like, mean over seeds; `metric` names it.
* `fact`: what a row was: parameters, environment, remarks; `metric` names it, `other` holds it.
* `pair`: how `label` differs from `other`: difference, interval, effect size, p, and p after Holm where a table compares the two.
* `order`: what `protocol` and `estimator` make of an order by `metric`; `part` names the number, `other` says of which rows.
* `paper`: what the paper `other` prints for the row's model.
"""

_Line = tuple[str, str, str, str, tuple[float | None, ...]]
"""Protocol, metric, estimator of full ranking, part of the positives, and the five numbers."""


def board_table(groups: Sequence[Group], known: Analysis) -> pa.Table:
    """Everything, a line each, in an order that the records decide."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [] for name in (*_WORDS, *_COUNTS, *_NUMBERS)}
    for group in groups:
        for section in group.sections:
            about = {
                "dataset": group.dataset,
                "group": group.title,
                "data": section.first.fingerprints["data"][:12],
                "split": section.first.fingerprints["split"][:12],
                "exclude": section.first.experiment["exclude"],
            }
            lines = [about | line for line in _of_section(group, section, known)]
            for name, column in columns.items():
                found = [line.get(name) for line in lines]
                column += map(_short, found) if name in _NUMBERS else found
    types = dict.fromkeys(_WORDS, pa.string()) | dict.fromkeys(_COUNTS, pa.int32())
    return pa.table(
        {name: pa.array(of, types.get(name, pa.float64())) for name, of in columns.items()}
    )


def as_parquet(table: pa.Table) -> bytes:
    """The same bytes for the same table, as long as the writer is the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd", compression_level=9, use_dictionary=list(_WORDS))
    return bytes(out.getvalue())


def same_table(stored: bytes, table: pa.Table) -> bool:
    """Whether a file holds a table: another version of the writer may have spelt it in other bytes."""
    import pyarrow as pa

    try:
        return bool(read_parquet(pa.BufferReader(stored)).equals(table))
    except (pa.ArrowException, OSError):
        return False


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS + 2)


def _of_section(group: Group, section: Section, known: Analysis) -> Iterator[dict[str, Any]]:
    main = group.main if section is group.reference else None
    table_of = (
        {label: t for t in reversed(group.tables) for label in t.labels.values()}
        if section is group.reference
        else {}
    )
    for row in sorted(section.rows, key=lambda row: (row.model, row.label)):
        own = _about(row, table_of.get(row.label))
        for protocol, metric, estimator, part, numbers in _lines(section, row, known):
            rounded = [None if n is None else round(n, DECIMALS) for n in numbers]
            five = dict(
                zip(("mean", "low", "high", "sd_over_seeds", "sd_over_draws"), rounded, strict=True)
            )
            names = {"protocol": protocol, "metric": metric, "estimator": estimator, "part": part}
            yield own | {"kind": "value"} | names | five
        for line in _costs_and_facts(row):
            yield own | line
        for paper in paper_tables(section):
            for metric in paper.shown:
                if (theirs := paper.value(row, metric)) is not None:
                    yield own | {
                        "kind": "paper", "protocol": "full", "metric": metric, "other": paper.title, "mean": theirs,
                    }  # fmt: skip
    yield from _pairs(group, section, main, known)
    yield from _orders(section, "every row", known)
    if main is not None and len(main.rows) < len(section.rows):
        yield from _orders(main, "models", known)


def _about(row: Row, table: Table | None) -> dict[str, Any]:
    return {
        "table": None if table is None else table.heading,
        "model": row.model,
        "label": row.label,
        "seeds": len(row.records),
        "tuned_points": row.points,
        "run_ids": " ".join(record.run_id for record in row.records),
    }


def _costs_and_facts(row: Row) -> Iterator[dict[str, Any]]:
    for name in sorted({name for record in row.records for name in record.cost}):
        values = [r.cost[name] for r in row.records if r.cost.get(name) is not None]
        if values:
            sd = deviation(values) if len(values) > 1 else None
            yield {"kind": "cost", "metric": name, "mean": fmean(values), "sd_over_seeds": sd}
    record = row.first
    if record.tuning is not None:
        yield {"kind": "cost", "metric": "tune_seconds", "mean": float(record.tuning["seconds"])}
    for name, value in sorted(record.measures.items()):
        yield {"kind": "fact", "metric": f"measure {name}", "mean": float(value)}
    facts = {
        "params": canonical_json(record.params),
        "environment": " or ".join(sorted({environment_of(r) for r in row.records})),
        "text": None if record.text is None else canonical_json(record.text),
        "train_on": canonical_json(record.experiment.get("train_on", [])),
        "flags": "; ".join(sorted({flag for r in row.records for flag in r.flags})),
    }
    for name, text in facts.items():
        if text not in (None, "", "[]", "{}"):
            yield {"kind": "fact", "metric": name, "other": text}


def _pairs(
    group: Group, section: Section, main: Section | None, known: Analysis
) -> Iterator[dict[str, Any]]:
    """Every comparison that was made, the better by label first in the alphabet."""
    adjusted = {}
    table = group.table("full")
    label_of = dict(table.labels) if table else {}
    for protocol in ("full", *section.sampled):
        if main is None:
            break
        families = [(m,) for m in compared(main)] + ([JOINT] if protocol == "full" else [])
        for family in families:
            for (label, metric), others in verdicts(main, known, protocol, family).items():
                for other, tested in others.items():
                    adjusted[protocol, metric, label_of[label], label_of[other]] = tested.p
    rows = sorted(section.rows, key=lambda row: row.label)
    names = [("full", m) for m in (*JOINT, *COMPARED)]
    names += [
        (protocol, metric)
        for protocol in (*section.sampled, "ctr")
        for metric in sorted({m for r in section.records for m in r.metrics.get(protocol, ())})
    ]
    for i, one in enumerate(rows):
        for two in rows[i + 1 :]:
            for protocol, metric in names:
                key, other_way = pair_key(one, two, protocol, metric)
                paired = known.pairs.get(key)
                if paired is None:
                    continue
                paired = swapped(paired) if other_way else paired
                yield {
                    "kind": "pair", "model": one.model, "label": one.label, "other": two.label, "protocol": protocol,
                    "metric": metric, "mean": paired.difference, "low": paired.low, "high": paired.high,
                    "effect": paired.effect, "p": paired.p,
                    "p_adjusted": adjusted.get((protocol, metric, one.label, two.label)),
                }  # fmt: skip


def _orders(section: Section, rows: str, known: Analysis) -> Iterator[dict[str, Any]]:
    for metric in compared(section):
        for found in agreements(section, known, metric):
            about = {
                "kind": "order", "protocol": found.protocol, "metric": metric, "estimator": found.estimator, "other": rows,
            }  # fmt: skip
            low, high = found.ends or (None, None)
            numbers = {
                "rows": found.rows,
                "first kept": float(found.first_kept),
                "pairs": found.pairs,
                "swaps": len(found.flips),
                "significant swaps": sum(flip.significant for flip in found.flips),
                "resolution": found.resolution,
            }
            if found.tau is not None:
                yield about | {"part": "tau", "mean": found.tau, "low": low, "high": high}
            for part, number in numbers.items():
                if number is not None:
                    yield about | {"part": part, "mean": float(number)}


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
        found = known.corrected.get((row.ids, protocol, metric))
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


_SUMMARY = (
    "dataset", "group", "table", "model", "label", "tuned_points", "seeds", "protocol", "metric", "place", "mean", "low", "high",
    "sd_over_seeds", "splits", "mean_over_splits", "sd_over_splits",
)  # fmt: skip


def render_summary(groups: Sequence[Group]) -> str:
    """A line per row of a table of models, protocol and metric that a page prints; six decimals, sorted as the tables are."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(summary_lines(groups))
    return out.getvalue()


def summary_lines(groups: Sequence[Group]) -> Iterator[Sequence[object]]:
    """The lines of `summary.csv`, its heading first; what there is not is an empty text."""
    yield _SUMMARY
    for group in groups:
        for table in group.tables:
            if table.kind != "others":
                yield from _summary_lines(group, table)


def _summary_lines(group: Group, table: Table) -> Iterator[list[object]]:
    section = table.section
    for protocol, metric in printed(section, table.kind):
        cells = [row.cell(protocol, metric) for row in section.rows]
        placed = cell_places(cells if section.comparable(protocol) else [None] * len(cells))
        for row, cell, place in zip(section.rows, cells, placed, strict=True):
            if cell is None:
                continue
            over = group.over_splits(row.model, metric) if protocol == "full" else None
            numbers = (cell.mean, cell.low, cell.high, cell.seed_sd)
            splits = (fmean(over), deviation(over)) if over else (None, None)
            about = [group.dataset, group.title, table.heading, row.model, table.labels[row.label]]
            yield [
                *about, "" if row.points is None else row.points, len(row.records), protocol, metric, place or "",
                *map(_six, numbers), len(over) if over else 1, *map(_six, splits),
            ]  # fmt: skip


def printed(section: Section, kind: str) -> list[tuple[str, str]]:
    """Protocols and metrics of a table on its pages."""
    if kind == "ctr":
        return [("ctr", metric) for metric in POINTWISE]
    if kind == "lists":
        return [(p, m) for p in section.sampled for m in compared(section)]
    per_positive = [(p, m) for p in ("full", *section.sampled) for m in compared(section)]
    by_recbole = [(p, m) for p in section.sampled if protocol_of(p).by_recbole for m in BY_RECBOLE]
    return [*(("full", metric) for metric in JOINT), *per_positive, *by_recbole]


def _six(number: float | None) -> str:
    return "" if number is None else f"{number:.{DECIMALS}f}"


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
