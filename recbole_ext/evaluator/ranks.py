"""One pass over the scores: how many negatives stand above and beside each test positive.

Everything that is printed later (full ranking at any k, frozen candidate lists, the expected sampled metric) is
arithmetic on the `RankTable` that `rank` returns. This module knows scores and positives, not models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError

if TYPE_CHECKING:
    import torch

ScoreBlocks = Callable[[Ints], Iterable["torch.Tensor"]]
"""users [B] -> one score matrix [B, n_items] per ranking asked for (one model, or the points of a family)."""

_CACHED = 1 << 18
"""Scores that a core looks at together, 1 MB in float32: fewer would stay in a nearer cache, for more calls."""
_LEAST_ROWS, _LEAST_BYTES = 32, 128 << 20
"""Users scored together, and the memory up to which that may take a matrix: what scores them reads all of its weights for
each block, gigabytes of a catalogue of a million."""
_WIDE = 1 << 17
"""Scores of a row from which its best ones are found by pieces."""
_THREADED_FROM = 1 << 20
"""Scores in a block from which threads pay for their start."""


class NotFinite(HarnessError):
    """A score by which nothing can be ranked."""

    def __init__(self, user: int, item: int, value: float, count: int) -> None:
        super().__init__(
            f"the model scored user index {user}, item index {item} as {value}: {count} scores of this block are not "
            "finite, so no rank is defined"
        )
        self.user, self.item, self.value = user, item, value


@dataclass(frozen=True)
class RankTask:
    """What is to be ranked: U users, P positives, n_items items, all by index.

    The negatives of a user are all items but its `excluded` ones and its positives: one set, for full ranking, for
    the expected metric and for drawn lists alike.
    """

    n_items: int
    users: Ints
    """[U] user indices, ascending; each has at least one positive."""
    pos_indptr: Ints
    """[U + 1] offsets into `pos_items`."""
    pos_items: Ints
    """[P] positives, ascending within a user."""
    exc_indptr: Ints
    """[U + 1] offsets into `exc_items`."""
    exc_items: Ints
    """[E] items that are no candidates (the user's history), ascending within a user, disjoint from positives."""
    lists: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    """Protocol -> drawn negatives [P, draws, m]."""

    @property
    def row_of_positive(self) -> Ints:
        """[P] position in `users` of each positive."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.pos_indptr))

    @property
    def negatives(self) -> Ints:
        """[U] number of negatives of each user."""
        return self.n_items - np.diff(self.pos_indptr) - np.diff(self.exc_indptr)


@dataclass(frozen=True)
class RankTable:
    """One row per test positive; P rows, ordered by user, then item."""

    user: Ints
    item: Ints
    above: Ints
    """[P] negatives of the user that score higher than the positive."""
    tied: Ints
    """[P] negatives of the user that score exactly the same."""
    negatives: Ints
    """[P] negatives of the user."""
    lists: Mapping[str, tuple[Ints, Ints]] = field(default_factory=dict)
    """Protocol -> (above, tied) within the drawn list, each [P, draws]."""
    top: Ints | None = None
    """[U, K] the best candidates of each user, if they were asked for: best first, equal scores by item."""

    def __len__(self) -> int:
        return len(self.user)

    def of(self, chosen: npt.NDArray[np.bool_]) -> RankTable:
        """The rows `chosen` [P]: what the table would be if the other positives were no candidates."""
        return RankTable(
            self.user[chosen],
            self.item[chosen],
            self.above[chosen],
            self.tied[chosen],
            self.negatives[chosen],
            {name: (above[chosen], tied[chosen]) for name, (above, tied) in self.lists.items()},
        )


def make_task(
    n_items: int,
    positives: tuple[Ints, Ints],
    excluded: tuple[Ints, Ints],
) -> RankTask:
    """Build a task from (user, item) index pairs in any order; duplicates collapse.

    Args:
        n_items: size of the catalogue.
        positives: (users [P], items [P]) to be ranked. A pair that is also excluded is dropped: an item that the user
            is known to have cannot be recommended to it.
        excluded: (users [E], items [E]) that are no candidates; users without positives are ignored.
    """
    tested, theirs = (np.asarray(column, np.int64) for column in positives)
    known, had = (np.asarray(column, np.int64) for column in excluded)
    # Those of users with positives alone: they may be few among many.
    asked = np.zeros(1 + max(int(tested.max(initial=0)), int(known.max(initial=0))), dtype=bool)
    asked[tested] = True
    here = asked[known]
    exc_key = np.unique(known[here] * n_items + had[here])
    pos_key = np.unique(tested * n_items + theirs)
    pos_key = pos_key[~np.isin(pos_key, exc_key, assume_unique=True)]
    pos_user, pos_items = np.divmod(pos_key, n_items)
    users, counts = np.unique(pos_user, return_counts=True)
    exc_user, exc_items = np.divmod(exc_key, n_items)
    kept = np.isin(exc_user, users)
    exc_user, exc_items = exc_user[kept], exc_items[kept]
    bounds = (
        np.searchsorted(exc_user, users, side="left"),
        np.searchsorted(exc_user, users, "right"),
    )
    return RankTask(
        n_items=n_items,
        users=users,
        pos_indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        pos_items=pos_items,
        exc_indptr=np.concatenate([[0], np.cumsum(bounds[1] - bounds[0])]).astype(np.int64),
        exc_items=exc_items,
    )


def rank(
    task: RankTask, scores: ScoreBlocks, block_bytes: int | None = None, top: int = 0
) -> list[RankTable]:
    """Rank every positive against its negatives, visiting each row of scores once.

    Args:
        task: what to rank.
        scores: called with consecutive blocks of `task.users`; yields K matrices [B, n_items] (K = 1 for a model, the
            number of points for a family). A matrix may be reused by the caller after the next one is asked for.
        block_bytes: upper bound for one matrix, whatever the numbers of users and items; by itself 32 MiB, so that it
            stays in cache or small beside the model, or 32 users where these stay below 128 MiB.
        top: length of the lists to keep; shorter where some user has fewer candidates (positives among them).

    Returns:
        K tables.

    Raises:
        NotFinite: a score is NaN or infinite.
    """
    counts: list[list[_BlockCounts]] = []
    fewest = int((task.negatives + np.diff(task.pos_indptr)).min(initial=task.n_items))
    top = min(top, fewest)
    for start, stop in _blocks(task, block_bytes or _block_bytes(task.n_items)):
        users = task.users[start:stop]
        for k, matrix in enumerate(scores(users)):
            if k == len(counts):
                counts.append([])
            counts[k].append(_count_block(task, start, stop, matrix, top))
            # Held on to, it would be beside the next one, and fresh pages cost a third of the product that fills them.
            del matrix
    return [_table(task, blocks) for blocks in counts]


@dataclass(frozen=True)
class _BlockCounts:
    above: Ints
    tied: Ints
    lists: dict[str, tuple[Ints, Ints]]
    top: Ints


def _block_bytes(n_items: int) -> int:
    return max(32 << 20, min(_LEAST_ROWS * 4 * n_items, _LEAST_BYTES))


def _blocks(task: RankTask, block_bytes: int) -> Iterator[tuple[int, int]]:
    rows = max(1, block_bytes // (4 * task.n_items))
    for start in range(0, len(task.users), rows):
        yield start, min(start + rows, len(task.users))


def _count_block(
    task: RankTask, start: int, stop: int, matrix: torch.Tensor, top: int
) -> _BlockCounts:
    """Counts for the users `start:stop`, whose scores are `matrix` [B, n_items]."""

    if tuple(matrix.shape) != (stop - start, task.n_items):
        raise ValueError(
            f"scores have shape {tuple(matrix.shape)}, not {(stop - start, task.n_items)}"
        )
    count = _count_on_cpu if matrix.device.type == "cpu" else _count_on_gpu
    return count(task, start, stop, matrix, top)


def _count_on_cpu(
    task: RankTask, start: int, stop: int, matrix: torch.Tensor, top: int
) -> _BlockCounts:
    """Counts a few rows at a time on every core: they stay in a core's cache while they are looked at.

    NumPy's comparisons, sorts and gathers run outside the interpreter's lock, so threads are enough.
    """
    import torch

    scores = matrix.numpy()
    first, last = task.pos_indptr[start], task.pos_indptr[stop]
    row, items = _cells(task.pos_indptr, task.pos_items, start, stop)
    known_row, known_items = _cells(task.exc_indptr, task.exc_items, start, stop)
    own = scores[row, items]
    above = np.empty(last - first, dtype=np.int64)
    tied = np.empty(last - first, dtype=np.int64)
    drawn = {name: items[first:last] for name, items in task.lists.items()}
    lists = {
        name: (np.empty(items.shape[:2], np.int64), np.empty(items.shape[:2], np.int64))
        for name, items in drawn.items()
    }
    best = np.empty((stop - start, top), dtype=np.int64)
    step = max(1, _CACHED // task.n_items)

    def look(
        begin: int,
        end: int,
        negatives: npt.NDArray[Any],
        finite: npt.NDArray[np.bool_],
        comparisons: _Comparisons,
    ) -> None:
        rows = scores[begin:end]
        here = _of_rows(task.pos_indptr, start, begin, end)
        at, thresholds = row[here] - begin, own[here]
        for name, (list_above, list_tied) in lists.items():
            # Only rows of this catalogue are looked up, so that `clip` never clips: it skips a check.
            cells = drawn[name][here] + (at * task.n_items)[:, None, None]
            found = np.take(rows, cells, mode="clip")  # (P_r, draws, m)
            list_above[here] = np.count_nonzero(found > thresholds[:, None, None], axis=2)
            list_tied[here] = np.count_nonzero(found == thresholds[:, None, None], axis=2)
        np.copyto(negatives, rows)
        if not np.isfinite(negatives, out=finite).all():
            raise _not_finite(task, start, matrix)
        # History and positives are no negatives: below every finite score, they are never counted.
        known = _of_rows(task.exc_indptr, start, begin, end)
        negatives[known_row[known] - begin, known_items[known]] = -np.inf
        if top:
            best[begin:end] = largest(negatives, top)
        negatives[at, items[here]] = -np.inf
        above[here], tied[here] = _above_and_tied(negatives, at, thresholds, comparisons)

    def work(begin: int, end: int) -> None:
        space = np.empty((step, task.n_items), dtype=scores.dtype)
        finite = np.empty((step, task.n_items), dtype=np.bool_)
        comparisons = _Comparisons(task.n_items, scores.dtype)
        for first_row in range(begin, end, step):
            count = min(step, end - first_row)
            look(first_row, first_row + count, space[:count], finite[:count], comparisons)

    threads = torch.get_num_threads() if scores.size >= _THREADED_FROM else 1
    edges = np.linspace(0, stop - start, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
    return _BlockCounts(above, tied, lists, best)


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


def _cells(indptr: Ints, items: Ints, begin: int, end: int) -> tuple[Ints, Ints]:
    """(row, item) of the entries of the users `begin:end`, rows from 0."""
    sizes = np.diff(indptr[begin : end + 1])
    return np.repeat(np.arange(end - begin), sizes), items[indptr[begin] : indptr[end]]


def _of_rows(indptr: Ints, start: int, begin: int, end: int) -> slice:
    """Where the entries of the rows `begin:end` lie among those of a block that starts at the user `start`."""
    first = indptr[start]
    return slice(indptr[start + begin] - first, indptr[start + end] - first)


def _sorted_from(n: int) -> int:
    """Positives a row from which one sort of its n scores is cheaper than two comparisons each.

    Measured with AVX2: 7 at n = 1,700, 12 at 4,000, 14 at 12,000 and 24 at 50,000.
    """
    return math.isqrt(n) // 8


class _Comparisons:
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


def _above_and_tied(
    rows: npt.NDArray[Any], row: Ints, thresholds: npt.NDArray[Any], comparisons: _Comparisons
) -> tuple[Ints, Ints]:
    """How many of `rows[row[p]]` exceed and equal thresholds[p], for each p, `row` ascending; may reorder within rows.

    The thresholds have the type of the scores, or every comparison would convert a row.
    """
    n = rows.shape[1]
    if len(thresholds) > _sorted_from(n) * len(rows):
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


def _count_on_gpu(
    task: RankTask, start: int, stop: int, matrix: torch.Tensor, top: int
) -> _BlockCounts:
    """The same counts by whole-block comparisons, one round per positive."""
    import torch

    if not torch.isfinite(matrix).all():
        raise _not_finite(task, start, matrix)
    device = matrix.device
    first, last = task.pos_indptr[start], task.pos_indptr[stop]
    sizes = np.diff(task.pos_indptr[start : stop + 1])
    row, items = (
        torch.from_numpy(x).to(device) for x in _cells(task.pos_indptr, task.pos_items, start, stop)
    )
    own = matrix[row, items]  # (P_b,)
    lists: dict[str, tuple[Ints, Ints]] = {}
    for name, drawn in task.lists.items():
        candidates = torch.from_numpy(drawn[first:last].astype(np.int64)).to(device)  # (P_b, D, m)
        found = matrix[row[:, None, None], candidates]
        threshold = own[:, None, None]
        lists[name] = (
            (found > threshold).sum(-1).cpu().numpy(),
            (found == threshold).sum(-1).cpu().numpy(),
        )
    masked = matrix.clone()
    known = _cells(task.exc_indptr, task.exc_items, start, stop)
    masked[tuple(torch.from_numpy(x).to(device) for x in known)] = -torch.inf
    # A stable sort and not topk, whose choice among equal scores is not defined.
    best = np.empty((stop - start, 0), dtype=np.int64)
    if top:
        best = masked.sort(dim=1, descending=True, stable=True).indices[:, :top].cpu().numpy()
    masked[row, items] = -torch.inf
    # Users with many positives first, so that round j compares a shrinking top part of the block.
    order = np.argsort(-sizes, kind="stable")
    masked = masked[torch.from_numpy(order).to(device)]
    offset = (task.pos_indptr[start:stop] - first)[order]
    above = np.empty(len(own), dtype=np.int64)
    tied = np.empty(len(own), dtype=np.int64)
    for j in range(int(sizes.max(initial=0))):
        active = int((sizes > j).sum())
        where = offset[:active] + j
        threshold = own[torch.from_numpy(where).to(device)].unsqueeze(1)
        part = masked[:active]
        above[where] = torch.count_nonzero(part > threshold, dim=1).cpu().numpy()
        tied[where] = torch.count_nonzero(part == threshold, dim=1).cpu().numpy()
    return _BlockCounts(above, tied, lists, best)


def _not_finite(task: RankTask, start: int, matrix: torch.Tensor) -> HarnessError:
    """What to say of a block in which a score is not finite; it starts at the user `start`."""
    import torch

    bad = torch.nonzero(~torch.isfinite(matrix))
    row, item = (int(x) for x in bad[0])
    return NotFinite(int(task.users[start + row]), item, float(matrix[row, item]), len(bad))


def _table(task: RankTask, blocks: list[_BlockCounts]) -> RankTable:
    rows = task.row_of_positive
    names = blocks[0].lists if blocks else {}
    return RankTable(
        user=task.users[rows],
        item=task.pos_items,
        above=np.concatenate([b.above for b in blocks]),
        tied=np.concatenate([b.tied for b in blocks]),
        negatives=task.negatives[rows],
        lists={
            name: (
                np.concatenate([b.lists[name][0] for b in blocks]),
                np.concatenate([b.lists[name][1] for b in blocks]),
            )
            for name in names
        },
        top=np.concatenate([b.top for b in blocks]) if blocks and blocks[0].top.shape[1] else None,
    )
