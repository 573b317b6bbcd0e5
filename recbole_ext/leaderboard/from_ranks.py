"""What the tables of runs say about the rows of a section: paired tests, corrected estimates, intervals of rank correlations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.progress import progress
from recbole_ext.evaluator.corrected import Correction, sampled_ranks
from recbole_ext.evaluator.findings import Corrected, Paired
from recbole_ext.evaluator.metrics import POINTWISE
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.ranks import RankTable
from recbole_ext.evaluator.ranks_file import DamagedRanks
from recbole_ext.evaluator.stats import paired_tests, resamples, tau_interval
from recbole_ext.evaluator.tables import Tables, are_there, read_tables
from recbole_ext.leaderboard.agreement import ESTIMATORS
from recbole_ext.leaderboard.analysis import (
    JOINT,
    Analysis,
    Order,
    Pair,
    Single,
    order_name,
    pair_key,
    rows_key,
    swapped,
)
from recbole_ext.leaderboard.groups import chosen_rows, restricted
from recbole_ext.leaderboard.resampled import Estimates, recall, remember
from recbole_ext.leaderboard.rows import Row, Section, trailing_number
from recbole_ext.leaderboard.standings import COMPARED, compared

RESAMPLES = 200
"""Of the users, for estimates and orders: each costs an EM. The ends of an interval are the 5th and 196th value."""

Name = tuple[str, str]
"""Protocol (or protocol and estimator, `uni19 mle`) and metric."""
Values = dict[Name, Floats]
"""[U] per-user values."""


def analyse(
    section: Section, runs: Path, known: Analysis, deep: bool = True
) -> tuple[Analysis, list[HarnessError]]:
    """What is not known yet of a section, and what is wrong with each table that could not be trusted.

    Args:
        section: rows on one problem.
        runs: folder of `<run_id>/`, each with the tables of a run.
        known: what was found before.
        deep: corrected estimates and intervals of rank correlations too; False stops at the paired tests.
    """
    here = [row for row in section.rows if _are_there(row, runs)]
    wanted = {row.label: _wanted(section, row) for row in here}
    lists_agree = {name for of in wanted.values() for name in of if section.comparable(name[0])}
    lacking = {
        row.label
        for one, two in itertools.combinations(here, 2)
        for name in wanted[one.label] & wanted[two.label] & lists_agree
        if pair_key(one, two, *name)[0] not in known.pairs
        for row in (one, two)
    }
    if deep:
        lacking |= {
            row.label
            for row in here
            for name in _drawn(row)
            if (row.ids, *name) not in known.corrected
        }
        # An interval needs every row: without all ranks it is not asked for, or it would be at every call.
        for part in _parts(section):
            inside = {row.label for row in part.rows if _ranks(row)}
            if inside <= wanted.keys() and any(
                (rows_key(part), *name) not in known.taus for name in _orders(part)
            ):
                lacking |= inside
    tables, damaged = _tables(section, lacking, runs)
    values = {
        row.label: _values(section, row, tables[row.label]) for row in _having(section, tables)
    }
    found = Analysis(pairs=_pairs(section, values, known))
    if deep and tables:
        _deep(section, tables, values, runs, known, found)
    return found, damaged


def _parts(section: Section) -> list[Section]:
    """Rows whose orders are looked at: all of a section, and one of each model."""
    models = list(chosen_rows(section, "full").values())
    apart = 1 < len(models) < len(section.rows)
    return [section, *([restricted(section, models)] if apart else [])]


def _having(section: Section, tables: Mapping[str, Sequence[Tables]]) -> Iterator[Row]:
    return (row for row in section.rows if row.label in tables)


def _are_there(row: Row, runs: Path) -> bool:
    """Whether every seed of a row has the tables behind its numbers."""
    return all(are_there(runs / record.run_id, record.metrics) for record in row.records)


def _tables(
    section: Section, wanted: set[str], runs: Path
) -> tuple[dict[str, list[Tables]], list[HarnessError]]:
    """Label -> the tables of a row's seeds, for the rows that have them all."""
    tables: dict[str, list[Tables]] = {}
    damaged = []
    for row in section.rows:
        if row.label not in wanted or not _are_there(row, runs):
            continue
        try:
            tables[row.label] = [read_tables(runs / record.run_id) for record in row.records]
        except DamagedRanks as error:
            error.path.replace(error.path.with_suffix(".parquet.corrupt"))
            damaged.append(
                HarnessError(
                    f"set aside as {error.path.name}.corrupt, {row.label} is compared with nothing: {error}"
                )
            )
    return tables, damaged


