"""The transformer of SASRec: items and places, blocks of causal self-attention, and the state at each place."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recbole_ext.core.errors import HarnessError


class Block(nn.Module):
    """Self-attention and a pointwise feed-forward layer, both residual over their normalised input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before_attention, self.before_units = (nn.LayerNorm(width, eps=1e-8) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.units = nn.Sequential(
            nn.Linear(width, width), nn.Dropout(dropout), nn.ReLU(), nn.Linear(width, width), nn.Dropout(dropout)
        )  # fmt: skip

    def forward(
        self, x: torch.Tensor, there: torch.Tensor, asked: int, hidden: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[B, asked, d] of the last places of x [B, L, d], each of which sees itself and what is earlier.

        Args:
            x: [B, L, d].
            there: [B, L, 1], 0 for padding.
            asked: places, of which the last block needs one only.
            hidden: [B, L] places that no other place sees; None for none.
        """
        length = x.shape[1]
        query = self.before_attention(x[:, length - asked :])
        later = torch.ones(asked, length, dtype=torch.bool, device=x.device).triu(
            length - asked + 1
        )
        if hidden is not None:
            # A place of padding sees itself: a softmax over nothing is not a number.
            own = torch.eye(length, dtype=torch.bool, device=x.device)[length - asked :]
            later = later | (hidden[:, None] & ~own)
            later = later.repeat_interleave(self.attention.num_heads, dim=0)
        x = query + self.attention(query, x, x, attn_mask=later, need_weights=False)[0]
        x = self.before_units(x)
        found: torch.Tensor = (x + self.units(x)) * there[:, length - asked :]
        return found


class SelfAttentive:
    """What recommenders with SASRec's transformer share: its modules, under the names in `MODULES`, and its states.

    Kang, McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. A mixin before a RecBole class.
    """

    items: nn.Embedding
    places: nn.Embedding
    dropout: nn.Dropout
    blocks: nn.ModuleList
    last: nn.LayerNorm
    sees_padding = False
    """Whether places see the padding in front of them, as in the authors' code, so that a state depends on how much there is."""

    def make_transformer(self, n_items: int, longest: int, config: Any) -> None:
        """The modules, by `hidden_size`, `n_layers`, `n_heads` and `dropout_prob` of a configuration; `n_items` counts the padding item.

        Raises:
            HarnessError: the width is no multiple of the heads.
        """
        width, heads = int(config["hidden_size"]), int(config["n_heads"])
        dropout = float(config["dropout_prob"])
        if width % heads:
            raise HarnessError(
                f"{type(self).__name__}: --hidden_size={width} is no multiple of --n_heads={heads}; change one of them"
            )
        self.items = nn.Embedding(n_items, width, padding_idx=0)
        self.places = nn.Embedding(longest, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, heads, dropout) for _ in range(int(config["n_layers"]))
        )
        self.last = nn.LayerNorm(width, eps=1e-8)

    def vectors(self, items: torch.Tensor) -> torch.Tensor:
        """[.., d] of items that are read."""
        found: torch.Tensor = self.items(items)
        return found

    def states(self, seen: torch.Tensor, asked: int | None = None) -> torch.Tensor:
        """[B, asked, d] at the last places of histories [B, T], T at most `longest`, padded in front by 0.

        Place T - 1 is the last of `places` whatever T is. None asks for all places.
        """
        length = seen.shape[1]
        there = (seen > 0)[..., None]
        hidden = None if self.sees_padding or bool(there.all()) else seen == 0
        scale = self.items.embedding_dim**0.5
        x = self.vectors(seen) * scale + self.places.weight[len(self.places.weight) - length :]
        # Its dropout is that of a stage's trained modules: a module without parameters is in none of them.
        self.dropout.train(self.blocks.training)
        x = self.dropout(x) * there
        for number, block in enumerate(self.blocks, 1):
            wanted = length if asked is None or number < len(self.blocks) else asked
            x = block(x, there, wanted, hidden)
        found: torch.Tensor = self.last(x if asked is None else x[:, -asked:])
        return found


MODULES = ("items", "places", "blocks", "last")
"""Of `SelfAttentive`, those with parameters."""
