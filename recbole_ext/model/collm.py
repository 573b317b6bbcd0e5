"""CoLLM: collaborative vectors of the user and the item as tokens of a prompt."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.alignment import collm_projection
from recbole_ext.model.clicks import Batch
from recbole_ext.model.prompted import Vectors
from recbole_ext.model.slots import SlotModel

_TABLES = ("embedding_size", "init_std", "collab_weight_decay", "collab_loss")


class TokenModel(SlotModel):
    """A prompted model some of whose tokens are made of tables of users and items, `users` and `items` [.., d_C]."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.users, self.items = self.tables("tables", int(self.keys["embedding_size"]))

    def collaborative_logits(
        self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor
    ) -> torch.Tensor:
        """[B] inner products <e_u, e_i>, the collaborative model's own scores."""
        found: torch.Tensor = (self.users(user) * self.items(item)).sum(1)
        return found

    def collaborative_cost(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of inner products [B]: their squared distance from the label (SeLLa-Rec eq. 6), or cross-entropy (the codes)."""
        if self.keys["collab_loss"] == "mse":
            return functional.mse_loss(logits, label)
        return functional.binary_cross_entropy_with_logits(logits, label)

    def squares(self, *modules: nn.Module) -> torch.Tensor:
        """weight_decay / 2 x the sum of squares: the penalty of the authors' Adam, that goes through its scaling."""
        total = torch.stack([p.square().sum() for m in modules for p in m.parameters()]).sum()
        return float(self.keys["collab_weight_decay"]) / 2 * total

    def collaborative_stage(self) -> Stage:
        """MF alone: logit <e_u, e_i>, on the labelled rows, until validation has not been better for some epochs."""

        def loss(batch: Batch) -> torch.Tensor:
            user, item, label, row = batch
            cost = self.collaborative_cost(self.collaborative_logits(user, item, row), label)
            return cost + self.squares(self.users, self.items)

        return Stage(
            name="collaborative",
            trainable=("users", "items"),
            loader=self.labelled_rows(int(self.keys["collab_batch_rows"])),
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
