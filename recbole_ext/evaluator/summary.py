"""The lists that protocols need, and the numbers that each reads off a RankTable or a ListTable.

`full` ranks among all negatives, `uniM` among M frozen ones drawn uniformly, `popM` in proportion to popularity,
`expected@M` is the mean of `uniM` over all draws. `recbole-uniM` is RecBole's own evaluator and reads no table; `ctr`
is in its own module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.evaluator.candidates import draw_lists, draw_popular_lists
from recbole_ext.evaluator.lists import ListTable
from recbole_ext.evaluator.metrics import JOINT, OUTPUT, PER_POSITIVE, names
from recbole_ext.evaluator.places import Lists, joint_metrics, per_positive_metrics, user_means
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.ranks import RankTable, RankTask, ScoreBlocks, rank
from recbole_ext.evaluator.sampled import check_sample_size, expected_metrics
from recbole_ext.evaluator.stats import bootstrap_intervals

REVISION = 1
"""Bumped when a change moves any number that this package prints."""


def with_lists(
    task: RankTask,
    protocols: Sequence[str],
    user_tokens: Sequence[str],
    item_tokens: Sequence[str],
    draws: int,
    key: str,
    popularity: Ints,
) -> RankTask:
    """The task with the frozen lists of every drawn protocol; see `candidates`.

    `popularity` [n_items] counts training interactions.

    Raises:
        HarnessError: a protocol asks for more negatives than some user has.
    """
    lists = {}
    for protocol in protocols:
        asked = protocol_of(protocol)
        if asked.m is None:
            continue
        if asked.kind == "uni":
            lists[protocol] = draw_lists(task, user_tokens, item_tokens, asked.m, draws, key)
        elif asked.kind == "pop":
            lists[protocol] = draw_popular_lists(
                task, user_tokens, item_tokens, popularity, asked.m, draws, key
            )
        elif asked.closed:
            check_sample_size(asked.m, task.negatives)
    return dataclasses.replace(task, lists=lists)


def mean_of(table: RankTable, name: str) -> float:
    """Mean over users of one joint-list `metric@k`."""
    metric, _, k = name.partition("@")
    return float(JOINT[metric].per_user(Lists(table, int(k)), int(k)).mean())


def validated(
    task: RankTask, scores: ScoreBlocks, name: str, block_bytes: int | None = None
) -> list[float]:
    """`mean_of` by each of K score matrices; arguments are those of `rank`.

    Selection reads one metric with a cut-off, so that no place below it is counted.
    """
    tables = rank(task, scores, block_bytes, depth=int(name.partition("@")[2]))
    return [mean_of(table, name) for table in tables]


def per_user(table: RankTable | ListTable, protocol: str, ks: Sequence[int]) -> dict[str, Floats]:
    """Per-user values [U] of one protocol's metrics; [U, draws] for drawn ones."""
    asked = protocol_of(protocol)
    if isinstance(table, RankTable) and table.depth is not None:
        raise ValueError(f"a table that is counted down to {table.depth} has no ranks below")
    if isinstance(table, ListTable):
        positives = _of_lists(table, protocol, ks)
    elif protocol in table.lists:
        above, tied = table.lists[protocol]
        positives = per_positive_metrics(above, tied, ks)
    elif asked.m is not None:
        positives = expected_metrics(table, asked.m, ks)
    else:
        positives = per_positive_metrics(table.above, table.tied, ks)
    values = {name: user_means(table.user, column) for name, column in positives.items()}
    if isinstance(table, RankTable) and asked.joint:
        return {**joint_metrics(table, ks), **values}
    return values


def _of_lists(table: ListTable, protocol: str, ks: Sequence[int]) -> dict[str, Floats]:
    """[P, draws] values: an invalid output misses at every cut-off, and beyond what an output decides there is no value."""
    above, tied = table.lists[protocol]
    valid = table.valid[protocol]
    ranked = per_positive_metrics(above, tied, ks)
    decided = {
        name
        for metric in PER_POSITIVE.values()
        for name, k in names(metric, ks).items()
        if table.depth is None or (k is not None and k <= table.depth)
    }
    values = {name: column * valid for name, column in ranked.items() if name in decided}
    if table.depth is None:
        return values
    return values | {key: metric.per_answer(valid) for key, metric in OUTPUT.items()}


def summarise(
    table: RankTable | ListTable, protocols: Sequence[str], ks: Sequence[int]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Protocol -> metric -> mean over users, 95% bootstrap interval, and the mean of each draw."""
    values = {protocol: per_user(table, protocol, ks) for protocol in protocols}
    if not values:
        return {}
    every = [column for metrics in values.values() for column in metrics.values()]
    columns = np.column_stack([v if v.ndim == 1 else v.mean(axis=1) for v in every])
    low, high = bootstrap_intervals(columns)  # all protocols see the same resampled users
    out: dict[str, dict[str, dict[str, Any]]] = {}
    i = 0
    for protocol, metrics in values.items():
        out[protocol] = {}
        for name, column in metrics.items():
            entry: dict[str, Any] = {
                "mean": rounded(columns[:, i].mean()),
                "low": rounded(low[i]),
                "high": rounded(high[i]),
            }
            if column.ndim == 2:
                entry["draws"] = [rounded(x) for x in column.mean(axis=0)]
            out[protocol][name] = entry
            i += 1
    return out


def rounded(value: float) -> float:
    """Eight decimals: finer than any claim, coarse enough that a record is easy to read."""
    return round(float(value), 8)
