"""Metrics as arithmetic on a RankTable, ties at their expectation under random order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np

from recbole_ext.core.arrays import Floats, Ints, run_starts
from recbole_ext.evaluator.metrics import JOINT, PER_POSITIVE, names
from recbole_ext.evaluator.ranks import RankTable


def joint_metrics(table: RankTable, ks: Sequence[int]) -> dict[str, Floats]:
    """Every joint-list metric of every user: `metric@k` -> [U], users ascending.

    Args:
        table: P positives of U users.
        ks: cut-offs.
    """
    lists = Lists(table, max(ks, default=0))
    return {f"{metric.key}@{k}": metric.per_user(lists, k) for k in ks for metric in JOINT.values()}


def per_positive_metrics(above: Ints, tied: Ints, ks: Sequence[int]) -> dict[str, Floats]:
    """Per-positive metrics of every positive: its rank is uniform on above + 1 .. above + tied + 1.

    Args:
        above: [P] or [P, draws] negatives above.
        tied: the same shape, negatives tied.
        ks: cut-offs.

    Returns:
        `hit_pp@k`, `ndcg_pp@k` for each k, and `mrr_pp`; each of the shape of `above`.
    """
    size = tied + 1
    deepest = int((above + size).max(initial=0))
    out: dict[str, Floats] = {}
    for metric in PER_POSITIVE.values():
        for name, k in names(metric, ks).items():
            last = deepest if k is None else k
            gained = _summed(metric.gain(np.arange(1, last + 1)))
            first = np.minimum(above, last)
            out[name] = (gained[np.minimum(above + size, last)] - gained[first]) / size
    return out


def _summed(values: Floats) -> Floats:
    """[n + 1] sums of the first 0, 1, .. values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def user_means(user: Ints, values: Floats) -> Floats:
    """[U, ...] mean over each user's positives of `values` [P, ...]; `user` [P] is sorted."""
    starts = run_starts(user)
    sums = np.add.reduceat(values, starts, axis=0) if len(user) else values
    counts = np.diff(np.concatenate([starts, [len(user)]])).astype(np.float64)
    return np.asarray(sums / counts.reshape(-1, *[1] * (values.ndim - 1)), dtype=np.float64)


class Lists:
    """What is expected of the first k places of each user's list, as arrays [U], users ascending.

    Positives and negatives that share a score form a group; within it the order is random, so the expected number of
    hits, discounted gain, reciprocal rank and precision follow from the group's offset, size and number of positives.
    """

    def __init__(self, table: RankTable, deepest: int) -> None:
        """
        Args:
            table: P positives of U users.
            deepest: no k is larger.
        """
        if table.depth is not None and table.depth < deepest:
            raise ValueError(f"places are counted down to {table.depth}, not {deepest}")
        self._groups = _Groups(table, deepest)
        for name in ("_slots", "hits", "gain", "ideal_gain", "most", "_first", "precisions"):
            # A value is asked for by several metrics and made once for each k.
            setattr(self, name, cache(getattr(self, name)))

    @cached_property
    def total(self) -> Floats:
        """Positives of each user."""
        return self._groups.total.astype(np.float64)

    def most(self, k: int) -> Floats:
        """Hits of the best list: min(|T|, k)."""
        return np.minimum(self.total, k)

    def hits(self, k: int) -> Floats:
        """Positives among the first k."""
        share, inside = self._slots(k)
        return _per_user(self._groups.user, share * inside, self._groups.users)

    def gain(self, k: int) -> Floats:
        """Sum of 1 / log2(place + 1) over the positives among the first k."""
        share, inside = self._slots(k)
        summed = _discounts(k)
        begin = np.minimum(self._groups.offset, k)
        gained = share * (summed[begin + inside] - summed[begin])
        return _per_user(self._groups.user, gained, self._groups.users)

    def ideal_gain(self, k: int) -> Floats:
        """`gain` of a list that begins with all positives."""
        return np.asarray(_discounts(k)[self.most(k).astype(np.int64)])

    def any_hit(self, k: int) -> Floats:
        """Probability of a positive among the first k."""
        return self._first(k)[0]

    def reciprocal_rank(self, k: int) -> Floats:
        """1 / place of the first positive, 0 beyond k."""
        return self._first(k)[1]

    def precisions(self, k: int) -> Floats:
        """Sum of the precision at each positive's place among the first k: average precision without its denominator."""
        return _precision_sum(self._groups, k)

    def _slots(self, k: int) -> tuple[Floats, Ints]:
        """Of each group: the probability that a slot holds a positive, and how many slots lie among the first k."""
        groups = self._groups
        size = groups.positives + groups.tied
        return groups.positives / size, np.clip(k - groups.offset, 0, size)

    def _first(self, k: int) -> tuple[Floats, Floats]:
        return _first_hit(self._groups, k)


