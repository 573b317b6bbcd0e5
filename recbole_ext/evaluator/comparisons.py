"""How many of a row's scores are above a threshold, and how many equal it, by whichever way is cheapest.

Few thresholds of a row are compared with all of it, many are looked up in the sorted row. Where only the first places
matter, most thresholds are below them, and of a row only its few best scores are above any of the others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints, run_starts

_WORTH = 8
"""Of a chunk's scores the share, one in so many, up to which its best ones are worth picking out."""


def sorted_from(n: int) -> int:
    """Positives a row from which one sort of its n scores is cheaper than two comparisons each.

    Measured with AVX2: 7 at n = 1,700, 12 at 4,000, 14 at 12,000 and 24 at 50,000.
    """
    return math.isqrt(n) // 8


class Comparisons:
    """How many of a row's n scores are above, and at least, each of its thresholds.

    `count_nonzero` keeps the interpreter's lock, and one core waits for the other. A sum of the outcomes as words of
    eight lanes does not: a lane holds up to 255. Every call is a chance to wait, so that one serves many thresholds: a
    copy of its row for each costs less than calls for each row. Its room is kept, since fresh pages cost more than both.
    """

    _BYTES = 1 << 19
    _WORDS = 248

    def __init__(self, n: int, dtype: npt.DTypeLike) -> None:
        width = 8 * self._WORDS * -(-n // (8 * self._WORDS))
        self._together = max(4, self._BYTES // width)
        self._copies = np.empty((self._together, n), dtype=dtype)
        self._outcomes = np.zeros((self._together, width), dtype=np.bool_)  # false beyond n

    def count(
        self, rows: npt.NDArray[Any], row: Ints, thresholds: npt.NDArray[Any]
    ) -> tuple[Ints, Ints]:
        """For each threshold [P], how many of `rows[row[p]]` are above, and how many at least that."""
        above, at_least = np.empty((2, len(row)), dtype=np.int64)
        for first in range(0, len(row), self._together):
            few = slice(first, min(first + self._together, len(row)))
            here = row[few]
            if here[0] == here[-1]:
                values = rows[here[0]]
            else:
                values = np.take(rows, here, axis=0, out=self._copies[: len(here)], mode="clip")
            above[few] = self._hold(np.greater, values, thresholds[few])
            at_least[few] = self._hold(np.greater_equal, values, thresholds[few])
        return above, at_least

    def _hold(self, compare: Any, values: npt.NDArray[Any], thresholds: npt.NDArray[Any]) -> Ints:
        outcomes = self._outcomes[: len(thresholds)]
        compare(values, thresholds[:, None], out=outcomes[:, : values.shape[-1]])
        words = outcomes.view(np.uint64).reshape(len(outcomes), -1, self._WORDS)
        lanes = np.add.reduce(words, axis=2).view(np.uint8)
        counts: Ints = np.add.reduce(lanes, axis=1, dtype=np.int64)
        return counts


def above_and_tied(
    rows: npt.NDArray[Any], row: Ints, thresholds: npt.NDArray[Any], comparisons: Comparisons
) -> tuple[Ints, Ints]:
    """How many of `rows[row[p]]` exceed and equal thresholds[p], for each p, `row` ascending; may reorder within rows.

    The thresholds have the type of the scores, or every comparison would convert a row.
    """
    n = rows.shape[1]
    if len(thresholds) > sorted_from(n) * len(rows):
        rows.sort(axis=1)
        left = _bisected(rows, row, thresholds, np.less)
        tied = np.zeros_like(left)
        # Hardly any is: a second bisection of them alone.
        found = np.take(rows, row * n + left, mode="clip")
        equal = np.flatnonzero((found == thresholds) & (left < n))
        if len(equal):
            right = _bisected(rows, row[equal], thresholds[equal], np.less_equal)
            tied[equal] = right - left[equal]
        return n - left - tied, tied
    above, at_least = comparisons.count(rows, row, thresholds)
    return above, at_least - above


def _bisected(rows: npt.NDArray[Any], row: Ints, values: npt.NDArray[Any], before: Any) -> Ints:
    """[P] how many of the ascending `rows[row[p]]` [n] are `before` values[p]: one bisection for all p."""
    n = rows.shape[1]
    flat, offset = rows.ravel(), row * n
    count = np.zeros(len(row), dtype=np.int64)
    step = 1 << (n.bit_length() - 1)
    while step:
        reach = count + step
        inside = reach <= n
        found = flat[offset + np.minimum(reach, n) - 1]
        count = np.where(inside & before(found, values), reach, count)
        step >>= 1
    return count


def pieces_of(n: int, depth: int) -> int | None:
    """Into how many pieces a row of n scores is cut to bound its `depth`-th best, None where it is not worth it.

    Twice as many as places at least, so that few scores but the best ones reach the bound; else about where finding
    the best of the pieces' maxima costs as much as finding these (measured from 1,000 to 40,000).
    """
    pieces = 16 * -(-max(2 * depth, 4 * math.isqrt(n)) // 16)
    return pieces if 4 * pieces <= n else None


def above_and_tied_within(
    rows: npt.NDArray[Any],
    row: Ints,
    thresholds: npt.NDArray[Any],
    depth: int,
    pieces: int,
    comparisons: Comparisons,
) -> tuple[Ints, Ints]:
    """`above_and_tied` of thresholds that fewer than `depth` scores exceed; of the others `depth` or more, and any.

    A row has at least as many scores that reach a bound as it has pieces whose best one does. So the `depth`-th best of
    these is a bound that a threshold has to reach, and whatever is above or beside it is in a piece whose best one is.

    Args:
        rows: [B, n], n a multiple of `pieces`.
        row: [P] ascending.
        thresholds: [P] finite.
        depth: places that matter, no more than `pieces`.
        pieces: as `pieces_of` says.
        comparisons: of rows of n.
    """
    # Piece j has every score whose place is j modulo `pieces`: so that a maximum is one of whole vectors.
    best = np.maximum.reduce(rows.reshape(len(rows), -1, pieces), axis=1)
    edge = np.partition(best, pieces - depth, axis=1)[:, pieces - depth]
    above, tied = np.full(len(row), depth, dtype=np.int64), np.zeros(len(row), dtype=np.int64)
    inside = np.flatnonzero(thresholds >= edge[row])
    if not len(inside):
        return above, tied
    at, asked = row[inside], thresholds[inside]
    begins = run_starts(at)
    least = np.full(len(rows), np.inf, dtype=rows.dtype)
    least[at[begins]] = np.minimum.reduceat(asked, begins)
    few = _at_least(rows, best, least)
    if few is None or few.shape[1] * len(at) > 4 * rows.size:  # many equal ones
        above[inside], tied[inside] = above_and_tied(rows, at, asked, comparisons)
        return above, tied
    values = few[at]  # (P', most)
    above[inside] = np.count_nonzero(values > asked[:, None], axis=1)
    tied[inside] = np.count_nonzero(values == asked[:, None], axis=1)
    return above, tied


def _at_least(
    rows: npt.NDArray[Any], best: npt.NDArray[Any], least: npt.NDArray[Any]
) -> npt.NDArray[Any] | None:
    """[B, most] the scores of each row [n] that are `least` [B] or more, then -inf; None where these are many.

    `best` [B, pieces] has the maxima of the pieces.
    """
    n, pieces = rows.shape[1], best.shape[1]
    found = np.flatnonzero(best >= least[:, None])
    if len(found) * (n // pieces) * _WORTH > rows.size:
        return None
    holder = found // pieces
    cells = (found + holder * (n - pieces))[:, None] + np.arange(0, n, pieces)
    values = rows.ravel().take(cells)  # (pieces found, scores of a piece)
    kept = np.flatnonzero(values >= least[holder][:, None])
    holder, values = holder[kept // (n // pieces)], values.ravel()[kept]
    edges = np.searchsorted(holder, np.arange(len(rows) + 1))
    few = np.full((len(rows), int(np.diff(edges).max())), -np.inf, dtype=rows.dtype)
    few[holder, np.arange(len(holder)) - edges[holder]] = values
    return few
