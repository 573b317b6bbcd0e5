"""BinLLM: collaborative vectors as binary codes that a language model reads as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.clicks import Batch
from recbole_ext.model.prompt_rows import KnownPrompts, counted
from recbole_ext.model.prompted import PromptedPairModel

_TEXTS = ("user", "item")
"""The places of the codes in a template."""


class Coder(nn.Module):
    """Vectors [.., d] to codes [.., bits] of -1 and 1: sign(tanh(W e + b)), the gradient passed straight through the sign.

    While training each coordinate is made binary with probability beta and left as the tanh otherwise; beta begins at 0 and grows by
    `step` with each epoch, up to 1. Epochs are counted by batches, in a buffer, so that a stage that goes on after a kill goes on with
    its beta.
    """

    batches: torch.Tensor

    def __init__(self, width: int, bits: int, step: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, bits)
        self.step = step
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def beta(self, batches_per_epoch: int) -> float:
        """Of the batch that comes next."""
        return min(1.0, self.step * (int(self.batches) // batches_per_epoch))

    def forward(self, vectors: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
        """[.., bits]; with `beta` 1 nothing is random."""
        soft = torch.tanh(self.linear(vectors))
        hard = soft + (torch.where(soft >= 0, 1.0, -1.0) - soft).detach()
        if beta >= 1:
            # Adding and subtracting rounds; a code is -1 or 1 to the last bit.
            return hard if soft.requires_grad else torch.where(soft >= 0, 1.0, -1.0)
        return torch.where(torch.rand_like(soft) < beta, hard, soft)


def written(code: torch.Tensor, form: str) -> list[str]:
    """Codes [B, bits] as strings: `bits`, 0 and 1 from the left, or `octets`, each eight of them as a number from 0 to 255, with
    dots between as in an internet address."""
    bits = (code > 0).cpu().numpy().astype(np.uint8)
    if form == "bits":
        return ["".join(map(str, row)) for row in bits.tolist()]
    return [".".join(map(str, row)) for row in np.packbits(bits, axis=1).tolist()]


class CodedRows:
    """The prompts of rows of given users: `FilledRows` whose prompts have the codes of the user and the item in them."""

    def __init__(self, model: BinLLM, user: torch.Tensor) -> None:
        """What fills them.

        Args:
            model: whose codes they are, as they are when prompts are asked for.
            user: [B] of the rows that will be asked for, in their order.
        """
        self.model, self.user = model, user

    def of(self, items: Sequence[int], rows: Sequence[int]) -> list[Any]:
        """The prompts of B rows: items in RecBole's ids, rows as places among the interactions."""
        return self.model.coded(self.user, self._tensor(items), rows)

    def lengths(self, items: Sequence[int], rows: Sequence[int]) -> list[int]:
        """[B] tokens of the prompts of B rows."""
        return counted(self.model.coded, self.user, self._tensor(items), rows)

    def _tensor(self, items: Sequence[int]) -> torch.Tensor:
        return torch.tensor(items, device=self.user.device)


