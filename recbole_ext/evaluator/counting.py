"""How many negatives stand above and beside each positive of a block of users, by one matrix of scores after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.best import largest
from recbole_ext.evaluator.comparisons import (
    Comparisons,
    above_and_tied,
    above_and_tied_within,
    pieces_of,
)

if TYPE_CHECKING:
    import torch

_CACHED = 1 << 18
"""Scores that a core looks at together, 1 MB in float32: fewer would stay in a nearer cache, for more calls."""
_THREADED_FROM = 1 << 20
"""Scores in a block from which threads pay for their start."""
_PAIRED = 1 << 24
"""Comparisons that a GPU holds the outcomes of."""


class NotFinite(HarnessError):
    """A score by which nothing can be ranked."""

    def __init__(self, user: int, item: int, value: float, count: int) -> None:
        super().__init__(
            f"the model scored user index {user}, item index {item} as {value}: {count} scores of this block are not "
            "finite, so no rank is defined"
        )
        self.user, self.item, self.value = user, item, value


@dataclass(frozen=True)
class Counts:
    """Of the P positives of a block of B users."""

    above: Ints
    tied: Ints
    lists: Mapping[str, tuple[Ints, Ints]]
    """Protocol -> (above, tied) within the drawn list, each [P, draws]."""
    top: Ints
    """[B, top] the best candidates of each user."""


@dataclass(frozen=True)
class Entries:
    """(row, item) pairs of the rows of a block, by row."""

    indptr: Ints
    """[B + 1] offsets."""
    items: Ints

    @cached_property
    def row(self) -> Ints:
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def of(self, begin: int, end: int) -> slice:
        """Where those of the rows `begin:end` lie."""
        return slice(int(self.indptr[begin]), int(self.indptr[end]))


@dataclass(frozen=True)
class Chunk:
    """Rows that are looked at together, and where their positives and history lie in a copy of them."""

    rows: slice
    here: slice
    """Of the block's positives."""
    at: Ints
    """[P_r] the row of each positive."""
    positives: Ints
    """[P_r] places in the flat copy."""
    known: Ints
    """Places in the flat copy of what is no candidate."""


class Room:
    """Memory that a thread looks at scores in, kept for all matrices of a block: fresh pages cost more than a look."""

    def __init__(self, rows: int, width: int, dtype: npt.DTypeLike) -> None:
        self.copies = np.empty((rows, width), dtype=dtype)
        self.comparisons = Comparisons(width, dtype)


