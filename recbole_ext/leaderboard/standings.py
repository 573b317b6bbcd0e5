"""Sampled protocols beside full ranking: places, changes of place, and the pairs that change order."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from recbole_ext.leaderboard.labels import FEW, first_few, listed
from recbole_ext.leaderboard.rows import Cell, Section, cell_places

COMPARED = ("ndcg_pp@10", "hit_pp@10")
"""Per-positive metrics: where full and sampled ranking differ by sampling alone."""

FIRST = "hit_pp@1"
"""What a model that answers with one item of a list has, and no deeper cut-off."""

BY_RECBOLE = ("ndcg@10", "recall@10")
"""Joint-list metrics, which RecBole's evaluator prints for sampled candidates too."""


@dataclass(frozen=True)
class Standing:
    """A row under one protocol."""

    cell: Cell | None
    place: int | None
    change: int | None
    """Places won against full ranking, counted among the rows that have both; positive: flattered."""


def compared(section: Section) -> tuple[str, ...]:
    """The per-positive metrics on which the rows of a section are compared: the first place too where that is all that some row has."""
    answers = any(
        FIRST in metrics and not metrics.keys() & set(COMPARED)
        for record in section.records
        for protocol, metrics in record.metrics.items()
        if protocol in section.sampled
    )
    return (*COMPARED, FIRST) if answers else COMPARED


def list_metric(section: Section) -> str:
    """What every row has that is ranked among given candidates."""
    return FIRST if FIRST in compared(section) else COMPARED[0]


def standings(section: Section, protocol: str, metric: str) -> dict[str, Standing]:
    """Label -> standing. Where candidate lists differ between rows there are values but no places."""
    full = [row.cell("full", metric) for row in section.rows]
    here = [row.cell(protocol, metric) for row in section.rows]
    comparable = section.comparable(protocol)
    # A row that lacks one of the two would shift all below it in the other: not a change of place.
    both = [bool(f and h and comparable) for f, h in zip(full, here, strict=True)]
    before = cell_places([f if ok else None for f, ok in zip(full, both, strict=True)])
    after = cell_places([h if ok else None for h, ok in zip(here, both, strict=True)])
    return {
        row.label: Standing(cell, place if comparable else None, a - b if a and b else None)
        for row, cell, place, a, b in zip(
            section.rows, here, cell_places(here), before, after, strict=True
        )
    }


Values = Mapping[str, float]
"""Label -> value of a row, rounded as it is compared."""


def values_of(section: Section, protocol: str, metric: str) -> Values:
    """The rows that have a protocol's metric."""
    cells = {row.label: row.cell(protocol, metric) for row in section.rows}
    return {label: cell.compared for label, cell in cells.items() if cell is not None}


def pairs(full: Values, here: Values) -> list[tuple[str, str, bool]]:
    """(first under full, second under full, whether they stand the other way round here).

    A pair that is tied under either is not an order that could be kept or lost, and is left out.
    """
    found = []
    for one, two in itertools.combinations([label for label in full if label in here], 2):
        before, after = full[one] - full[two], here[one] - here[two]
        if before and after:
            first, second = (one, two) if before > 0 else (two, one)
            found.append((first, second, before * after < 0))
    return found


def verdicts(section: Section, metric: str) -> list[str]:
    """What the protocols do to the order of the rows, in plain sentences; equal ones share a sentence."""
    if len(section.rows) < 2:
        return ["There is one row, and no order to change."]
    alike: dict[_Verdict, list[str]] = {}
    for protocol in section.sampled:
        if not any(row.cell(protocol, metric) for row in section.rows):
            continue
        alike.setdefault(_verdict(section, protocol, metric), []).append(protocol)
    if len(alike) == 1 and (only := next(iter(alike))).count and not only.fallen:
        return [f"No sampled protocol swaps a pair against full ranking ({only.count} compared)."]
    return [_sentence(verdict, protocols) for verdict, protocols in alike.items()]


@dataclass(frozen=True)
class _Verdict:
    comparable: bool
    count: int
    """Pairs that have an order under both."""
    fallen: tuple[tuple[str, tuple[str, ...]], ...]
    """Label -> labels of those that it falls below, though full ranking puts it above them."""


def _verdict(section: Section, protocol: str, metric: str) -> _Verdict:
    if not section.comparable(protocol):
        return _Verdict(False, 0, ())
    found = pairs(values_of(section, "full", metric), values_of(section, protocol, metric))
    fallen: dict[str, list[str]] = {}
    for first, second, swapped in found:
        if swapped:
            fallen.setdefault(first, []).append(second)
    return _Verdict(True, len(found), tuple((a, tuple(b)) for a, b in fallen.items()))


def _sentence(verdict: _Verdict, protocols: list[str]) -> str:
    names, s = listed(protocols), "s" if len(protocols) == 1 else ""
    if not verdict.comparable:
        return f"{names}: candidate lists differ between rows, so their order is not compared."
    if not verdict.count:
        return f"{names}: no two rows have an order both here and under full ranking."
    of = f"{verdict.count} pair{'s' if verdict.count != 1 else ''}"
    if not verdict.fallen:
        return f"{names} keep{s} the order of all {of}."
    swapped = sum(len(others) for _, others in verdict.fallen)
    falls = [f"{label} falls below {first_few(others)}" for label, others in verdict.fallen]
    if (more := len(falls) - FEW) > 0:
        falls = [*falls[:FEW], f"{more} more row{'s fall' if more > 1 else ' falls'}"]
    return f"{names} swap{s} {swapped} of {of}: {'; '.join(falls)}."
