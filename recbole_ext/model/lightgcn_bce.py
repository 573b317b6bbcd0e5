"""LightGCN as a model of labelled pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from recbole_ext.model.clicks import SteppedPairModel
from recbole_ext.model.graph import Bipartite


class LightGCNBCE(SteppedPairModel):
    """logit P(label = 1) = <p_u, p_i>, p the means over layers of LightGCN, by cross-entropy on the labelled rows.

    CoLLM's code (`baseline_train_lightgcn_ood.py`): edges are the training rows with label 1, tables start from N(0, 0.01), which is
    a standard deviation of 0.1, and no dropout of edges. RecBole's LightGCN, which ranks, is another model.
    """

    trainable = ("users", "items")
    own_keys = ("embedding_size", "n_layers", "init_std")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        width, std = int(config["embedding_size"]), float(config["init_std"])
        self.layers = int(config["n_layers"])
        self.users, self.items = (
            nn.Embedding(self.n_users, width),
            nn.Embedding(self.n_items, width),
        )
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=std)
        liked = self.label == 1
        # A pair that was liked several times is one edge.
        pairs = np.unique(np.stack([self.user[liked], self.item[liked]]), axis=1)
        self.graph = Bipartite(pairs[0], pairs[1], self.n_users, self.n_items, self.device)

    def logits(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B] log-odds."""
        users, items = self.graph.convolve(self.users.weight, self.items.weight, self.layers)
        return (users[user] * items[item]).sum(1)
