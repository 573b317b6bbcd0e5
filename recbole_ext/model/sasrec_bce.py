"""SASRec as a model of labelled pairs, learnt from the labels and not from what came next."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recbole_ext.model.clicks import HistoryPairModel


class Block(nn.Module):
    """Self-attention and a pointwise feed-forward layer, both residual over their normalised input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before_attention, self.before_units = (nn.LayerNorm(width, eps=1e-8) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.units = nn.Sequential(
            nn.Linear(width, width), nn.Dropout(dropout), nn.ReLU(), nn.Linear(width, width), nn.Dropout(dropout)
        )  # fmt: skip

    def forward(self, x: torch.Tensor, there: torch.Tensor, asked: int) -> torch.Tensor:
        """[B, asked, d] of the last places of x [B, L, d], each of which sees itself and what is earlier.

        Args:
            x: [B, L, d].
            there: [B, L, 1], 0 for padding.
            asked: places, of which the last block needs one only.
        """
        length = x.shape[1]
        query = self.before_attention(x[:, length - asked :])
        later = torch.ones(asked, length, dtype=torch.bool, device=x.device).triu(
            length - asked + 1
        )
        x = query + self.attention(query, x, x, attn_mask=later, need_weights=False)[0]
        x = self.before_units(x)
        found: torch.Tensor = (x + self.units(x)) * there[:, length - asked :]
        return found


class SASRecBCE(HistoryPairModel):
    """logit P(label = 1) = <f(liked before), e_i>, f the last state of SASRec, by cross-entropy on the labelled rows.

    CoLLM's code (`baseline_train_sasrec.py`, `SASRec`): the latest `MAX_ITEM_LIST_LENGTH` liked items, padded in front; keys at
    padding are not masked, only its states are set to 0; items start from N(0, 1) and are scaled by the root of d. The user enters
    by its history alone. RecBole's SASRec, which ranks, is another model: it learns the next item.
    """

    trainable = ("items", "places", "blocks", "last")
    own_keys = ("hidden_size", "n_layers", "n_heads", "dropout_prob", "MAX_ITEM_LIST_LENGTH")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        width, longest = int(config["hidden_size"]), self.longest
        share = float(config["dropout_prob"])
        self.items = nn.Embedding(self.n_items, width, padding_idx=0)
        self.places = nn.Embedding(longest, width)
        self.dropout = nn.Dropout(share)
        self.blocks = nn.ModuleList(
            Block(width, int(config["n_heads"]), share) for _ in range(int(config["n_layers"]))
        )
        self.last = nn.LayerNorm(width, eps=1e-8)

    def state(self, before: torch.Tensor) -> torch.Tensor:
        """[B, d] of histories [B, L], padded in front by 0."""
        there = (before > 0)[..., None]
        scale = self.items.embedding_dim**0.5
        # Its dropout is that of a stage's trained modules: a module without parameters is in none of them.
        x = self.items(before) * scale + self.places.weight
        self.dropout.train(self.blocks.training)
        x = self.dropout(x) * there
        for number, block in enumerate(self.blocks, 1):
            x = block(x, there, 1 if number == len(self.blocks) else self.longest)
        found: torch.Tensor = self.last(x[:, -1])
        return found

    def logits(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B] log-odds."""
        found: torch.Tensor = (self.state(self.before(row)) * self.items(item)).sum(1)
        return found
