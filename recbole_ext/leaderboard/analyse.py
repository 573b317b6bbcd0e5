"""Paired tests between the rows of a section, and corrections of their sampled metrics, from the runs' rank tables."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_ext.evaluator.corrected import corrected, sampled_ranks
from recbole_ext.evaluator.findings import Corrected
from recbole_ext.evaluator.metrics import Floats
from recbole_ext.evaluator.protocols import per_user
from recbole_ext.evaluator.ranks import RankTable
from recbole_ext.evaluator.ranks_file import DamagedRanks, read_ranks
from recbole_ext.evaluator.stats import paired_tests
from recbole_ext.leaderboard.analysis import JOINT, Analysis, Single, pair_key, row_ids, swapped
from recbole_ext.leaderboard.beside import COMPARED
from recbole_ext.leaderboard.rows import Row, Section, trailing_number

Values = dict[tuple[str, str], Floats]
"""(protocol, metric) -> [U] per-user values."""


def analyse(section: Section, runs: Path, known: Analysis) -> tuple[Analysis, list[str]]:
    """What is not known yet of a section, and a line for each rank table that could not be trusted.

    Args:
        section: rows on one ground.
        runs: folder of `<run_id>/ranks.parquet`.
        known: what was found before.
    """
    alone = {
        row.label
        for row in section.rows
        for protocol, metric in _drawn(row)
        if (row_ids(row), protocol, metric) not in known.corrected
    }
    lacking = alone | {
        row.label
        for one, two in itertools.combinations(section.rows, 2)
        for name in _shared(section, one, two)
        if pair_key(one, two, *name)[0] not in known.pairs
        for row in (one, two)
    }
    values: dict[str, Values] = {}
    found, damaged = Analysis(), []
    for row in section.rows:
        paths = [runs / record.run_id / "ranks.parquet" for record in row.records]
        if row.label not in lacking or not all(path.is_file() for path in paths):
            continue
        try:
            tables = [read_ranks(path)[0] for path in paths]
        except DamagedRanks as error:
            error.path.replace(error.path.with_suffix(".parquet.corrupt"))
            damaged.append(
                f"set aside as ranks.parquet.corrupt, {row.label} is compared with nothing: {error}"
            )
            continue
        values[row.label] = _values(row, tables)
        if row.label in alone:
            found.corrected |= _corrected(row, tables)
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
        if name == other and pair_key(one, two, *name)[0] not in known.pairs
    ]
    if wanted:
        matrix = np.column_stack([values[row.label][name] for row, name in columns])
        for (i, j), paired in paired_tests(matrix, wanted).items():
            key, other_way = pair_key(columns[i][0], columns[j][0], *columns[i][1])
            found.pairs[key] = swapped(paired) if other_way else paired
    return found, damaged


def _values(row: Row, tables: Sequence[RankTable]) -> Values:
    """Users in the order of their tokens, averaged over seeds and draws."""
    sums: Values = {}
    for table in tables:
        for protocol in row.first.metrics:
            wanted = [name for name in row.first.metrics[protocol] if _wanted(protocol, name)]
            if not wanted:
                continue
            found = per_user(table, protocol, sorted({trailing_number(name) for name in wanted}))
            for name in wanted:
                values = found[name] if found[name].ndim == 1 else found[name].mean(axis=1)
                sums[protocol, name] = sums.get((protocol, name), 0.0) + values / len(tables)
    return sums


def _drawn(row: Row) -> list[tuple[str, str]]:
    """Protocols with uniformly drawn lists, and the metrics that can be corrected."""
    return [
        (protocol, metric)
        for protocol in row.first.metrics
        if protocol.startswith("uni")
        for metric in COMPARED
        if metric in row.first.metrics[protocol]
    ]


def _corrected(row: Row, tables: Sequence[RankTable]) -> dict[Single, Corrected]:
    """Estimates of the full metric, averaged over seeds."""
    out: dict[Single, Corrected] = {}
    metrics: dict[str, list[str]] = {}
    for protocol, metric in _drawn(row):
        metrics.setdefault(protocol, []).append(metric)
    for protocol, names in metrics.items():
        m = trailing_number(protocol)
        seeds = []
        for table in tables:
            above, tied = table.lists[protocol]
            seeds.append(
                corrected(sampled_ranks(above, tied, table.user, table.negatives, m), names)
            )
        for name in names:
            fields = {
                f.name: float(np.mean([getattr(seed[name], f.name) for seed in seeds]))
                for f in dataclasses.fields(Corrected)
            }
            out[row_ids(row), protocol, name] = Corrected(**fields)
    return out


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
