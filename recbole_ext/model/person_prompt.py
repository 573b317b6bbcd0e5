"""PersonPrompt: a token of its own for each user and each item."""

from __future__ import annotations

from typing import Any

import torch

from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.prompted import Vectors
from recbole_ext.model.slots import SlotModel


class PersonPrompt(SlotModel):
    """CoLLM's baseline (after PEPLER, TOIS 2023): one learnt vector of the language model's width per user and per item in CoLLM's prompt, in place of
    vectors of a collaborative model behind a projection. Theirs is a linear layer without bias over one-hot users and items, which is the same.

    Stages: `text` (LoRA on prompts of text, TALLRec's), then `projection`: the vectors, the LoRA frozen, as CoLLM's second step. That it has
    CoLLM's two steps is our reading, and the normal start with `init_std` is ours (theirs is uniform, within 1 / sqrt(users + items)).
    A user or an item without training rows keeps the vector that was drawn for it, as in theirs.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.check_slots("user", "item")
        self.users, self.items = self.tables("persons", self.backbone.width)

    def vectors(self, user: torch.Tensor, item: torch.Tensor) -> Vectors:
        """Each one's own."""
        return {"user": self.users(user), "item": self.items(item)}

    def stages(self) -> list[Stage | Computed]:
        """Text, then the vectors."""
        stage = self.projection_stage(("users", "items"), init_std=self.keys["init_std"])
        return [self.text_stage(), *stage]
