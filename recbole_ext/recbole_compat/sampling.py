"""What a step of training is made of: pairs drawn by user, and negatives beside each user's items."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]


class UserUniform:
    """Draws pairs: a user uniformly among those with items, then one of its items.

    A step of this kind weighs users alike, as a mean over users does; one over pairs weighs a user by its items.

    Args:
        users: [n] of the pairs, each pair once.
        items: [n].
        n_users: number of users.
    """

    def __init__(self, users: Array, items: Array, n_users: int) -> None:
        order, counts, starts = _by_user(users, items, n_users)
        self.items = torch.from_numpy(items[order].astype(np.int64))
        self.starts, self.counts = torch.from_numpy(starts), torch.from_numpy(counts)
        self.active = torch.from_numpy(np.flatnonzero(counts))

    def __call__(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, items), [count] each."""
        users = self.active[_below(self.active.new_full((count,), len(self.active)))]
        return users, self.items[self.starts[users] + _below(self.counts[users])]


class Negatives:
    """Draws items that a user does not have, exactly and without rejection.

    Args:
        users: [n] of the pairs, each pair once.
        items: [n] with 1 <= item < n_items; item 0 is padding and never drawn.
        n_users: number of users.
        n_items: number of items with the padding.
        blocks: [n_items] ascending (that of the padding is not read): a user's negatives are of its own items' block; None
            for one block.
        device: of what is drawn.
    """

    def __init__(
        self,
        users: Array,
        items: Array,
        n_users: int,
        n_items: int,
        blocks: Array | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        order, counts, starts = _by_user(users, items, n_users)
        row, item = users[order].astype(np.int64), items[order].astype(np.int64)
        first, last = _edges(np.zeros(n_items) if blocks is None else blocks)
        low, size = np.ones(n_users, np.int64), np.full(n_users, n_items - 1)
        low[row], size[row] = first[item], last[item] - first[item]
        # The r-th item that a user does not have is r plus the number of its items p_0 < p_1 < .. with p_k - k <= r.
        shifted = item - low[row] - (np.arange(len(row)) - starts[row])
        self.span = n_items
        self.keys = torch.from_numpy(row * n_items + shifted).to(device)
        self.starts = torch.from_numpy(starts).to(device)
        self.low, self.size = torch.from_numpy(low).to(device), torch.from_numpy(size).to(device)
        self.left = torch.from_numpy(np.maximum(size - counts, 1)).to(device)

    def __call__(self, users: torch.Tensor, count: int) -> torch.Tensor:
        """[B, count] items drawn uniformly and with replacement from those that each user does not have.

        A user who has every item gets the last one: there is no negative. See `without_any_left`.
        """
        users = users[:, None]
        place = _below(self.left[users].expand(-1, count))
        passed = torch.searchsorted(self.keys, users * self.span + place, right=True)
        return self.low[users] + torch.minimum(
            place + passed - self.starts[users], self.size[users] - 1
        )


def without_any_left(
    owners: Array, values: Array, weights: Array, blocks: Array | None = None
) -> int | None:
    """The first owner who has everything that could be drawn for it; None where each draw can succeed.

    Args:
        owners: [n] of the pairs, each pair once.
        values: [n] what the owner has.
        weights: [n_values] that a draw takes each value in proportion to; 0 for what never comes.
        blocks: [n_values] ascending, draws stay within the block of the owner's own values; None for one block.
    """
    block = np.zeros(len(weights), np.int64) if blocks is None else np.asarray(blocks)
    total = np.bincount(block, weights)[block[values]]
    has = np.bincount(owners, weights[values])[owners]
    # Beside rounding, a draw that succeeds once in a thousand million tries is one that does not.
    full = np.flatnonzero(total - has <= 1e-9 * total)
    return int(owners[full].min()) if len(full) else None


def _by_user(users: Array, items: Array, n_users: int) -> tuple[Array, Array, Array]:
    """(Order of the pairs by user, then item; [n_users] pairs of each user; [n_users] where they start)."""
    counts = np.bincount(users, minlength=n_users)
    return np.lexsort((items, users)), counts, np.cumsum(counts) - counts


def _edges(blocks: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """[n] first item and end of each item's block, the padding item 0 belonging to none."""
    own = np.asarray(blocks)[1:]
    first = np.searchsorted(own, own, side="left") + 1
    last = np.searchsorted(own, own, side="right") + 1
    return np.concatenate([[0], first]), np.concatenate([[1], last])


def _below(bounds: torch.Tensor) -> torch.Tensor:
    """Uniform whole numbers below each bound; float64 keeps the bias under 1e-9."""
    drawn = torch.rand(bounds.shape, device=bounds.device, dtype=torch.float64) * bounds
    return drawn.long()
