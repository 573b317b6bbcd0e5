"""CTRL: DIN whose samples are first brought near the text of the same samples, then fine-tuned alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.contrastive import among
from recbole_ext.core.stage import Stage
from recbole_ext.model.clicks import Batch
from recbole_ext.model.din import DIN


class CTRL(DIN):
    """Li, Chen, Hou, Tang, "CTRL: Connect Collaborative and Language Model for CTR Prediction", as SeLLa-Rec's table names it, on DIN.

    1. `align`: the symmetric InfoNCE, within a batch, of P v and Q t of each training row, whatever its label, both of length 1:
       v [3 (embedding_size // 3)] is what DIN's head reads, t the row's text.
    2. `fine-tune`: DIN alone, from there, by cross-entropy on the labels. Text is read no more.

    The two stages are general knowledge of the paper, whose text and code were not read; all else is ours: the text of a row is
    [mean of its history's item vectors, the target's], made by the harness's frozen encoder and each of length 1, where the paper
    fine-tunes a language model on one sentence a row; the user has no text; cosines of single projections in place of its finer
    similarity; sizes, temperature and epochs; no penalty while aligning, the last epoch's weights are taken. `align_epochs` 0 leaves
    the first stage out: DIN.
    """

    aligned = ("users", "items", "liked", "attention", "of_sample", "of_text")
    """What the first stage trains."""
    stage_name = "fine-tune"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.align_epochs = int(config["align_epochs"])
        self.align_rate = float(config["align_learning_rate"])
        self.align_batch = int(config["align_batch_size"])
        self.tau = float(config["tau"])
        text = functional.normalize(dataset.item_vectors.float(), dim=1)  # a blank text stays zero
        self.register_buffer("text", text, persistent=False)
        size = int(config["align_size"])
        self.of_sample = nn.Linear(3 * self.items.embedding_dim, size)
        self.of_text = nn.Linear(2 * text.shape[1], size)

    def stages(self) -> list[Stage]:
        """The alignment, and DIN's own stage after it."""
        (own,) = super().stages()
        if not self.align_epochs:
            return [own]
        rows = self.rows(self.align_batch)
        read = ("embedding_size", "MAX_ITEM_LIST_LENGTH")
        align = Stage(
            name="align",
            trainable=self.aligned,
            loader=rows,
            loss=self.align_loss,
            fingerprint={
                "model": type(self).__name__,
                "align_batch_size": self.align_batch,
                "align_size": self.of_text.out_features,
                "tau": self.tau,
                **{key: self.keys[key] for key in read},
            },
            epochs=self.align_epochs,
            learning_rate=self.align_rate,
            after=(),
            rows=lambda batch: len(batch[0]),
        )
        return [align, dataclasses.replace(own, after=("align",))]

    def align_loss(self, batch: Batch) -> torch.Tensor:
        """The mean of both directions' InfoNCE; a batch of one row has nothing to tell apart, and none to learn."""
        user, item, _, row = batch
        sample = self.of_sample(self.sample(user, item, row))
        text = self.of_text(self.text_of(item, row))
        one, other = among(sample, text, self.tau), among(text, sample, self.tau)
        return (one + other) / 2

    def text_of(self, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B, 2 d] the mean text of what was liked before rows [B], zero where nothing was, and that of items [B]."""
        before = self.before(row)
        total = functional.embedding_bag(before, self.text, mode="sum", padding_idx=0)
        count = (before > 0).sum(1, keepdim=True).clamp_min(1)
        return torch.cat([total / count, self.text[item]], dim=1)
