"""SASRec as a model of labelled pairs, learnt from the labels and not from what came next."""

from __future__ import annotations

from typing import Any

import torch

from recbole_ext.model.clicks import HistoryPairModel
from recbole_ext.model.self_attention import MODULES, SelfAttentive


class SASRecBCE(SelfAttentive, HistoryPairModel):
    """logit P(label = 1) = <f(liked before), e_i>, f the last state of SASRec, by cross-entropy on the labelled rows.

    CoLLM's code (`baseline_train_sasrec.py`, `SASRec`): the latest `MAX_ITEM_LIST_LENGTH` liked items, padded in front; keys at
    padding are not masked, only its states are set to 0; items start from N(0, 1) and are scaled by the root of d. The user enters
    by its history alone. `SASRec`, which ranks, is another model: it learns the next item.
    """

    trainable = MODULES
    sees_padding = True
    own_keys = ("hidden_size", "n_layers", "n_heads", "dropout_prob", "MAX_ITEM_LIST_LENGTH")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.make_transformer(self.n_items, self.longest, config)

    def state(self, before: torch.Tensor) -> torch.Tensor:
        """[B, d] of histories [B, longest], padded in front by 0."""
        return self.states(before, 1)[:, 0]

    def logits(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B] log-odds."""
        found: torch.Tensor = (self.state(self.before(row)) * self.items(item)).sum(1)
        return found