def _pairs(section: Section, values: dict[str, Values], known: Analysis) -> dict[Pair, Paired]:
    """Paired tests of all metrics of all rows at once: they share the users, and so the random signs and resamples.

    Labelled pairs are compared over users of their own: those with both labels.
    """
    out: dict[Pair, Paired] = {}
    for labelled in (False, True):
        columns = [
            (row, name)
            for row in section.rows
            for name in values.get(row.label, ())
            if section.comparable(name[0]) and protocol_of(name[0]).labelled == labelled
        ]
        out |= _tested(columns, values, known)
    return out


def _tested(
    columns: list[tuple[Row, Name]], values: dict[str, Values], known: Analysis
) -> dict[Pair, Paired]:
    """The tests between columns of one metric that are not known yet."""
    wanted = [
        (one, two)
        for one, two in itertools.combinations(columns, 2)
        if one[1] == two[1] and pair_key(one[0], two[0], *one[1])[0] not in known.pairs
    ]
    # What is compared with nothing new needs no resampling.
    needed = {(row.label, name) for pair in wanted for row, name in pair}
    columns = [(row, name) for row, name in columns if (row.label, name) in needed]
    at = {(row.label, name): i for i, (row, name) in enumerate(columns)}
    places = [(at[one[0].label, one[1]], at[two[0].label, two[1]]) for one, two in wanted]
    out: dict[Pair, Paired] = {}
    if places:
        matrix = np.column_stack([values[row.label][name] for row, name in columns])
        for (i, j), paired in paired_tests(matrix, places).items():
            key, other_way = pair_key(columns[i][0], columns[j][0], *columns[i][1])
            out[key] = swapped(paired) if other_way else paired
    return out


def _deep(
    section: Section,
    tables: Mapping[str, Sequence[Tables]],
    values: Mapping[str, Values],
    runs: Path,
    known: Analysis,
    found: Analysis,
) -> None:
    """Corrected estimates of each row, and intervals of the orders of all of them, on one set of resampled users."""
    rows = [row for row in section.rows if _ranks(row) and row.label in tables]
    users = next((len(v) for row in rows for v in _ranked(values[row.label]).values()), 0)
    if not users:
        return
    drawn = np.concatenate(list(resamples(users, RESAMPLES)))
    replicates: dict[str, dict[Name, Floats]] = {}
    with progress(f"{section.title}: correcting sampled ranks", len(rows)) as advance:
        for row in rows:
            here = {name: drawn @ v / users for name, v in _ranked(values[row.label]).items()}
            folders = [runs / record.run_id for record in row.records]
            found.corrected |= _corrected(row, tables[row.label], folders, drawn, here, known)
            replicates[row.label] = here
            advance(1, row.label)
    for part in _parts(section):
        inside = {row.label for row in part.rows if _ranks(row)}
        if len(inside) > 1 and inside <= replicates.keys():
            found.taus |= _taus(part, replicates, known)


def _ranks(row: Row) -> bool:
    """Whether the row has more than labelled pairs."""
    return not all(protocol_of(name).labelled for name in row.first.metrics)


def _ranked(values: Values) -> Values:
    """Without those of labelled pairs, which have other users."""
    return {name: v for name, v in values.items() if not protocol_of(name[0]).labelled}


def _taus(
    section: Section, replicates: Mapping[str, Mapping[Name, Floats]], known: Analysis
) -> dict[Order, tuple[float, float]]:
    out = {}
    inside = {row.label for row in section.rows}
    for order, metric in _orders(section):
        if (rows_key(section), order, metric) in known.taus:
            continue
        labels = [
            label
            for label, of in replicates.items()
            if label in inside and (order, metric) in of and ("full", metric) in of
        ]
        full, here = (
            np.column_stack([replicates[label][name, metric] for label in labels])
            for name in ("full", order)
        )
        interval = tau_interval(full, here)
        if interval is not None:
            out[rows_key(section), order, metric] = interval
    return out


def _orders(section: Section) -> list[Name]:
    """What orders the rows of a section by a per-positive metric, besides full ranking."""
    out = []
    for protocol in section.sampled:
        metrics = [
            m
            for m in COMPARED
            if sum(
                row.cell(protocol, m) is not None and row.cell("full", m) is not None
                for row in section.rows
            )
            > 1
        ]
        if section.comparable(protocol):
            kinds = ESTIMATORS if protocol_of(protocol).corrects else ("naive",)
            out += [(order_name(protocol, kind), m) for kind in kinds for m in metrics]
    return out


