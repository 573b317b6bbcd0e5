"""Ranking metrics as arithmetic on a RankTable, ties at their expectation under random order.

Two families that are never mixed (docs/protocols.md gives the formulas):

* joint-list (`recall recall_mink hr precision ndcg mrr map`): the user's whole list, all its positives in it;
* per-positive (`hit_pp ndcg_pp mrr_pp`): one positive among the user's negatives, the other positives left out, each
  positive weighted 1/|T_u|. Only this family can be compared between full and sampled candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recbole_ext.evaluator.ranks import Ints, RankTable

Floats = npt.NDArray[np.float64]

JOINT = ("recall", "ndcg", "hr", "precision", "mrr", "map", "recall_mink")
PER_POSITIVE = ("hit_pp", "ndcg_pp")


def joint_metrics(table: RankTable, ks: Sequence[int]) -> dict[str, Floats]:
    """Joint-list metrics of every user.

    Positives and negatives that share a score form a group; within it the order is random, so the expected number of
    hits, discounted gain, reciprocal rank and precision follow from the group's offset, size and number of positives.

    Args:
        table: P positives of U users.
        ks: cut-offs.

    Returns:
        `metric@k` -> [U], users ascending.
    """
    groups = _Groups(table)
    size = groups.positives + groups.tied
    total = np.bincount(groups.user, weights=groups.positives, minlength=groups.users)
    out: dict[str, Floats] = {}
    for k in ks:
        inside = np.clip(k - groups.offset, 0, size)  # slots of the group within the first k
        share = groups.positives / size  # probability that a slot holds a positive
        hits = _per_user(groups.user, share * inside, groups.users)
        discount = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
        begin = np.minimum(groups.offset, k)
        gain = _per_user(
            groups.user, share * (discount[begin + inside] - discount[begin]), groups.users
        )
        ideal = discount[np.minimum(total, k).astype(np.int64)]
        hit, reciprocal = _first_hit(groups, k)
        out[f"recall@{k}"] = hits / total
        out[f"recall_mink@{k}"] = hits / np.minimum(total, k)
        out[f"ndcg@{k}"] = gain / ideal
        out[f"hr@{k}"] = hit
        out[f"precision@{k}"] = hits / k
        out[f"mrr@{k}"] = reciprocal
        out[f"map@{k}"] = _precision_sum(groups, k) / np.minimum(total, k)
    return out


def per_positive_metrics(above: Ints, tied: Ints, ks: Sequence[int]) -> dict[str, Floats]:
    """Per-positive metrics of every positive: its place is uniform on above + 1 .. above + tied + 1.

    Args:
        above: [P] or [P, draws] negatives above.
        tied: the same shape, negatives tied.
        ks: cut-offs.

    Returns:
        `hit_pp@k`, `ndcg_pp@k` for each k, and `mrr_pp`; each of the shape of `above`.
    """
    size = tied + 1
    out: dict[str, Floats] = {}
    for k in ks:
        begin = np.minimum(above, k)
        inside = np.clip(k - above, 0, size)
        discount = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
        out[f"hit_pp@{k}"] = inside / size
        out[f"ndcg_pp@{k}"] = (discount[begin + inside] - discount[begin]) / size
    top = int((above + size).max(initial=0))
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, top + 1))])
    out["mrr_pp"] = (harmonic[above + size] - harmonic[above]) / size
    return out


def user_means(user: Ints, values: Floats) -> Floats:
    """[U, ...] mean over each user's positives of `values` [P, ...]; `user` [P] is sorted."""
    starts = np.flatnonzero(np.concatenate([[True], user[1:] != user[:-1]])) if len(user) else user
    sums = np.add.reduceat(values, starts, axis=0) if len(user) else values
    counts = np.diff(np.concatenate([starts, [len(user)]])).astype(np.float64)
    return np.asarray(sums / counts.reshape(-1, *[1] * (values.ndim - 1)), dtype=np.float64)


class _Groups:
    """Positives of a user that share a place in its list with each other and with `tied` negatives, best first.

    Positives with equal `above` and `tied` > 0 have one score; with `tied` = 0 no negative stands between them, so
    they fill consecutive places. With equal `above` the untied ones score higher and come first.
    """

    def __init__(self, table: RankTable) -> None:
        order = np.lexsort((table.tied, table.above, table.user))
        user, above, tied = table.user[order], table.above[order], table.tied[order]
        new_user = np.ones(len(user), dtype=bool)
        new_user[1:] = user[1:] != user[:-1]
        new = new_user.copy()
        new[1:] |= (above[1:] != above[:-1]) | (tied[1:] != tied[:-1])
        starts = np.flatnonzero(new)
        begin_user = np.flatnonzero(new_user)
        self.users: int = len(begin_user)
        self.user: Ints = (np.cumsum(new_user) - 1)[starts]
        self.positives: Ints = np.diff(np.append(starts, len(user)))
        self.tied: Ints = tied[starts]
        self.earlier: Ints = starts - begin_user[self.user]
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
    miss = np.ones(groups.users)  # probability that slots 1..x of the group hold no positive
    reciprocal = np.zeros(groups.users)
    for x in range(k):
        left = size - x
        reach = (offset + x < k) & (left > 0)
        here = np.where(reach, miss * np.minimum(1.0, positives / np.maximum(left, 1.0)), 0.0)
        reciprocal += here / (offset + x + 1)
        miss = miss - here
    return 1.0 - miss, reciprocal


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
