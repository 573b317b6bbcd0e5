"""The sequences that a model of whole histories is trained on: windows of them, each place of which is followed by an item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from recbole_ext.core.arrays import Ints

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Users [B], the items that are read [B, T], and what follows each of them [B, T]; the latest at the right, 0 in front of shorter ones."""

_POOL = 16
"""Batches whose windows are put together by length, so that little of a batch is padding."""


class Windows:
    """Batches of windows, in another order in each epoch.

    A window is up to `longest` items in a row and what follows each. Of a longer history there is the latest one, or, with `step`, one at every
    so many places, counted from its end, and each place is learnt in one of them: the one that has most before it. Histories of one item have none.
    """

    def __init__(
        self,
        user: Ints,
        item: Ints,
        longest: int,
        size: int,
        step: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Args:
        user: [N] ascending.
        item: [N] from 1, each user's in order.
        longest: items that are read.
        size: windows in a batch.
        step: places from one window of a history to the next, from 1 to `longest`, which has each place once; None: the latest alone.
        device: of the batches.
        """
        _, start, length = np.unique(user, return_index=True, return_counts=True)
        steps = length - 1
        count = np.minimum(steps, 1)
        if step is not None:
            count += -(-np.maximum(steps - longest, 0) // step)
        owner = np.repeat(np.arange(len(start)), count)
        from_end = np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
        end = start[owner] + steps[owner] - from_end * (step or 0)
        self.lengths: Ints = np.minimum(end - start[owner], longest)
        """[W] items that are read in each window."""
        self.learnt: Ints = np.where(from_end + 1 < count[owner], step or 0, self.lengths)
        """[W] how many of its latest places are learnt in it."""
        self.first = torch.from_numpy(end - self.lengths)
        """[W] where each begins in `item`; what follows its last is one further on."""
        self.user, self.item = torch.from_numpy(user), torch.from_numpy(item)
        self.size, self.device = size, device

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.size)

    def __call__(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        batches: list[Ints] = []
        for begin in range(0, len(order), _POOL * self.size):
            pool = order[begin : begin + _POOL * self.size]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[at : at + self.size] for at in range(0, len(pool), self.size)]
        for place in torch.randperm(len(batches), generator=generator).tolist():
            yield self.batch(batches[place])

    def batch(self, which: Ints) -> Batch:
        """The windows of these numbers."""
        rows, length = torch.from_numpy(which), torch.from_numpy(self.lengths[which])
        first, longest = self.first[rows], int(length.max())
        places = torch.arange(longest) - (longest - length)[:, None]
        there = places >= 0
        at = first[:, None] + places.clamp_min(0)
        learnt = places >= (length - torch.from_numpy(self.learnt[which]))[:, None]
        seen, following = self.item[at] * there, self.item[at + 1] * learnt
        to = self.device
        return self.user[first].to(to), seen.to(to), following.to(to)


def left_padded(items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """[B, T] of items [B, L], whose first `lengths` [B] are there and the rest padding: the same at the right, T the longest of them."""
    longest = int(lengths.max())
    places = torch.arange(longest, device=items.device) - (longest - lengths)[:, None]
    return items.gather(1, places.clamp_min(0)) * (places >= 0)