def _values(section: Section, row: Row, tables: Sequence[Tables]) -> Values:
    """Users in the order of their tokens, averaged over seeds and draws."""
    sums: Values = {}
    asked = _wanted(section, row)
    for table in tables:
        for protocol in row.first.metrics:
            wanted = [name for name in row.first.metrics[protocol] if (protocol, name) in asked]
            if not wanted:
                continue
            ks = sorted({trailing_number(name) for name in wanted})
            found = table.per_user(protocol, ks)
            for name in wanted:
                values = found[name] if found[name].ndim == 1 else found[name].mean(axis=1)
                sums[protocol, name] = sums.get((protocol, name), 0.0) + values / len(tables)
    return sums


def _drawn(row: Row) -> list[Name]:
    """Protocols with uniformly drawn lists, and the metrics that can be corrected."""
    return [
        (protocol, metric)
        for protocol in row.first.metrics
        if protocol_of(protocol).corrects and _ranks_every_item(row)
        for metric in COMPARED
        if metric in row.first.metrics[protocol]
    ]


def _corrected(
    row: Row,
    tables: Sequence[Tables],
    folders: Sequence[Path],
    drawn: Floats,
    replicates: dict[Name, Floats],
    known: Analysis,
) -> dict[Single, Corrected]:
    """Estimates of the full metric, averaged over seeds; their resampled values are added to `replicates`."""
    out: dict[Single, Corrected] = {}
    metrics: dict[str, list[str]] = {}
    for protocol, metric in _drawn(row):
        metrics.setdefault(protocol, []).append(metric)
    for protocol, names in metrics.items():
        kept = [recall(folder, protocol, names, len(drawn)) for folder in folders]
        seeds = [of for of in kept if of is not None]
        if len(seeds) < len(kept) or any(
            (row.ids, protocol, name) not in known.corrected for name in names
        ):
            found, seeds = _estimated(row, tables, protocol, names, drawn)
            out |= found
            for folder, of in zip(folders, seeds, strict=True):
                remember(folder, protocol, of, len(drawn))
        for name in names:
            replicates |= {
                (order_name(protocol, kind), name): np.mean(
                    [of[name][kind] for of in seeds], axis=0
                )
                for kind in seeds[0][name]
                if kind != "naive"  # the mean of the lists, which is there
            }
    return out


def _estimated(
    row: Row, tables: Sequence[Tables], protocol: str, names: Sequence[str], drawn: Floats
) -> tuple[dict[Single, Corrected], list[Estimates]]:
    """(findings of a row, resampled estimates of each of its seeds) from ranks."""
    m = protocol_of(protocol).m
    assert m is not None
    points: list[Estimates] = []
    again: list[Estimates] = []
    corrections = []
    for table in tables:
        ranks = table.ranked
        assert isinstance(ranks, RankTable)
        above, tied = ranks.lists[protocol]
        correction = Correction(sampled_ranks(above, tied, ranks.user, ranks.negatives, m))
        corrections.append(correction)
        points.append(correction.estimates(correction.seen.weight[None], names))
        again.append(correction.estimates(correction.seen.weights(drawn), names))

    def mean(of: Sequence[Estimates], name: str) -> dict[str, Floats]:
        return {kind: np.mean([seed[name][kind] for seed in of], axis=0) for kind in of[0][name]}

    found = {
        (row.ids, protocol, name): corrections[0].result(
            name, mean(points, name), mean(again, name)
        )
        for name in names
    }
    return found, again


def _ranks_every_item(row: Row) -> bool:
    """Whether there is a full ranking that estimates could be of."""
    return bool(row.first.experiment.get("scoring", "full") == "full")


def _wanted(section: Section, row: Row) -> set[Name]:
    """What a row is compared on, under protocols whose lists are the same for all rows."""
    per_positive = compared(section)
    found: set[Name] = set()
    for protocol, metrics in row.first.metrics.items():
        asked = protocol_of(protocol)
        if asked.by_recbole:
            continue
        if asked.labelled:
            names = {n for n in metrics if n in POINTWISE and POINTWISE[n].per_user is not None}
        else:
            names = {n for n in metrics if n in per_positive or (asked.joint and n in JOINT)}
        found |= {(protocol, name) for name in names}
    return found
