"""MF: the collaborative model under CoLLM and SeLLa-Rec."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recbole_ext.model.clicks import SteppedPairModel


class MF(SteppedPairModel):
    """logit P(label = 1) = <e_u, e_i>, no bias, by cross-entropy on the labelled rows.

    As in CoLLM's code (`baseline_train_mf_ood.py`): entries start from N(0, 1), the penalty of Adam pulls all of them towards 0 in
    every step, those of users and items without rows too. `init_std` is ours; 1 is theirs. The padding row is 0 and stays so.
    """

    trainable = ("users", "items")
    own_keys = ("embedding_size", "init_std")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        width, std = int(config["embedding_size"]), float(config["init_std"])
        self.users = nn.Embedding(self.n_users, width, padding_idx=0)
        self.items = nn.Embedding(self.n_items, width, padding_idx=0)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=std)
            with torch.no_grad():
                table.weight[0] = 0.0

    def logits(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B] log-odds."""
        found: torch.Tensor = (self.users(user) * self.items(item)).sum(1)
        return found
