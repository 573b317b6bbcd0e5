"""What graph and language models contrast: sampled negatives, InfoNCE over them, and InfoNCE between two views."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

_DENSE = 64
"""Up to so many items per negative all scores are computed and those of the negatives picked: a product of matrices costs
less than to move every negative's vector, on a CPU up to about 16,000 items for 256 negatives."""


class Histories:
    """Each user's items, from which positives are drawn, and beside which negatives are.

    Args:
        users: [n] of the pairs, each pair once.
        items: [n] with 1 <= item < n_items; item 0 is padding and never drawn.
        n_users: number of users.
        n_items: number of items with the padding.
        device: of what is drawn.
    """

    def __init__(
        self,
        users: npt.NDArray[Any],
        items: npt.NDArray[Any],
        n_users: int,
        n_items: int,
        device: torch.device | str = "cpu",
    ) -> None:
        order = np.lexsort((items, users))
        counts = np.bincount(users, minlength=n_users)
        starts = np.cumsum(counts) - counts
        row, item = np.asarray(users)[order].astype(np.int64), np.asarray(items)[order]
        # The r-th item that a user does not have is r plus the number of its items p_0 < p_1 < .. with p_k - k <= r.
        shifted = item.astype(np.int64) - 1 - (np.arange(len(row)) - starts[row])
        self.span = n_items
        self.items = torch.from_numpy(item.astype(np.int64)).to(device)
        self.keys = torch.from_numpy(row * n_items + shifted).to(device)
        self.starts = torch.from_numpy(starts).to(device)
        self.counts = torch.from_numpy(counts).to(device)
        self.others = (n_items - 1 - self.counts).clamp(min=0)
        self.active = torch.from_numpy(np.flatnonzero(counts)).to(device)

    def positives(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, items), [count] each: users uniformly among those with items, then one of its items."""
        users = self.active[self._below(self.active.new_full((count,), len(self.active)))]
        return users, self.items[self.starts[users] + self._below(self.counts[users])]

    def negatives(self, users: torch.Tensor, count: int) -> torch.Tensor:
        """[B, count] items drawn uniformly and with replacement from those that each user does not have.

        A user who has every item gets the last one: there is no negative.
        """
        place = self._below(self.others[users].clamp(min=1)[:, None].expand(-1, count))
        passed = torch.searchsorted(self.keys, users[:, None] * self.span + place, right=True)
        return (place + passed - self.starts[users][:, None] + 1).clamp(max=self.span - 1)

    @staticmethod
    def _below(bounds: torch.Tensor) -> torch.Tensor:
        """Uniform whole numbers below each bound; float64 keeps the bias under 1e-9."""
        drawn = torch.rand(bounds.shape, device=bounds.device, dtype=torch.float64) * bounds
        return drawn.long()


def picked_scores(users: torch.Tensor, items: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
    """[B, s] inner products of users [B, d] with the items [n, d] named by picked [B, s]."""
    if len(items) <= _DENSE * picked.shape[1]:
        return (users @ items.T).gather(1, picked)
    return torch.einsum("bd,bsd->bs", users, items[picked])


def info_nce(positive: torch.Tensor, negative: torch.Tensor, tau: float) -> torch.Tensor:
    """Mean of -log(e^(p/τ) / (e^(p/τ) + Σ_j e^(n_j/τ))).

    Args:
        positive: [B] similarities.
        negative: [B, s] similarities.
        tau: temperature.
    """
    logits = torch.cat([positive[:, None], negative], 1) / tau
    return (torch.logsumexp(logits, 1) - logits[:, 0]).mean()


def between_views(one: torch.Tensor, two: torch.Tensor, tau: float) -> torch.Tensor:
    """InfoNCE between two views of the same B nodes, the others of the batch being the negatives.

    Args:
        one: [B, d].
        two: [B, d]; both are normalised here.
        tau: temperature.
    """
    logits = functional.normalize(one, dim=1) @ functional.normalize(two, dim=1).T / tau
    return (torch.logsumexp(logits, 1) - logits.diagonal()).mean()