class BinLLM(PromptedPairModel):
    """Zhang et al., "Text-like Encoding of Collaborative Information in Large Language Models for Recommendation" (ACL 2024), on MF.

    Stages: `text` (LoRA on prompts of text, TALLRec's), `codes` (MF with d = 32 whose vectors go through a `Coder`, by cross-entropy of
    <h_u, h_i>), `coded` (the LoRA goes on, on prompts with both codes as text; no token is a vector).

    The authors' code has the sizes, the coder, beta, the two forms and the third stage's rate and batch. Ours: one coder for users and items,
    beta from 0, <h_u, h_i> divided by the root of the number of bits (of 32 signs it would begin at a size of 6, where the logistic
    function is flat), validation of the second stage by hard codes, the words of the prompt.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.bits, self.form = int(self.keys["code_bits"]), str(self.keys["code_form"])
        if self.form == "octets" and self.bits % 8:
            raise HarnessError(
                f"BinLLM: --code_form=octets takes eight bits to a number, and --code_bits={self.bits} is no multiple: "
                "--code_bits=32, or --code_form=bits"
            )
        width, std = int(self.keys["embedding_size"]), float(self.keys["init_std"])
        self.users = nn.Embedding(self.n_users, width, padding_idx=0)
        self.items = nn.Embedding(self.n_items, width, padding_idx=0)
        with self.drawn("codes"), torch.no_grad():
            for table in (self.users, self.items):
                nn.init.normal_(table.weight, std=std)
                table.weight[0] = 0.0
            self.coder = Coder(width, self.bits, float(self.keys["code_beta_step"]))
        self.code_template = self.template("code_prompt")
        has = (*self.code_template.texts, *(f"slot:{name}" for name in self.code_template.slots))
        if set(has) != set(_TEXTS):
            raise HarnessError(
                f"BinLLM: prompt '{self.code_template.name}' has the places {', '.join(has) or 'none'}, and what is put in here is "
                "{text:user} and {text:item}: --code_prompt"
            )
        self.code_filler = self.filler(self.code_template)
        self._coded = KnownPrompts()

    # Codes

    def code_logits(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor, beta: float = 1.0
    ) -> torch.Tensor:
        """[B] <h_u, h_i> / sqrt(bits)."""
        one, two = self.coder(self.users(user), beta), self.coder(self.items(item), beta)
        found: torch.Tensor = (one * two).sum(1) / self.bits**0.5
        return found

    @torch.no_grad()
    def codes(self, user: torch.Tensor, item: torch.Tensor) -> tuple[list[str], list[str]]:
        """The codes of users [B] and of items [B] as they are written."""
        persons, titles = self.coder(self.users(user)), self.coder(self.items(item))
        return written(persons, self.form), written(titles, self.form)

    def coded(self, user: torch.Tensor, item: torch.Tensor, rows: Sequence[int]) -> list[Any]:
        """The prompts of B rows with the codes as they are now."""
        persons, titles = self.codes(user, item)

        def fill(lacking: list[tuple[int, int, str, str]]) -> Iterator[Any]:
            before = self.text_prompts.liked([row for _, row, _, _ in lacking])
            for (target, _, *codes), names in zip(lacking, before, strict=True):
                texts = dict(zip(_TEXTS, codes, strict=True))
                yield self.code_filler.fill(names, self.titles[target], texts)

        return self._coded.of(list(zip(item.tolist(), rows, persons, titles, strict=True)), fill)

    def prompt_of(self, item: int, row: int) -> Any:
        """With the codes."""
        pair = (
            torch.tensor([of], device=self.device) for of in (self.histories.user[row] + 1, item)
        )
        texts = {name: code for name, (code,) in zip(_TEXTS, self.codes(*pair), strict=True)}
        (names,) = self.text_prompts.liked([row])
        return self.code_filler.fill(names, self.titles[item], texts)

    def final_logits(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor
    ) -> torch.Tensor:
        """[B] with codes."""
        rows: Any = CodedRows(self, user)
        return self.in_buckets(rows, self.code_template, user, item, row)

    # Stages

    def stages(self) -> list[Stage | Computed]:
        """Text, codes, both."""
        return [self.text_stage(), self.code_stage(), *self.coded_stage()]

    def code_stage(self) -> Stage:
        """MF through the coder."""
        keys = self.keys
        loader = self.labelled_rows(int(keys["collab_batch_rows"]))
        decay = float(keys["collab_weight_decay"])

        def loss(batch: Batch) -> torch.Tensor:
            user, item, label, row = batch
            logits = self.code_logits(user, item, row, self.coder.beta(len(loader)))
            self.coder.batches += 1
            trained = (self.users, self.items, self.coder)
            squares = torch.stack([p.square().sum() for m in trained for p in m.parameters()]).sum()
            return functional.binary_cross_entropy_with_logits(logits, label) + decay / 2 * squares

        told = ("embedding_size", "init_std", "code_bits", "code_beta_step", "collab_weight_decay", "collab_batch_rows")  # fmt: skip
        return Stage(
            name="codes",
            trainable=("users", "items", "coder"),
            loader=loader,
            loss=loss,
            fingerprint={"model": "MF in codes", **{name: keys[name] for name in told}},
            epochs=int(keys["collab_epochs"]),
            learning_rate=float(keys["collab_learning_rate"]),
            validate=self.validated(self.code_logits),
            patience=int(keys["collab_patience"]) or None,
            after=(),
            rows=lambda batch: len(batch[0]),
        )

    def coded_stage(self) -> list[Stage]:
        """LoRA on prompts with codes; none with `coded_epochs` 0, whose scores are those of the text's LoRA on such prompts."""
        keys = self.keys
        epochs = int(keys["coded_epochs"])
        if not epochs:
            return []

        def loss(batch: Batch) -> torch.Tensor:
            user, item, label, row = batch
            return self.cost(self.coded(user, item, row.tolist()), self.code_template, label)

        every: Any = CodedRows(self, torch.from_numpy(self.user).to(self.device))
        told = ("loss", "score", "max_length", "MAX_ITEM_LIST_LENGTH", "shuffle_text", "code_form")
        return [
            replace(
                self.text_stage(),
                name="coded",
                loader=self.rows(every, int(keys["coded_batch_rows"])),
                loss=loss,
                fingerprint=self.told(told, prompt=self.code_template, batch="coded_batch_rows"),
                epochs=epochs,
                learning_rate=float(keys["coded_learning_rate"]),
                validate=self.validated(self.final_logits) if epochs > 1 else None,
                after=None,
            )
        ]