def _discounts(k: int) -> Floats:
    return _summed(PER_POSITIVE["ndcg_pp"].gain(np.arange(1, k + 1)))


class _Groups:
    """Positives of a user that share a place in its list with each other and with `tied` negatives, best first.

    Positives with equal `above` and `tied` > 0 have one score; with `tied` = 0 no negative stands between them, so
    they fill consecutive places. With equal `above` the untied ones score higher and come first. Those that cannot stand
    among the first `deepest` places are left out: some users have no group.
    """

    def __init__(self, table: RankTable, deepest: int) -> None:
        self.total: Ints = np.diff(np.append(run_starts(table.user), len(table.user)))
        """[U] positives of each user, those without a group too."""
        self.users: int = len(self.total)
        near = np.flatnonzero(table.above < deepest)
        user = np.repeat(np.arange(self.users), self.total)[near]
        above, tied = table.above[near], table.tied[near]
        order = np.lexsort((tied, above, user))
        user, above, tied = user[order], above[order], tied[order]
        starts = run_starts(user, above, tied)
        self.user: Ints = user[starts]
        self.positives: Ints = np.diff(np.append(starts, len(user)))
        self.tied: Ints = tied[starts]
        self.earlier: Ints = starts - np.searchsorted(user, self.user)
        """Positives of the user in better groups."""
        self.offset: Ints = above[starts] + self.earlier
        """List places before the group's first."""


def _per_user(user: Ints, values: Floats, users: int) -> Floats:
    return np.bincount(user, weights=values, minlength=users).astype(np.float64, copy=False)


def _first_hit(groups: _Groups, k: int) -> tuple[Floats, Floats]:
    """[U] probability of a positive in the first k, and expected reciprocal rank of the first one, 0 beyond k."""
    first = groups.earlier == 0
    offset, positives = groups.offset[first], groups.positives[first].astype(np.float64)
    size = positives + groups.tied[first]
    miss = np.ones(len(size))  # probability that slots 1..x of the group hold no positive
    reciprocal = np.zeros(len(size))
    for x in range(k):
        left = size - x
        reach = (offset + x < k) & (left > 0)
        here = np.where(reach, miss * np.minimum(1.0, positives / np.maximum(left, 1.0)), 0.0)
        reciprocal += here / (offset + x + 1)
        miss = miss - here
    user = groups.user[first]
    return _per_user(user, 1.0 - miss, groups.users), _per_user(user, reciprocal, groups.users)


def _precision_sum(groups: _Groups, k: int) -> Floats:
    """[U] expected sum over the first k slots of relevance x precision at that slot (AP without its denominator)."""
    size = groups.positives + groups.tied
    share = groups.positives / size
    # Given a positive in slot x (0-based), each other slot of the group holds one with this probability.
    others = (groups.positives - 1) / np.maximum(size - 1, 1)
    out = np.zeros(groups.users)
    # Slots before k only; x runs over the deepest group that still matters.
    for x in range(min(k, int(size.max(initial=0)))):
        active = (x < size) & (groups.offset + x < k)
        if not active.any():
            break
        value = share * (groups.earlier + 1 + others * x) / (groups.offset + x + 1)
        out += _per_user(groups.user, np.where(active, value, 0.0), groups.users)
    return out
