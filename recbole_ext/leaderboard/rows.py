"""Records -> rows (one configuration, over its seeds) -> sections (rows that may be compared)."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import dist, sqrt
from statistics import fmean
from typing import Any

from recbole_ext.core.canonical import canonical_json
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.labels import listed, row_labels, section_titles
from recbole_ext.results import ResultRecord

DECIMALS = 6
"""Values are compared as the csv prints them, so that whoever reads the csv arrives at the same places."""
HEADLINE = ("full", "ndcg@20")
"""Protocol and metric that order the rows of a section that has them."""
_HEADLINES = ("ndcg@20", "ndcg@10", "recall@20", "recall@10")
_SHOWN_ELSEWHERE = {"untuned"}
"""Flags that have a column of their own."""


def deviation(values: Sequence[float]) -> float:
    """The sample deviation of two values or more. That of `statistics` counts in fractions, which took a sixth of a board's time."""
    return dist(values, [fmean(values)] * len(values)) / sqrt(len(values) - 1)


@dataclass(frozen=True)
class Cell:
    """One number of a row."""

    mean: float
    """Over seeds, as are `low` and `high`."""
    low: float | None
    high: float | None
    """Ends of the 95% bootstrap interval over users, None where nobody gave one."""
    seed_sd: float | None
    """Sample standard deviation over seeds, None for one seed."""
    draw_sd: float | None
    """Sample standard deviation over candidate draws (averaged over seeds), None without draws."""

    @property
    def half(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def compared(self) -> float:
        return round(self.mean, DECIMALS)


@dataclass(frozen=True)
class Row:
    """Records that differ in nothing but the seed."""

    label: str
    records: tuple[ResultRecord, ...]
    place: int | None = None
    """By the headline of its section; equal values share a place."""
    marks: tuple[int, ...] = ()
    """Numbers of its flags in the section's list."""

    @property
    def first(self) -> ResultRecord:
        return self.records[0]

    @property
    def model(self) -> str:
        return str(self.first.experiment["model"])

    @property
    def points(self) -> int | None:
        """Points that tuning tried, None for an untuned row."""
        tuning = self.first.tuning
        return None if tuning is None else int(tuning["points"])

    @cached_property
    def ids(self) -> str:
        """Those of its runs: what was found of the row before is kept under them."""
        return "+".join(sorted(record.run_id for record in self.records))

    def cell(self, protocol: str, metric: str) -> Cell | None:
        """The number of a protocol's metric; None unless every seed has it. Pages ask for each several times."""
        asked = protocol, metric
        if asked not in self._cells:
            self._cells[asked] = self._cell(*asked)
        return self._cells[asked]

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell | None]:
        return {}

    def _cell(self, protocol: str, metric: str) -> Cell | None:
        found = [r.metrics.get(protocol, {}).get(metric) for r in self.records]
        entries = [entry for entry in found if entry is not None]
        if len(entries) < len(found):
            return None
        theirs = protocol_of(protocol).by_recbole  # RecBole's evaluator gives means only
        means = [float(entry["mean"]) for entry in entries]
        draws = [deviation(entry["draws"]) for entry in entries if len(entry.get("draws", ())) > 1]
        return Cell(
            mean=fmean(means),
            low=None if theirs else fmean(entry["low"] for entry in entries),
            high=None if theirs else fmean(entry["high"] for entry in entries),
            seed_sd=deviation(means) if len(means) > 1 else None,
            draw_sd=fmean(draws) if draws else None,
        )


@dataclass(frozen=True)
class Section:
    """Rows on the same data, split and exclusion: the only ones that may be compared."""

    title: str
    rows: tuple[Row, ...]
    headline: tuple[str, str] | None
    """Protocol and metric that order the rows."""
    flags: tuple[str, ...]
    """Remarks of the records, and why they have no number under some protocols; row marks count from 1."""
    lists: Mapping[str, Mapping[str, Sequence[str]]]
    """Drawn protocol -> hash of its candidate lists -> labels of the rows ranked on them."""

    @property
    def first(self) -> ResultRecord:
        return min((row.first for row in self.rows), key=lambda r: r.run_id)

    @property
    def problem(self) -> str:
        """Digest of what makes rows comparable: data, split and what is no candidate."""
        asked, read = self.first.experiment, self.first.fingerprints
        text = "|".join([asked["exclude"], read["data"], read["split"]])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def records(self) -> list[ResultRecord]:
        return [record for row in self.rows for record in row.records]

    def letter(self, row: Row) -> str:
        """`a` for the first row, and so on; after `z` comes `aa`."""
        number, name = [r.label for r in self.rows].index(row.label), ""
        while number >= 0:
            number, letter = number // 26 - 1, chr(ord("a") + number % 26)
            name = letter + name
        return name

    @cached_property
    def sampled(self) -> list[str]:
        """Sampled protocols that any row has, fewest negatives first, expected before drawn."""
        names = {name for record in self.records for name in record.metrics}
        names = {name for name in names if protocol_of(name).sampled}
        return sorted(names, key=lambda n: (trailing_number(n), not protocol_of(n).closed, n))

    def comparable(self, protocol: str) -> bool:
        """Whether all rows were ranked against the same candidates."""
        return len(self.lists.get(protocol, {})) <= 1


