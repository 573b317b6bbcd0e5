"""Records -> sections (what may be compared) -> rows (one model with one configuration, over seeds)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from recbole_ext.results import ResultRecord, canonical_json

HEADLINE = ("full", "ndcg@20")
"""Protocol and metric that order the rows of a section."""


@dataclass(frozen=True)
class Cell:
    """One number of a row."""

    mean: float
    """Over seeds."""
    half: float
    """Half the 95% bootstrap interval over users, averaged over seeds."""
    seed_sd: float | None
    """Sample standard deviation over seeds, None for one seed."""
    draw_sd: float | None
    """Sample standard deviation over candidate draws (averaged over seeds), None for protocols without draws."""


@dataclass(frozen=True)
class Row:
    """Records that differ in nothing but the seed."""

    label: str
    records: tuple[ResultRecord, ...]

    @property
    def first(self) -> ResultRecord:
        return self.records[0]

    @property
    def points(self) -> int | None:
        """Points that tuning tried, None for an untuned row."""
        tuning = self.first.tuning
        return None if tuning is None else int(tuning["points"])

    def cell(self, protocol: str, metric: str) -> Cell | None:
        """The number of a protocol's metric, None where a record lacks it."""
        entries = [r.metrics.get(protocol, {}).get(metric) for r in self.records]
        found = [entry for entry in entries if entry is not None]
        if not found or len(found) < len(entries):
            return None
        means = [float(entry["mean"]) for entry in found]
        draws = [stdev(entry["draws"]) for entry in found if len(entry.get("draws", ())) > 1]
        return Cell(
            mean=fmean(means),
            half=fmean((entry["high"] - entry["low"]) / 2 for entry in found),
            seed_sd=stdev(means) if len(means) > 1 else None,
            draw_sd=fmean(draws) if draws else None,
        )

    def cost(self, key: str) -> float | None:
        values = [r.cost.get(key) for r in self.records]
        known = [float(value) for value in values if value is not None]
        return fmean(known) if known else None


@dataclass(frozen=True)
class Section:
    """Rows on the same data, split and exclusion: the only ones that may be compared."""

    dataset: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def first(self) -> ResultRecord:
        return self.rows[0].first

    @property
    def sampled(self) -> list[str]:
        """Sampled protocols that any row has, fewest negatives first, expected before drawn."""
        names = {name for row in self.rows for r in row.records for name in r.metrics} - {"full"}
        return sorted(
            names, key=lambda name: (_number(name), not name.startswith("expected"), name)
        )


def sections(records: Iterable[ResultRecord]) -> list[Section]:
    """Group records; the result does not depend on their order."""
    kept = {record.run_id: record for record in records}
    ordered = sorted(kept.values(), key=lambda r: r.run_id)
    groups: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in ordered:
        asked, read = record.experiment, record.fingerprints
        place = {
            "filters": asked["dataset"]["filters"],
            "data": read["data"],
            "split": read["split"],
            "exclude": asked["exclude"],
        }
        groups.setdefault((asked["dataset"]["name"], canonical_json(place)), []).append(record)
    return [_section(name, found) for (name, _), found in sorted(groups.items())]


def _section(name: str, records: list[ResultRecord]) -> Section:
    by_configuration: dict[str, list[ResultRecord]] = {}
    for record in records:
        asked = {key: value for key, value in record.experiment.items() if key != "seed"}
        key = canonical_json({"experiment": asked, "fingerprints": record.fingerprints})
        by_configuration.setdefault(key, []).append(record)
    groups = [
        tuple(sorted(g, key=lambda r: (r.experiment["seed"], r.run_id)))
        for g in by_configuration.values()
    ]
    rows = [Row(label, group) for label, group in zip(_labels(groups), groups, strict=True)]
    rows.sort(key=lambda row: (-_headline(row), row.label))
    return Section(name, tuple(rows), tuple(_notes(rows)))


def _headline(row: Row) -> float:
    cell = row.cell(*HEADLINE)
    return cell.mean if cell is not None else -1.0


def _labels(groups: Sequence[tuple[ResultRecord, ...]]) -> list[str]:
    """The model's name; where a model has several rows, with what tells them apart."""
    labels = []
    for group in groups:
        record = group[0]
        name = record.experiment["model"]
        rivals = [g[0] for g in groups if g[0].experiment["model"] == name]
        parts = _differences(record, rivals) if len(rivals) > 1 else []
        labels.append(f"{name} ({', '.join(parts)})" if parts else name)
    doubled = {label for label in labels if labels.count(label) > 1}
    return [
        f"{label} [{group[0].run_id[:6]}]" if label in doubled else label
        for label, group in zip(labels, groups, strict=True)
    ]


def _differences(record: ResultRecord, rivals: list[ResultRecord]) -> list[str]:
    parts = []
    if len({r.tuning is None for r in rivals}) > 1:
        parts.append("untuned" if record.tuning is None else "tuned")
    asked = record.experiment["params"]
    for key in sorted(asked):
        alike = [r for r in rivals if (r.tuning is None) == (record.tuning is None)]
        if len({canonical_json(r.experiment["params"].get(key)) for r in alike}) > 1:
            parts.append(f"{key}={asked[key]}")
    return parts


def _notes(rows: list[Row]) -> list[str]:
    """What a reader must know before comparing the rows."""
    notes = []
    names = sorted({name for row in rows for r in row.records for name in r.candidates})
    for name in names:
        if (
            len(
                {
                    r.candidates.get(name)
                    for row in rows
                    for r in row.records
                    if name in r.candidates
                }
            )
            > 1
        ):
            notes.append(
                f"{name}: candidate lists differ between rows, their numbers are not comparable"
            )
    flags = {
        (row.label, flag)
        for row in rows
        for r in row.records
        for flag in r.flags
        if flag != "untuned"
    }
    return notes + [f"{label}: {flag}" for label, flag in sorted(flags)]


def places(values: Sequence[float | None]) -> list[int | None]:
    """1 for the largest; equal values share a place; None where there is no value."""
    known = [value for value in values if value is not None]
    return [None if v is None else 1 + sum(other > v for other in known) for v in values]


def swaps(section: Section, protocol: str, metric: str) -> list[tuple[str, str]]:
    """Pairs (a, b) that full ranking orders a before b and the protocol b before a."""
    found = []
    for one, two in itertools.combinations(section.rows, 2):
        full = one.cell("full", metric), two.cell("full", metric)
        sampled = one.cell(protocol, metric), two.cell(protocol, metric)
        if full[0] and full[1] and sampled[0] and sampled[1]:
            difference = full[0].mean - full[1].mean
            if difference * (sampled[0].mean - sampled[1].mean) < 0:
                found.append((one.label, two.label) if difference > 0 else (two.label, one.label))
    return found


def _number(name: str) -> int:
    digits = re.search(r"\d+", name)
    return int(digits[0]) if digits else 0


def flat(value: Any) -> str:
    """A JSON value on one short line: `split=ratio, split_seed=2026`."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={flat(value[key])}" for key in sorted(value))
    if isinstance(value, list):
        return ":".join(flat(x) for x in value)
    return "none" if value is None else str(value)
