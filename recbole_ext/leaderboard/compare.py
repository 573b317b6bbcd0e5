"""Two runs, paired by the users that both were tested on: how each metric differs, and in what the two were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.evaluator.findings import Paired, holm
from recbole_ext.evaluator.metrics import POINTWISE, PointwiseMetric, metric_of
from recbole_ext.evaluator.paired_scores import drawn_metrics, gap
from recbole_ext.evaluator.pointwise import scores_per_user
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.stats import paired_tests
from recbole_ext.evaluator.tables import Tables, are_there, read_tables
from recbole_ext.leaderboard.analysis import JOINT
from recbole_ext.leaderboard.asked import differences, leaves, problem, unlike
from recbole_ext.leaderboard.chosen_run import Chosen
from recbole_ext.leaderboard.labels import listed
from recbole_ext.leaderboard.standings import COMPARED, FIRST
from recbole_ext.results import ResultRecord

_SAME = 1e-6
"""Between a mean as it is recorded, to eight decimals, and as it comes out of the tables again."""
EVERY = "all"
"""Every metric that both have, in place of those that a board tests."""


@dataclass(frozen=True)
class Line:
    """One metric of both runs."""

    protocol: str
    metric: str
    first: float
    second: float
    paired: Paired
    """First minus second. Of a metric that is no mean over users, interval and p are of the bootstrap, and `effect` is NaN."""
    users: int
    """That the metric is of in both."""
    p: float
    """Adjusted by Holm's method over all lines."""

    @property
    def smaller_is_better(self) -> bool:
        """Of a loss."""
        of = metric_of(self.metric)[0]
        return isinstance(of, PointwiseMetric) and not of.selects

    @property
    def first_is_better(self) -> bool:
        """By the means."""
        return (self.paired.difference > 0) != self.smaller_is_better


@dataclass(frozen=True)
class Comparison:
    """What is to be said of two runs."""

    one: Chosen
    other: Chosen
    lines: tuple[Line, ...]
    left_out: tuple[str, ...]
    """Protocols that one of them lacks, or that cannot be paired, with the reason."""
    asked: tuple[tuple[str, str, str], ...]
    """(what, of the first, of the second): where they differ in what was asked for, read or chosen."""


def compare(one: Chosen, other: Chosen, metrics: Sequence[str] | None = None) -> Comparison:
    """Compare two runs on one problem.

    Args:
        one: a run with its tables.
        other: another.
        metrics: to compare, `("all",)` for all that both have, None for those that a board tests.

    Raises:
        HarnessError: they are one run, were not tested on the same, lack tables, or share no such metric.
    """
    _check(one, other)
    shared, left_out = _shared(one.record, other.record)
    if not shared:
        why = f": {'; '.join(left_out)}" if left_out else ""
        raise HarnessError(f"{one.name} and {other.name} have no protocol in common{why}")
    for run in (one, other):
        if not are_there(run.folder, shared):
            raise HarnessError(
                f"{run.name} has no ranks in {run.folder}: users can be paired where the run was made (--records=FOLDER), or once "
                "it is run again"
            )
    wanted = _wanted(shared, metrics)
    tables = read_tables(one.folder), read_tables(other.folder)
    lines = [*_ranked(one, other, tables, wanted), *_labelled(one, other, tables, wanted)]
    adjusted = holm([line[4].p for line in lines])
    return Comparison(
        one,
        other,
        tuple(Line(*line, p) for line, p in zip(lines, adjusted, strict=True)),
        tuple(left_out),
        tuple(differences(one.record, other.record)),
    )


def _check(one: Chosen, other: Chosen) -> None:
    """Refuse what is not two runs on one problem."""
    if one.record.run_id == other.record.run_id:
        raise HarnessError(f"both are {one.name}: name two runs")
    first, second = one.record, other.record
    for key in ("data", "split"):
        here, there = (record.fingerprints[key] for record in (first, second))
        if here != there:
            apart = [
                f"{name} {a} and {b}"
                for name, a, b in unlike(*(leaves("", problem(r)) for r in (first, second)))
            ]
            asked = f" ({', '.join(apart)})" if apart else ""
            raise HarnessError(
                f"{one.name} and {other.name} were not tested on the same: the fingerprint of their {key} is {here[:12]} and "
                f"{there[:12]}{asked}"
            )
    here, there = first.experiment["exclude"], second.experiment["exclude"]
    if here != there:
        raise HarnessError(
            f"{one.name} and {other.name} were not ranked among the same items: exclude={here} and exclude={there}"
        )


def _shared(one: ResultRecord, other: ResultRecord) -> tuple[dict[str, list[str]], list[str]]:
    """(protocol -> metrics of both, as far as users can be paired; what was left out and why)."""
    shared: dict[str, list[str]] = {}
    left_out = []
    # Full ranking first; a record's own order is the alphabet's.
    for name in sorted({*one.metrics, *other.metrics}, key=lambda n: (n != "full", n)):
        if name not in one.metrics or name not in other.metrics:
            left_out.append(f"{name} is of the {'first' if name in one.metrics else 'second'} only")
        elif protocol_of(name).by_recbole:
            left_out.append(f"{name} has no values of users")
        elif one.candidates.get(name) != other.candidates.get(name):
            left_out.append(f"{name} was ranked on other lists")
        else:
            shared[name] = [m for m in one.metrics[name] if m in other.metrics[name]]
    return shared, left_out