def sections(records: Iterable[ResultRecord]) -> list[Section]:
    """Group records; the result does not depend on their order."""
    groups: dict[tuple[str, ...], list[ResultRecord]] = {}
    for record in sorted(once(records), key=lambda r: r.run_id):
        asked, read = record.experiment, record.fingerprints
        key = (asked["dataset"]["name"], asked["exclude"], read["data"], read["split"])
        groups.setdefault(key, []).append(record)
    titles = section_titles([group[0] for group in groups.values()])
    named = sorted(zip(groups, titles, strict=True), key=lambda pair: (pair[0][0], pair[1]))
    return [_section(title, groups[key]) for key, title in named]


def once(records: Iterable[ResultRecord]) -> list[ResultRecord]:
    """Each run once: of several records of a run the latest, whatever order they come in."""
    kept: dict[str, ResultRecord] = {}
    for record in records:
        other = kept.get(record.run_id)
        if other is None or _age(record) > _age(other):
            kept[record.run_id] = record
    return list(kept.values())


def _age(record: ResultRecord) -> tuple[str, str]:
    return record.created, record.to_json()


def _section(title: str, records: list[ResultRecord]) -> Section:
    by_configuration: dict[str, list[ResultRecord]] = {}
    for record in records:
        asked = {key: value for key, value in record.experiment.items() if key != "seed"}
        key = canonical_json([asked, record.fingerprints])
        by_configuration.setdefault(key, []).append(record)
    groups = [
        tuple(sorted(group, key=lambda r: (r.experiment["seed"], r.run_id)))
        for group in by_configuration.values()
    ]
    labels = row_labels([group[0] for group in groups])
    rows = [Row(label, group) for label, group in zip(labels, groups, strict=True)]
    lists = _lists(rows)
    headline = headline_of(rows, {name for name, by_hash in lists.items() if len(by_hash) > 1})
    cells = [row.cell(*headline) if headline else None for row in rows]
    flags = sorted({f for r in records for f in _remarks(r)} - _SHOWN_ELSEWHERE)
    placed = [
        dataclasses.replace(
            row,
            place=place,
            marks=tuple(
                n for n, f in enumerate(flags, 1) if any(f in _remarks(r) for r in row.records)
            ),
        )
        for row, place in zip(rows, cell_places(cells), strict=True)
    ]
    placed.sort(key=lambda row: (row.place is None, row.place or 0, row.label))
    return Section(title, tuple(placed), headline, tuple(flags), lists)


def _remarks(record: ResultRecord) -> list[str]:
    """The flags of a record, and for each reason the protocols that it left unserved."""
    protocols: dict[str, list[str]] = {}
    for name, why in sorted(record.unserved.items()):
        protocols.setdefault(why, []).append(name)
    return [*record.flags, *(f"no {listed(names)}: {why}" for why, names in protocols.items())]


def headline_of(rows: Sequence[Row], not_comparable: set[str]) -> tuple[str, str] | None:
    """NDCG@20 of the whole list, or the nearest that most of the rows have.

    One metric orders a section: a row that lacks it goes unplaced, rather than being placed by another metric
    among those that have it.
    """
    names = Counter(
        (protocol, metric)
        for row in rows
        for protocol, metrics in row.first.metrics.items()
        for metric in metrics
        if protocol not in not_comparable
    )
    ranked = Counter(protocol for row in rows for protocol in row.first.metrics)

    def preference(name: tuple[str, str]) -> tuple[Any, ...]:
        protocol, metric = name
        wanted = _HEADLINES.index(metric) if metric in _HEADLINES else len(_HEADLINES)
        joint, gain = "_pp" not in metric, metric.startswith("ndcg")
        rare = 2 * names[name] < ranked[protocol]
        k = -trailing_number(metric)
        labelled = protocol_of(protocol).labelled
        return protocol != "full", labelled, rare, wanted, not joint, not gain, k, metric, protocol

    return min(names, key=preference, default=None)


def _lists(rows: Sequence[Row]) -> dict[str, dict[str, list[str]]]:
    drawn = sorted(
        {name for row in rows for r in row.records for name in r.candidates},
        key=lambda name: (trailing_number(name), name),
    )
    found: dict[str, dict[str, list[str]]] = {name: {} for name in drawn}
    for name in drawn:
        for row in sorted(rows, key=lambda row: row.label):
            hashes = {r.candidates.get(name, "unknown") for r in row.records if name in r.metrics}
            for value in sorted(hashes):
                found[name].setdefault(value, []).append(row.label)
    return {name: dict(sorted(by_hash.items())) for name, by_hash in found.items() if by_hash}


def places(values: Sequence[float | None]) -> list[int | None]:
    """1 for the largest; equal values share a place; None where there is no value."""
    known = [value for value in values if value is not None]
    return [None if v is None else 1 + sum(other > v for other in known) for v in values]


def cell_places(cells: Sequence[Cell | None]) -> list[int | None]:
    """`places` of what the csv prints."""
    return places([None if cell is None else cell.compared for cell in cells])


def trailing_number(name: str) -> int:
    """100 of `uni100` or `expected@100`, 20 of `ndcg@20`, 0 of `mrr_pp`."""
    digits = re.search(r"\d+$", name)
    return int(digits[0]) if digits else 0
