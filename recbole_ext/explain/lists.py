"""The best items of many users at once, from scores of every item or of labelled pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_ext.core.arrays import Bools, Floats, Ints, run_starts
from recbole_ext.evaluator.best import largest
from recbole_ext.evaluator.pointwise import LabelledPairs
from recbole_ext.evaluator.ranks import RankTask

_USERS = 1 << 12
"""Whose labelled pairs are listed at a time."""


@dataclass(frozen=True)
class Listed:
    """Places of some users' lists: L rows by user, best first, all by index."""

    user: Ints
    place: Ints
    """[L] from 1."""
    item: Ints
    score: Floats
    positive: Bools


def best_items(task: RankTask, users: Ints, matrix: Any, top: int) -> Listed:
    """The best candidates of consecutive users of a task; equal scores by item.

    Args:
        task: with what is no candidate.
        users: [B] as they stand in the task.
        matrix: [B, n_items] scores.
        top: length of a list; of a user with fewer candidates all of them.
    """
    rows, first = np.array(matrix), int(np.searchsorted(task.users, users[0]))
    block = slice(first, first + len(users) + 1)
    rows[_cells(task.exc_indptr[block], task.exc_items)] = -np.inf
    found = largest(rows, min(top, task.n_items))
    score = np.take_along_axis(rows, found, axis=1)
    held = np.zeros(rows.shape, dtype=bool)
    held[_cells(task.pos_indptr[block], task.pos_items)] = True
    kept = score > -np.inf
    row, column = np.nonzero(kept)
    return Listed(
        np.asarray(users)[row],
        column + 1,
        found[kept],
        score[kept].astype(np.float64),
        np.take_along_axis(held, found, axis=1)[kept],
    )


def _cells(indptr: Ints, items: Ints) -> tuple[Ints, Ints]:
    """(row from 0, item) of the entries between some offsets."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), items[indptr[0] : indptr[-1]]


def best_rows(pairs: LabelledPairs, score: Floats, top: int) -> Iterator[Listed]:
    """The rows of each user that score highest, some users at a time; equal scores in the order of the rows."""
    order = np.lexsort((np.arange(len(score)), -score, pairs.user))
    user = pairs.user[order]
    starts = run_starts(user)
    place = np.arange(len(user)) - np.repeat(starts, np.diff(np.append(starts, len(user)))) + 1
    order, place = order[place <= top], place[place <= top]
    whose = np.cumsum(place == 1) - 1
    for begin in range(0, len(starts), _USERS):
        some = slice(*np.searchsorted(whose, (begin, begin + _USERS)))
        at = order[some]
        yield Listed(pairs.user[at], place[some], pairs.item[at], score[at], pairs.label[at] == 1)
