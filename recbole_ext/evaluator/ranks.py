"""One pass over the scores: how many negatives stand above and beside each test positive.

Everything that is printed later (full ranking at any k, frozen candidate lists, the expected sampled metric) is
arithmetic on the `RankTable` that `rank` returns. This module knows scores and positives, not models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.evaluator.counting import Block, Counts, Entries

if TYPE_CHECKING:
    import torch

ScoreBlocks = Callable[[Ints], Iterable["torch.Tensor"]]
"""users [B] -> one score matrix [B, n_items] per ranking asked for (one model, or the points of a family)."""

_LEAST_ROWS, _LEAST_BYTES = 32, 128 << 20
"""Users scored together, and the memory up to which that may take a matrix: what scores them reads all of its weights for
each block, gigabytes of a catalogue of a million."""


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
    depth: int | None = None
    """Places down to which counts are exact: of a positive below them it is known that `above` is no less. None: all."""

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
            depth=self.depth,
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
    task: RankTask,
    scores: ScoreBlocks,
    block_bytes: int | None = None,
    top: int = 0,
    depth: int | None = None,
) -> list[RankTable]:
    """Rank every positive against its negatives, visiting each row of scores once.

    Args:
        task: what to rank.
        scores: called with consecutive blocks of `task.users`; yields K matrices [B, n_items] (K = 1 for a model, the
            number of points for a family). A matrix may be reused by the caller after the next one is asked for.
        block_bytes: upper bound for one matrix, whatever the numbers of users and items; by itself 32 MiB, so that it
            stays in cache or small beside the model, or 32 users where these stay below 128 MiB.
        top: length of the lists to keep; shorter where some user has fewer candidates (positives among them).
        depth: the deepest cut-off that is read. Most positives stand below it, and to know that is cheaper than their ranks.

    Returns:
        K tables.

    Raises:
        NotFinite: a score is NaN or infinite.
    """
    counts: list[list[Counts]] = []
    fewest = int((task.negatives + np.diff(task.pos_indptr)).min(initial=task.n_items))
    top = min(top, fewest)
    for start, stop in _blocks(task, block_bytes or _block_bytes(task.n_items)):
        block = _block(task, start, stop, depth)
        for k, matrix in enumerate(scores(block.users)):
            if k == len(counts):
                counts.append([])
            counts[k].append(block.count(matrix, top))
            # Held on to, it would be beside the next one, and fresh pages cost a third of the product that fills them.
            del matrix
    rows = task.row_of_positive
    user, negatives = task.users[rows], task.negatives[rows]
    return [
        RankTable(
            user,
            task.pos_items,
            np.concatenate([part.above for part in parts]),
            np.concatenate([part.tied for part in parts]),
            negatives,
            {
                name: (
                    np.concatenate([part.lists[name][0] for part in parts]),
                    np.concatenate([part.lists[name][1] for part in parts]),
                )
                for name in task.lists
            },
            np.concatenate([part.top for part in parts]) if top else None,
            depth,
        )
        for parts in counts
    ]


def _block_bytes(n_items: int) -> int:
    return max(32 << 20, min(_LEAST_ROWS * 4 * n_items, _LEAST_BYTES))


def _blocks(task: RankTask, block_bytes: int) -> Iterator[tuple[int, int]]:
    rows = max(1, block_bytes // (4 * task.n_items))
    for start in range(0, len(task.users), rows):
        yield start, min(start + rows, len(task.users))


def _block(task: RankTask, start: int, stop: int, depth: int | None) -> Block:
    """The users `start:stop`."""

    def entries(indptr: Ints, items: Ints) -> Entries:
        edges = indptr[start : stop + 1]
        return Entries(edges - edges[0], items[edges[0] : edges[-1]])

    first, last = task.pos_indptr[start], task.pos_indptr[stop]
    return Block(
        task.users[start:stop],
        task.n_items,
        entries(task.pos_indptr, task.pos_items),
        entries(task.exc_indptr, task.exc_items),
        {name: drawn[first:last] for name, drawn in task.lists.items()},
        depth,
    )