def _wanted(shared: Mapping[str, list[str]], asked: Sequence[str] | None) -> dict[str, list[str]]:
    """Protocol -> the metrics to compare."""
    if asked is None:
        return {name: _usual(name, metrics) for name, metrics in shared.items()}
    known = sorted({metric for metrics in shared.values() for metric in metrics})
    if list(asked) == [EVERY]:
        return dict(shared)
    for name in asked:
        if name not in known:
            raise HarnessError(
                f"--metrics={name}: not of both runs{nearest(name, known) or f' ({listed(known)})'}"
            )
    return {name: [m for m in metrics if m in asked] for name, metrics in shared.items()}


def _usual(protocol: str, metrics: Sequence[str]) -> list[str]:
    """What a board tests; of a run with other cut-offs, what it has at the deepest."""
    if protocol_of(protocol).labelled:
        return list(metrics)
    tested = (*JOINT, *COMPARED) if protocol_of(protocol).joint else COMPARED
    found = [m for m in tested if m in metrics] or [m for m in (FIRST,) if m in metrics]
    deepest = max((metric_of(m)[1] or 0 for m in metrics), default=0)
    return found or [m for m in metrics if metric_of(m)[1] == deepest]


_Line = tuple[str, str, float, float, Paired, int]


def _ranked(
    one: Chosen, other: Chosen, tables: tuple[Tables, Tables], wanted: Mapping[str, list[str]]
) -> Iterator[_Line]:
    """Metrics that are means over users of what was ranked."""
    columns: list[Floats] = []
    names: list[tuple[str, str]] = []
    for protocol, metrics in wanted.items():
        if protocol_of(protocol).labelled or not metrics:
            continue
        _same_rows(one, other, [table.ranked for table in tables], ("user", "item"))
        ks = sorted({k for m in metrics if (k := metric_of(m)[1])})
        both = [table.per_user(protocol, ks) for table in tables]
        for metric in metrics:
            for run, of in zip((one, other), both, strict=True):
                values = of[metric] if of[metric].ndim == 1 else of[metric].mean(axis=1)
                _agrees(run, protocol, metric, float(values.mean()))
                columns.append(values)
            names.append((protocol, metric))
    if not columns:
        return
    values = np.column_stack(columns)
    pairs = [(2 * i, 2 * i + 1) for i in range(len(names))]
    found = paired_tests(values, pairs)
    for (protocol, metric), (i, j) in zip(names, pairs, strict=True):
        means = float(values[:, i].mean()), float(values[:, j].mean())
        yield protocol, metric, *means, found[i, j], len(values)


def _labelled(
    one: Chosen, other: Chosen, tables: tuple[Tables, Tables], wanted: Mapping[str, list[str]]
) -> Iterator[_Line]:
    """Metrics of labelled pairs: differences on the same draws of users, and the test of swaps where users have values."""
    for protocol, metrics in wanted.items():
        if not protocol_of(protocol).labelled or not metrics:
            continue
        scores = [table.scored for table in tables if table.scored is not None]
        _same_rows(one, other, scores, ("user", "item", "label"))
        both, own = [drawn_metrics(of) for of in scores], [scores_per_user(of) for of in scores]
        users = len(np.unique(scores[0].user))
        for metric in metrics:
            means = [float(of[metric][0]) for of in both]
            for run, mean in zip((one, other), means, strict=True):
                _agrees(run, protocol, metric, mean)
            between, counted = gap(both[0][metric], both[1][metric]), users
            effect, p = float("nan"), between.p
            if POINTWISE[metric].per_user is not None:
                values = np.column_stack([of[metric] for of in own])
                values = values[np.isfinite(values).all(axis=1)]
                tested, counted = paired_tests(values)[0, 1], len(values)
                effect, p = tested.effect, tested.p
            paired = Paired(between.difference, between.low, between.high, effect, p)
            yield protocol, metric, means[0], means[1], paired, counted


def _same_rows(one: Chosen, other: Chosen, tables: Sequence[Any], columns: Sequence[str]) -> None:
    """Refuse tables of other rows: the fingerprints say that they are alike, somebody's files do not."""
    here, there = tables
    for name in columns:
        if not np.array_equal(getattr(here, name), getattr(there, name)):
            raise HarnessError(
                f"{one.folder} and {other.folder} have tables of other {name}s, although data and split are the same: run one of "
                "them again with --force"
            )


def _agrees(run: Chosen, protocol: str, metric: str, mean: float) -> None:
    """Refuse tables that are not those of the record."""
    recorded = float(run.record.metrics[protocol][metric]["mean"])
    if not abs(recorded - mean) <= _SAME:
        raise HarnessError(
            f"{run.folder}: its tables say {protocol} {metric} {mean:.6f}, its record {recorded:.6f}; run it again with --force"
        )
