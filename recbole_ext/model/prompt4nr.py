"""Prompt4NR: soft tokens that are the same in every prompt, trained together with the LoRA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.clicks import Batch
from recbole_ext.model.prompted import Vectors
from recbole_ext.model.slots import SlotModel

_TOKENS = 3
"""Soft tokens at the place of the user, and as many at that of the item."""


class Prompt4NR(SlotModel):
    """Zhang and Wang, SIGIR 2023, as CoLLM's authors ported it: three soft tokens in the user's place and three in the item's, shared by all
    users and all items, so that they tell nobody apart. One stage trains them and the LoRA together, from the backbone as it is.

    Ours: the start of the soft tokens (`init_std`; theirs is a linear layer's own over two one-hot inputs), and the schedule of the text stage.
    """

    template_key = "prompt"
    """There is no prompt of text alone."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.places = [f"{of}{n}" for of in ("user", "item") for n in range(1, _TOKENS + 1)]
        self.check_slots(*self.places)
        with self.drawn("soft"):
            start = torch.randn(len(self.places), self.backbone.width)
        self.soft = nn.Parameter(start * float(self.keys["init_std"]))

    def vectors(self, user: torch.Tensor, item: torch.Tensor) -> Vectors:
        """The soft tokens, once for each of B rows."""
        rows = len(user)
        return {name: self.soft[n].expand(rows, -1) for n, name in enumerate(self.places)}

    def stages(self) -> list[Stage | Computed]:
        """One: the text stage, on prompts with soft tokens and with them."""
        text = self.text_stage()
        size = int(self.keys["text_batch_rows"])

        def loss(batch: Batch) -> torch.Tensor:
            user, item, label, row = batch
            prompts = self.token_prompts.of(item.tolist(), row.tolist())
            return self.cost(prompts, self.token_template, label, self.vectors(user, item))

        told = self.told_of_text(self.token_template)
        return [
            replace(
                text,
                name="soft",
                trainable=(*text.trainable, "soft"),
                loader=self.rows(self.token_prompts, size),
                loss=loss,
                fingerprint={**told, "init_std": self.keys["init_std"]},
                validate=self.validated(self.final_logits) if text.validate else None,
            )
        ]
