"""Paired tests between the rows of a section, from the rank tables of their runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_ext.evaluator.metrics import Floats
from recbole_ext.evaluator.paired import Paired
from recbole_ext.evaluator.protocols import per_user
from recbole_ext.evaluator.ranks_file import DamagedRanks, read_ranks
from recbole_ext.evaluator.stats import paired_tests
from recbole_ext.leaderboard.beside import COMPARED
from recbole_ext.leaderboard.comparisons import JOINT, Comparisons, Key, pair_key, swapped
from recbole_ext.leaderboard.rows import Row, Section, trailing_number


def compare(
    section: Section, runs: Path, known: Comparisons
) -> tuple[dict[Key, Paired], list[str]]:
    """What is not known yet of the pairs of a section, and a line for each rank table that could not be trusted.

    Args:
        section: rows on one ground.
        runs: folder of `<run_id>/ranks.parquet`.
        known: comparisons made before.
    """
    lacking = {
        row.label
        for one, two in itertools.combinations(section.rows, 2)
        for name in _shared(section, one, two)
        if pair_key(one, two, *name)[0] not in known
        for row in (one, two)
    }
    values, damaged = {}, []
    for row in section.rows:
        paths = [runs / record.run_id / "ranks.parquet" for record in row.records]
        if row.label not in lacking or not all(path.is_file() for path in paths):
            continue
        try:
            values[row.label] = _values(row, paths)
        except DamagedRanks as error:
            error.path.replace(error.path.with_suffix(".parquet.corrupt"))
            damaged.append(
                f"set aside as ranks.parquet.corrupt, {row.label} is compared with nothing: {error}"
            )
    columns = [
        (row, name)
        for row in section.rows
        for name in values.get(row.label, ())
        if section.comparable(name[0])
    ]
    # All metrics of all rows at once: they share the users, and so the random signs and resamples.
    wanted = [
        (i, j)
        for (i, (one, name)), (j, (two, other)) in itertools.combinations(enumerate(columns), 2)
        if name == other and pair_key(one, two, *name)[0] not in known
    ]
    found: dict[Key, Paired] = {}
    if wanted:
        matrix = np.column_stack([values[row.label][name] for row, name in columns])
        for (i, j), paired in paired_tests(matrix, wanted).items():
            key, other_way = pair_key(columns[i][0], columns[j][0], *columns[i][1])
            found[key] = swapped(paired) if other_way else paired
    return found, damaged


def _values(row: Row, paths: Sequence[Path]) -> dict[tuple[str, str], Floats]:
    """(protocol, metric) -> [U] per-user values, users in the order of their tokens, averaged over seeds and draws."""
    sums: dict[tuple[str, str], Floats] = {}
    for path in paths:
        table, _, _ = read_ranks(path)
        for protocol in row.first.metrics:
            wanted = [name for name in row.first.metrics[protocol] if _wanted(protocol, name)]
            if not wanted:
                continue
            ks = sorted({trailing_number(name) for name in wanted})
            found = per_user(table, protocol, ks)
            for name in wanted:
                values = found[name] if found[name].ndim == 1 else found[name].mean(axis=1)
                sums[protocol, name] = sums.get((protocol, name), 0.0) + values / len(paths)
    return sums


def _wanted(protocol: str, metric: str) -> bool:
    return metric in COMPARED or (protocol == "full" and metric in JOINT)


def _shared(section: Section, one: Row, two: Row) -> list[tuple[str, str]]:
    return [
        (protocol, metric)
        for protocol in one.first.metrics
        if section.comparable(protocol)
        for metric in one.first.metrics[protocol]
        if _wanted(protocol, metric) and metric in two.first.metrics.get(protocol, {})
    ]
