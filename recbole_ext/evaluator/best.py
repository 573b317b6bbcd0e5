"""The best places of rows of scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints

_WIDE = 1 << 17
"""Scores of a row from which its best ones are found by pieces."""


def largest(rows: npt.NDArray[Any], top: int) -> Ints:
    """[B, top] positions of the largest values of each row, largest first, equal ones by position; `top` at least 1."""
    if rows.shape[1] >= max(_WIDE, 4 * top):
        return np.stack([_largest_of_many(row, top) for row in rows])
    found = np.argpartition(rows, rows.shape[1] - top, axis=1)[:, -top:]
    found.sort(axis=1)
    values = np.take_along_axis(rows, found, axis=1)
    # Which of several equal values at the edge got in is the library's whim: there the first ones are taken.
    edge = values.min(axis=1)
    for row in np.flatnonzero(
        (rows == edge[:, None]).sum(axis=1) > (values == edge[:, None]).sum(axis=1)
    ):
        inside = np.flatnonzero(rows[row] > edge[row])
        rest = np.flatnonzero(rows[row] == edge[row])[: top - len(inside)]
        found[row] = np.sort(np.concatenate([inside, rest]))
        values[row] = rows[row, found[row]]
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def _largest_of_many(row: npt.NDArray[Any], top: int) -> Ints:
    """[top] `largest` of one long row, which is read twice and never copied.

    The largest of each of many pieces are read off first: as many of these as are asked for, and so as many values of the
    row, are at least the smallest of the best ones. Few others are.
    """
    n = len(row)
    pieces = max(2 * top, math.isqrt(n))
    width = n // pieces
    best = row[: pieces * width].reshape(pieces, width).max(axis=1)
    edge = np.partition(best, pieces - top)[pieces - top]
    found = np.flatnonzero(row > edge)
    if len(found) < top:
        found = np.concatenate([found, np.flatnonzero(row == edge)[: top - len(found)]])
        found.sort()
    return found[np.argsort(-row[found], kind="stable")[:top]]