class Block:
    """B users whose scores are looked at together; what looking at each of several matrices has in common is made once."""

    def __init__(
        self,
        users: Ints,
        n_items: int,
        positives: Entries,
        known: Entries,
        lists: Mapping[str, npt.NDArray[np.int32]],
        depth: int | None = None,
    ) -> None:
        """
        Args:
            users: [B] by whose index a bad score is reported.
            n_items: size of the catalogue.
            positives: P of them.
            known: what is no candidate.
            lists: protocol -> drawn negatives [P, draws, m].
            depth: places that matter: of a positive with as many negatives above it no more is counted. None: all.
        """
        self.users, self.n_items, self.positives, self.known = users, n_items, positives, known
        self.lists, self.depth = lists, depth
        self.pieces = pieces_of(n_items, depth) if depth else None
        self.width = n_items if self.pieces is None else self.pieces * -(-n_items // self.pieces)
        """Of a copied row: as many whole pieces as it takes."""
        self._chunks: dict[int, list[Chunk]] = {}
        self._rooms: dict[Any, list[Room]] = {}

    def count(self, matrix: torch.Tensor, top: int) -> Counts:
        """Counts by scores [B, n_items].

        Raises:
            NotFinite: one is NaN or infinite.
        """
        expected = (len(self.users), self.n_items)
        if tuple(matrix.shape) != expected:
            raise ValueError(f"scores have shape {tuple(matrix.shape)}, not {expected}")
        if matrix.device.type == "cpu":
            return self._count_on_cpu(matrix, top)
        return count_on_gpu(self, matrix, top)

    def chunks(self, step: int) -> list[Chunk]:
        """Of `step` rows each."""
        if step not in self._chunks:
            self._chunks[step] = list(self._cut(step))
        return self._chunks[step]

    def _cut(self, step: int) -> Iterator[Chunk]:
        for begin in range(0, len(self.users), step):
            end = min(begin + step, len(self.users))
            here, known = self.positives.of(begin, end), self.known.of(begin, end)
            at = self.positives.row[here] - begin
            yield Chunk(
                slice(begin, end),
                here,
                at,
                at * self.width + self.positives.items[here],
                (self.known.row[known] - begin) * self.width + self.known.items[known],
            )

    def _count_on_cpu(self, matrix: torch.Tensor, top: int) -> Counts:
        """Counts a few rows at a time on every core: they stay in a core's cache while they are looked at.

        NumPy's comparisons, sorts and gathers run outside the interpreter's lock, so threads are enough.
        """
        import torch

        scores = matrix.numpy()
        above, tied = np.empty((2, len(self.positives.items)), dtype=np.int64)
        lists = {
            name: (np.empty(items.shape[:2], np.int64), np.empty(items.shape[:2], np.int64))
            for name, items in self.lists.items()
        }
        best = np.empty((len(self.users), top), dtype=np.int64)
        counts = Counts(above, tied, lists, best)
        threads = torch.get_num_threads() if scores.size >= _THREADED_FROM else 1
        step = max(1, min(_CACHED // self.n_items, -(-len(self.users) // threads)))
        chunks = self.chunks(step)
        rooms = self._rooms.setdefault((scores.dtype, step), [])
        while len(rooms) < threads:
            rooms.append(Room(step, self.width, scores.dtype))

        def work(turn: int) -> None:
            for chunk in chunks[turn::threads]:
                if not self._look(scores[chunk.rows], chunk, rooms[turn], counts):
                    raise not_finite(self, matrix)

        if threads == 1:
            work(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
        return counts

    def _look(self, rows: npt.NDArray[Any], chunk: Chunk, room: Room, counts: Counts) -> bool:
        """Counts of a chunk, whose scores are `rows`; whether all of these are finite."""
        n, here = self.n_items, chunk.here
        negatives = room.copies[: len(rows)]
        flat = negatives.ravel()
        np.copyto(negatives[:, :n], rows)
        negatives[:, n:] = -np.inf  # a sort may have moved others there
        if not _finite(negatives[:, :n]):
            return False
        thresholds = flat.take(chunk.positives)
        for name, (list_above, list_tied) in counts.lists.items():
            # Only rows of this catalogue are looked up, so that `clip` never clips: it skips a check.
            cells = self.lists[name][here] + (chunk.at * self.width)[:, None, None]
            found = np.take(flat, cells, mode="clip")  # (P_r, draws, m)
            list_above[here] = np.count_nonzero(found > thresholds[:, None, None], axis=2)
            list_tied[here] = np.count_nonzero(found == thresholds[:, None, None], axis=2)
        # History and positives are no negatives: below every finite score, they are never counted.
        flat[chunk.known] = -np.inf
        if counts.top.shape[1]:
            counts.top[chunk.rows] = largest(negatives[:, :n], counts.top.shape[1])
        flat[chunk.positives] = -np.inf
        asked = negatives, chunk.at, thresholds
        if self.depth is None or self.pieces is None:
            counts.above[here], counts.tied[here] = above_and_tied(*asked, room.comparisons)
        else:
            counts.above[here], counts.tied[here] = above_and_tied_within(
                *asked, self.depth, self.pieces, room.comparisons
            )
        return True


def _finite(scores: npt.NDArray[Any]) -> bool:
    """Whether all are. A sum with one that is not is not finite; that of large numbers may be infinite as well."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.einsum("ij->", scores)) or np.isfinite(scores).all())


def count_on_gpu(block: Block, matrix: torch.Tensor, top: int) -> Counts:
    """The same counts by whole-block comparisons."""
    import torch

    if not torch.isfinite(matrix).all():
        raise not_finite(block, matrix)
    device = matrix.device
    row, items = (
        torch.from_numpy(x).to(device) for x in (block.positives.row, block.positives.items)
    )
    own = matrix[row, items]  # (P,)
    lists: dict[str, tuple[Ints, Ints]] = {}
    for name, drawn in block.lists.items():
        candidates = torch.from_numpy(drawn.astype(np.int64)).to(device)  # (P, D, m)
        found = matrix[row[:, None, None], candidates]
        threshold = own[:, None, None]
        lists[name] = (
            (found > threshold).sum(-1).cpu().numpy(),
            (found == threshold).sum(-1).cpu().numpy(),
        )
    masked = matrix.clone()
    known = block.known.row, block.known.items
    masked[tuple(torch.from_numpy(x).to(device) for x in known)] = -torch.inf
    # A stable sort and not topk, whose choice among equal scores is not defined.
    best = np.empty((len(block.users), 0), dtype=np.int64)
    if top:
        best = masked.sort(dim=1, descending=True, stable=True).indices[:, :top].cpu().numpy()
    masked[row, items] = -torch.inf
    if block.depth is not None and block.depth < block.n_items:
        above, tied = _within_on_gpu(masked, row, own, block.depth)
        return Counts(above.cpu().numpy(), tied.cpu().numpy(), lists, best)
    sizes = np.diff(block.positives.indptr)
    # Users with many positives first, so that round j compares a shrinking top part of the block.
    order = np.argsort(-sizes, kind="stable")
    masked = masked[torch.from_numpy(order).to(device)]
    offset = block.positives.indptr[:-1][order]
    more, equal = np.empty((2, len(own)), dtype=np.int64)
    for j in range(int(sizes.max(initial=0))):
        active = int((sizes > j).sum())
        where = offset[:active] + j
        threshold = own[torch.from_numpy(where).to(device)].unsqueeze(1)
        part = masked[:active]
        more[where] = torch.count_nonzero(part > threshold, dim=1).cpu().numpy()
        equal[where] = torch.count_nonzero(part == threshold, dim=1).cpu().numpy()
    return Counts(more, equal, lists, best)


def _within_on_gpu(
    rows: torch.Tensor, row: torch.Tensor, own: torch.Tensor, depth: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`comparisons.above_and_tied_within` of thresholds `own` [P]: all that is above one that matters is among the best."""
    import torch

    best = rows.topk(depth, dim=1).values  # (B, depth); which of several equal ones does not matter
    edge = best[:, -1][row]
    above, tied = torch.full_like(row, depth), torch.zeros_like(row)

    def held(values: torch.Tensor, compare: Any, which: torch.Tensor, out: torch.Tensor) -> None:
        step = max(1, _PAIRED // values.shape[1])
        for few in (which[first : first + step] for first in range(0, len(which), step)):
            out[few] = compare(values[row[few]], own[few, None]).sum(1)

    held(best, torch.gt, torch.nonzero(own >= edge)[:, 0], above)
    held(best, torch.eq, torch.nonzero(own > edge)[:, 0], tied)
    held(rows, torch.eq, torch.nonzero(own == edge)[:, 0], tied)
    return above, tied


def not_finite(block: Block, matrix: torch.Tensor) -> NotFinite:
    """What to say of a block in which a score is not finite."""
    import torch

    bad = torch.nonzero(~torch.isfinite(matrix))
    row, item = (int(x) for x in bad[0])
    return NotFinite(int(block.users[row]), item, float(matrix[row, item]), len(bad))
