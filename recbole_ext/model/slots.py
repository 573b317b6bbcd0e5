"""Models some of whose prompt's tokens are vectors that are trained: what is put into slots, and the stage that trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Schedule, Stage
from recbole_ext.lm.batches import bucketed, collate, splice
from recbole_ext.model.clicks import Batch
from recbole_ext.model.prompted import PromptedPairModel, Vectors


class SlotModel(PromptedPairModel):
    """A prompted model that fills the slots of a template, a second one beside that of text alone.

    A subclass gives `vectors` and says what its stages train.
    """

    template_key = "token_prompt"
    """The key that names it."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.token_template = self.template(self.template_key)
        self.token_prompts = self.filled(self.token_template)

    def tables(self, name: str, width: int) -> tuple[nn.Embedding, nn.Embedding]:
        """Vectors [n_users, width] and [n_items, width] from N(0, `init_std`^2), 0 for padding; `name` is what they are drawn by."""
        found = nn.Embedding(self.n_users, width, 0), nn.Embedding(self.n_items, width, 0)
        with self.drawn(name), torch.no_grad():
            for table in found:
                nn.init.normal_(table.weight, std=float(self.keys["init_std"]))
                table.weight[0] = 0.0
        return found

    @torch.no_grad()
    def attention(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor, layers: Sequence[int]
    ) -> dict[str, torch.Tensor]:
        """Slot -> [L, B] how much of what the answer is read from attends to its token, mean over heads.

        Args:
            user: [B] in RecBole's ids.
            item: [B].
            row: [B] places among the interactions.
            layers: L of them, counted from 1.
        """
        prompts = self.token_prompts.of(item.tolist(), row.tolist())
        size = int(self.keys["eval_batch_rows"])
        self.eval()  # a model that was loaded drops units of the LoRA until something scores
        found = {name: torch.empty(len(layers), len(prompts)) for name in self.token_template.slots}
        for places in bucketed([len(prompt.ids) for prompt in prompts], size):
            at = torch.from_numpy(places).to(self.device)
            batch = collate([prompts[place] for place in places], self.backbone.filler, self.device)
            embeds = self.backbone.embed(batch.ids)
            embeds = splice(embeds, batch, self.vectors(user[at], item[at]))
            weights = self.backbone.attention(embeds, batch.mask, layers)  # (L, b, T)
            for name, position in batch.slots.items():
                of = weights.gather(2, position[None, :, None].expand(len(layers), -1, 1))
                found[name][:, torch.from_numpy(places)] = of[..., 0].float().cpu()
        return found

    def check_slots(self, *given: str) -> None:
        """Refuse a template with other slots than the model fills.

        Raises:
            HarnessError: a slot without a vector, or a vector without a slot.
        """
        slots = self.token_template.slots
        if set(slots) != set(given):
            raise HarnessError(
                f"{type(self).__name__}: prompt '{self.token_template.name}' has the slots {', '.join(slots) or 'none'}, "
                f"and what is put in here is {', '.join(given)}: --{self.template_key}"
            )

    def vectors(self, user: torch.Tensor, item: torch.Tensor) -> Vectors:
        """Slot -> [B, d_L] of pairs in RecBole's ids."""
        raise NotImplementedError

    def prompt_of(self, item: int, row: int) -> Any:
        """With slots."""
        return self.token_prompts.one(item, row)

    def final_logits(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor
    ) -> torch.Tensor:
        """[B] with tokens."""
        return self.in_buckets(
            self.token_prompts, self.token_template, user, item, row, self.vectors
        )

    def projection_stage(
        self, trainable: tuple[str, ...], name: str = "projection", **fingerprint: Any
    ) -> list[Stage]:
        """The stage that trains what makes the tokens, the language model and its LoRA frozen; none with `projection_epochs` 0,
        whose scores are those before its first step.

        Args:
            trainable: modules.
            name: of the stage.
            fingerprint: what its weights depend on beside the prompt and the loss.
        """
        keys = self.keys
        epochs = int(keys["projection_epochs"])
        if not epochs:
            return []

        def loss(batch: Batch) -> torch.Tensor:
            user, item, label, row = batch
            # In the authors' code LoRA's dropout goes on although it is not trained any more.
            self.lora.train(bool(keys["lora_dropout_in_projection"]))
            prompts = self.token_prompts.of(item.tolist(), row.tolist())
            return self.cost(prompts, self.token_template, label, self.vectors(user, item))

        told = self.told(
            ("loss", "score", "max_length", "MAX_ITEM_LIST_LENGTH", "shuffle_text", "lora_dropout_in_projection"),
            prompt=self.token_template,
            batch="projection_batch_rows",
        )  # fmt: skip
        return [
            Stage(
                name=name,
                trainable=trainable,
                loader=self.rows(self.token_prompts, int(keys["projection_batch_rows"])),
                loss=loss,
                fingerprint={**told, **fingerprint},
                epochs=epochs,
                learning_rate=float(keys["projection_learning_rate"]),
                weight_decay=float(keys["projection_weight_decay"]),
                clip=float(keys["clip"]) or None,
                schedule=Schedule(float(keys["projection_warmup"]), "cosine"),
                accumulate=int(keys["accumulate"]),
                validate=self.validated(self.final_logits) if epochs > 1 else None,
                rows=lambda batch: len(batch[0]),
            )
        ]
