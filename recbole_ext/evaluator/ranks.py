"""One pass over the scores: how many negatives stand above and beside each test positive.

Everything that is printed later (full ranking at any k, frozen candidate lists, the expected sampled metric) is
arithmetic on the `RankTable` that `rank` returns. This module knows scores and positives, not models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recbole_ext.errors import HarnessError

if TYPE_CHECKING:
    import torch

Ints = npt.NDArray[np.int64]
ScoreBlocks = Callable[[Ints], Iterable["torch.Tensor"]]
"""users [B] -> one score matrix [B, n_items] per ranking asked for (one model, or the points of a family)."""

_SORTED_FROM = 8
"""Positives of a user from which one sort of its row is cheaper than two comparisons each (measured at n = 50,000)."""
_THREADED_FROM = 1 << 20
"""Scores in a block from which threads pay for their start."""


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

    def __len__(self) -> int:
        return len(self.user)


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
    exc_key = np.unique(
        np.asarray(excluded[0], np.int64) * n_items + np.asarray(excluded[1], np.int64)
    )
    pos_key = np.unique(
        np.asarray(positives[0], np.int64) * n_items + np.asarray(positives[1], np.int64)
    )
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


def rank(task: RankTask, scores: ScoreBlocks, block_bytes: int = 32 << 20) -> list[RankTable]:
    """Rank every positive against its negatives, visiting each row of scores once.

    Args:
        task: what to rank.
        scores: called with consecutive blocks of `task.users`; yields K matrices [B, n_items] (K = 1 for a model, the
            number of points for a family). A matrix may be reused by the caller after the next one is asked for.
        block_bytes: upper bound for one matrix, so that it stays in cache or small beside the model.

    Returns:
        K tables.

    Raises:
        HarnessError: a score is NaN or infinite; the line names the user's and the item's index.
    """
    counts: list[list[_BlockCounts]] = []
    for start, stop in _blocks(task, block_bytes):
        users = task.users[start:stop]
        for k, matrix in enumerate(scores(users)):
            if k == len(counts):
                counts.append([])
            counts[k].append(_count_block(task, start, stop, matrix))
    return [_table(task, blocks) for blocks in counts]


@dataclass(frozen=True)
class _BlockCounts:
    above: Ints
    tied: Ints
    lists: dict[str, tuple[Ints, Ints]]


def _blocks(task: RankTask, block_bytes: int) -> Iterator[tuple[int, int]]:
    rows = max(1, block_bytes // (4 * task.n_items))
    for start in range(0, len(task.users), rows):
        yield start, min(start + rows, len(task.users))


def _count_block(task: RankTask, start: int, stop: int, matrix: torch.Tensor) -> _BlockCounts:
    """Counts for the users `start:stop`, whose scores are `matrix` [B, n_items]."""
    import torch

    if tuple(matrix.shape) != (stop - start, task.n_items):
        raise ValueError(
            f"scores have shape {tuple(matrix.shape)}, not {(stop - start, task.n_items)}"
        )
    _refuse_non_finite(task, start, matrix)
    device = matrix.device
    first, last = task.pos_indptr[start], task.pos_indptr[stop]
    sizes = np.diff(task.pos_indptr[start : stop + 1])
    rows = torch.from_numpy(np.repeat(np.arange(stop - start), sizes)).to(device)
    items = torch.from_numpy(task.pos_items[first:last]).to(device)
    own = matrix[rows, items]  # (P_b,)

    lists: dict[str, tuple[Ints, Ints]] = {}
    for name, drawn in task.lists.items():
        candidates = torch.from_numpy(drawn[first:last].astype(np.int64)).to(device)  # (P_b, D, m)
        found = matrix[rows[:, None, None], candidates]
        threshold = own[:, None, None]
        lists[name] = (
            (found > threshold).sum(-1).cpu().numpy(),
            (found == threshold).sum(-1).cpu().numpy(),
        )

    if device.type == "cpu":
        above, tied = _count_rows(task, start, stop, matrix.numpy(), own.numpy())
    else:
        above, tied = _count_on_gpu(task, start, stop, matrix, own)
    return _BlockCounts(above, tied, lists)


def _count_rows(
    task: RankTask, start: int, stop: int, scores: npt.NDArray[Any], own: npt.NDArray[Any]
) -> tuple[Ints, Ints]:
    """Counts row by row on every core: a row stays in a core's cache while its positives are compared.

    NumPy's comparisons and sorts run outside the interpreter's lock, so threads are enough.
    """
    import torch

    first = task.pos_indptr[start]
    above = np.empty(len(own), dtype=np.int64)
    tied = np.empty(len(own), dtype=np.int64)

    def work(begin: int, end: int) -> None:
        row = np.empty(task.n_items, dtype=scores.dtype)
        for user in range(begin, end):
            np.copyto(row, scores[user - start])
            # History and positives are no negatives: below every finite score, they are never counted.
            row[task.exc_items[task.exc_indptr[user] : task.exc_indptr[user + 1]]] = -np.inf
            low, high = task.pos_indptr[user], task.pos_indptr[user + 1]
            row[task.pos_items[low:high]] = -np.inf
            mine = slice(low - first, high - first)
            above[mine], tied[mine] = _above_and_tied(row, own[mine])

    threads = torch.get_num_threads() if scores.size >= _THREADED_FROM else 1
    edges = np.linspace(start, stop, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
    return above, tied


def _above_and_tied(
    row: npt.NDArray[Any], thresholds: npt.NDArray[Any]
) -> tuple[list[int] | Ints, list[int] | Ints]:
    """How many of `row` [n] exceed and equal each threshold; may reorder `row`."""
    if len(thresholds) > _SORTED_FROM:
        row.sort()
        left = np.searchsorted(row, thresholds, side="left")
        right = np.searchsorted(row, thresholds, side="right")
        return len(row) - right, right - left
    above = [int(np.count_nonzero(row > x)) for x in thresholds]
    at_least = (int(np.count_nonzero(row >= x)) for x in thresholds)
    return above, [n - m for n, m in zip(at_least, above, strict=True)]


def _count_on_gpu(
    task: RankTask, start: int, stop: int, matrix: torch.Tensor, own: torch.Tensor
) -> tuple[Ints, Ints]:
    """The same counts by whole-block comparisons, one round per positive."""
    import torch

    device = matrix.device
    first = task.pos_indptr[start]
    sizes = np.diff(task.pos_indptr[start : stop + 1])
    masked = matrix.clone()
    for items, indptr in ((task.exc_items, task.exc_indptr), (task.pos_items, task.pos_indptr)):
        rows = np.repeat(np.arange(stop - start), np.diff(indptr[start : stop + 1]))
        columns = items[indptr[start] : indptr[stop]]
        masked[torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)] = -torch.inf
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
    return above, tied


def _refuse_non_finite(task: RankTask, start: int, matrix: torch.Tensor) -> None:
    import torch

    # A sum is finite unless a term is not (or the sum overflows, which the exact look below settles).
    if torch.isfinite(matrix.sum()):
        return
    bad = torch.nonzero(~torch.isfinite(matrix))
    if len(bad):
        row, item = (int(x) for x in bad[0])
        value = float(matrix[row, item])
        raise HarnessError(
            f"the model scored user index {task.users[start + row]}, item index {item} as {value}: "
            f"{len(bad)} scores of this block are not finite, so no rank is defined; "
            "lower the learning rate or raise the regularisation"
        )


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
    )
