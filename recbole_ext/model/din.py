"""DIN as a model of labelled pairs: attention of the target over what the user had liked before."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.model.clicks import HistoryPairModel

_ATTENTION, _HEAD = (64, 16), (200, 80)
"""Hidden units, those of CoLLM's code."""


class Dice(nn.Module):
    """x scaled by p + alpha (1 - p), p the logistic function of x standardised over the batch (Zhou et al., KDD 2018, eq. 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=1e-8)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[.., width] of the same; every row in front counts for the mean."""
        flat = x.reshape(-1, x.shape[-1])
        if len(flat) > 1:
            normed = self.norm(flat)
        else:  # one row has no variance: those of the batches before it
            normed = functional.batch_norm(
                flat, self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias, eps=self.norm.eps
            )  # fmt: skip
        p = torch.sigmoid(normed).view_as(x)
        return (p + self.alpha * (1 - p)) * x


class DIN(HistoryPairModel):
    """logit P(label = 1) = MLP([e_i, sum_j a(e_i, h_j) h_j, e_u]) over the latest `MAX_ITEM_LIST_LENGTH` liked items j before the row.

    CoLLM's code (`RecEncoder_DIN`): three tables of embedding_size // 3 columns, for users, target items and history items;
    a is an MLP of [e_i, h_j, e_i - h_j, e_i h_j] with units 64, 16 and 1, and no softmax over j; the head has 200, 80 and 1, with
    dropout; activations are Dice; weights start from Xavier's normal. `embedding_size` 256 is ours: that of its MF, as the size of the
    published checkpoint is not told. RecBole's DIN reads features that the harness does not make, and stays unsupported.
    """

    trainable = ("users", "items", "liked", "attention", "head")
    own_keys = ("embedding_size", "dropout_prob", "MAX_ITEM_LIST_LENGTH")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        width = max(1, int(config["embedding_size"]) // 3)
        self.users = nn.Embedding(self.n_users, width)
        self.items = nn.Embedding(self.n_items, width)
        self.liked = nn.Embedding(self.n_items, width)
        near, far = _ATTENTION
        self.attention = nn.Sequential(
            nn.Linear(4 * width, near), Dice(near), nn.Linear(near, far), nn.Linear(far, 1)
        )
        first, second = _HEAD
        share = float(config["dropout_prob"])
        self.head = nn.Sequential(
            nn.Linear(3 * width, first), Dice(first), nn.Dropout(share),
            nn.Linear(first, second), Dice(second), nn.Dropout(share), nn.Linear(second, 1),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.xavier_normal_(module.weight)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def logits(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B] log-odds."""
        found: torch.Tensor = self.head(self.sample(user, item, row))
        return found[:, 0]

    def sample(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B, 3 (embedding_size // 3)] what the head reads of pairs: target, taste, user."""
        before = self.before(row)
        target, liked = self.items(item), self.liked(before)
        query = target[:, None].expand_as(liked)
        weight = self.attention(torch.cat([query, liked, query - liked, query * liked], dim=2))
        taste = (weight * (before > 0)[..., None] * liked).sum(1)
        return torch.cat([target, taste, self.users(user)], dim=1)
