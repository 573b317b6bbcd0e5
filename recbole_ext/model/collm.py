"""CoLLM: collaborative vectors of the user and the item as tokens of a prompt."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Schedule, Stage
from recbole_ext.model.alignment import collm_projection
from recbole_ext.model.clicks import Batch, LabelledRows
from recbole_ext.model.prompted import PromptedPairModel, Vectors

_TABLES = ("embedding_size", "init_std", "collab_weight_decay", "collab_loss")


class TokenModel(PromptedPairModel):
    """A prompted model some of whose tokens are made of tables of users and items, `users` and `items` [.., d_C].

    `token_prompt` names the template with slots. A subclass gives `vectors` and says what its stages train.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        width, std = int(self.keys["embedding_size"]), float(self.keys["init_std"])
        self.users = nn.Embedding(self.n_users, width, padding_idx=0)
        self.items = nn.Embedding(self.n_items, width, padding_idx=0)
        with self.drawn("tables"), torch.no_grad():
            for table in (self.users, self.items):
                nn.init.normal_(table.weight, std=std)
                table.weight[0] = 0.0
        self.token_template = self.template("token_prompt")
        self.token_prompts = self.filled(self.token_template)

    def check_slots(self, *given: str) -> None:
        """Refuse a template with other slots than the model fills.

        Raises:
            HarnessError: a slot without a vector, or a vector without a slot.
        """
        slots = self.token_template.slots
        if set(slots) != set(given):
            raise HarnessError(
                f"{type(self).__name__}: prompt '{self.token_template.name}' has the slots {', '.join(slots) or 'none'}, "
                f"and what is put in here is {', '.join(given)}: --token_prompt"
            )

    def vectors(self, user: torch.Tensor, item: torch.Tensor) -> Vectors:
        """Slot -> [B, d_L] of pairs in RecBole's ids."""
        raise NotImplementedError

    def collaborative_logits(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor
    ) -> torch.Tensor:
        """[B] inner products <e_u, e_i>, the collaborative model's own scores."""
        found: torch.Tensor = (self.users(user) * self.items(item)).sum(1)
        return found

    def final_logits(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor
    ) -> torch.Tensor:
        """[B] with tokens."""
        return self.in_buckets(
            self.token_prompts, self.token_template, user, item, row, self.vectors
        )

    def collaborative_cost(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of inner products [B]: their squared distance from the label (SeLLa-Rec eq. 6), or cross-entropy (the codes)."""
        if self.keys["collab_loss"] == "mse":
            return functional.mse_loss(logits, label)
        return functional.binary_cross_entropy_with_logits(logits, label)

    def squares(self, *modules: nn.Module) -> torch.Tensor:
        """weight_decay / 2 x the sum of squares: the penalty of the authors' Adam, that goes through its scaling."""
        total = torch.stack([p.square().sum() for m in modules for p in m.parameters()]).sum()
        return float(self.keys["collab_weight_decay"]) / 2 * total

    def pairs(self) -> LabelledRows:
        """Training rows for the collaborative model."""
        label = torch.from_numpy(self.label).float().to(self.device)
        user, item, row = (
            torch.from_numpy(of).to(self.device) for of in (self.user, self.item, self.row)
        )
        return LabelledRows(user, item, label, row, int(self.keys["collab_batch_rows"]))

    def collaborative_stage(self) -> Stage:
        """MF alone: logit <e_u, e_i>, on the labelled rows, until validation has not been better for some epochs."""

        def loss(batch: Batch) -> torch.Tensor:
            user, item, label, row = batch
            cost = self.collaborative_cost(self.collaborative_logits(user, item, row), label)
            return cost + self.squares(self.users, self.items)

        return Stage(
            name="collaborative",
            trainable=("users", "items"),
            loader=self.pairs(),
            loss=loss,
            fingerprint={
                "model": "MF in a prompt",
                **{name: self.keys[name] for name in (*_TABLES, "collab_batch_rows")},
            },
            epochs=int(self.keys["collab_epochs"]),
            learning_rate=float(self.keys["collab_learning_rate"]),
            validate=self.validated(self.collaborative_logits),
            patience=int(self.keys["collab_patience"]) or None,
            after=(),
            rows=lambda batch: len(batch[0]),
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


class CoLLM(TokenModel):
    """Zhang et al., "CoLLM: Integrating Collaborative Embeddings into Large Language Models for Recommendation" (TKDE 2025), on MF.

    Stages: `text` (LoRA on prompts of text, TALLRec's), `collaborative` (MF by cross-entropy), `projection`:
    W2 ReLU(W1 e + b1) + b2 with 10 d_C hidden units makes one token of e_u and one of e_i. `freeze_rec`: MF stays as it is (their configurations for
    MovieLens-1M), or is trained on with the projection (theirs for Amazon-Book).
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.check_slots("user", "item")
        with self.drawn("projection"):
            self.projection = collm_projection(
                int(self.keys["embedding_size"]),
                int(self.keys["projection_times"]),
                self.backbone.width,
            )

    def vectors(self, user: torch.Tensor, item: torch.Tensor) -> Vectors:
        """The two tokens, by one projection."""
        return {
            "user": self.projection(self.users(user)),
            "item": self.projection(self.items(item)),
        }

    def stages(self) -> list[Stage | Computed]:
        """Text, MF, projection."""
        own = () if self.keys["freeze_rec"] else ("users", "items")
        return [
            self.text_stage(),
            self.collaborative_stage(),
            *self.projection_stage(
                (*own, "projection"), projection_times=int(self.keys["projection_times"])
            ),
        ]
