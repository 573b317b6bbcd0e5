"""A-LLMRec: SASRec's user and items as tokens of a frozen language model, which names one of twenty titles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.listed import unpadded
from recbole_ext.model.matching import MatchedSASRec
from recbole_ext.model.sequences import Batch, Windows
from recbole_ext.model.title_answers import TitleSASRec

_LEAST = 1e-6
"""Deviation below which a coordinate is the same for all items."""


def projector(width: int, hidden: int, activation: nn.Module) -> nn.Sequential:
    """Linear, LayerNorm, activation, Linear, by Xavier's normal: [B, width] -> [B, hidden]."""
    first, last = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
    for layer in (first, last):
        nn.init.xavier_normal_(layer.weight)
    return nn.Sequential(first, nn.LayerNorm(hidden), activation, last)


class ALLMRec(TitleSASRec, MatchedSASRec):
    """Kim et al., "Large Language Models meet Collaborative Filtering", KDD 2024, as SAULREC uses it (methods 3.3, 3.5).

    Stages: `collaborative` is SASRec's, `matching` MatchedSASRec's, both shared with them. `projection` trains two projectors, of the user's
    state and of items, so that the frozen language model says the next title where it is asked for one of 20 (`train_candidates`): cross-entropy
    on the tokens of the title in quotes and of the end only. One example a user, the last item of its training history; the 19 others are
    drawn anew each time, all different and none of the user's, and stand in a new order.

    `id_source`: what the projector of items reads, `latent` z (the authors' code) or `recon` r (as SAULREC writes). `shuffle_text` and
    `shuffle_vectors` are controls of ours: titles, or vectors, permuted over the items.

    `vector_norm`: `free`, as the authors' code, where a trained projector may say nearly the same long vector of every item: z is near 1/2
    in all coordinates, 3% of its mean square differs between items. `tokens`, ours: what the items' projector reads is standardised over
    the items, coordinate by coordinate, and every vector is as long as the language model's tokens are on average. `spread` and `length`
    of a record tell which (`ListingSASRec.measures`).

    Deviations: a title is cut to `title_length` tokens and is its short form everywhere; the order of candidates at the test is a function of
    the seed and the user; no repetition penalty; weights are not in 8 bits; the epoch of SASRec is chosen by `collaborative_metric` in the
    full ranking, as SASRec itself is by default, so that its stage is the same.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.scored = "table"
        self.id_source = str(config["id_source"])
        self.as_tokens = config["vector_norm"] == "tokens"
        narrow = self.items.embedding_dim
        read = narrow if self.id_source == "recon" else int(self.match["match_dim"])
        with self.drawn("projectors"):
            self.user_token = projector(narrow, self.backbone.width, nn.LeakyReLU())
            self.item_token = projector(read, self.backbone.width, nn.GELU())

    def item_input(self, items: torch.Tensor) -> torch.Tensor:
        """[S, d] vectors of items that go into the autoencoder of the matching."""
        return self.items.weight[items]

    @torch.no_grad()
    def item_reads(self, items: torch.Tensor) -> torch.Tensor:
        """[S, .] z, or r, of items: what their projector reads."""
        z, r = self.matching.items(self.item_input(items))
        found: torch.Tensor = r if self.id_source == "recon" else z
        return found

    def item_vectors(self, items: torch.Tensor) -> torch.Tensor:
        """Projected z, or r."""
        read = self.item_reads(items)
        if self.as_tokens:
            every = self.item_reads(torch.arange(1, self.n_items, device=self.device))
            read = (read - every.mean(0)) / every.std(0).clamp_min(_LEAST)
        return self.sized(self.item_token(read))

    def user_vectors(self, states: torch.Tensor) -> torch.Tensor:
        """Projected states."""
        return self.sized(self.user_token(states))

    def sized(self, vectors: torch.Tensor) -> torch.Tensor:
        """[S, d_L] as they are, or as long as tokens."""
        return (
            self.token_length * functional.normalize(vectors, dim=1) if self.as_tokens else vectors
        )

    def before(self) -> list[Stage | Computed]:
        """SASRec's and the matching, which read neither titles nor the backbone."""
        sasrec, matching = super().before()
        assert isinstance(matching, Stage)
        read = ("data", "split", "valid_rows", "text", "encoder")
        return [sasrec, replace(matching, reads=read)]

    def told_of_vectors(self) -> dict[str, Any]:
        """What the vectors at the slots depend on beside the stages before."""
        # As with `since` of the key: a stage that does not have it was trained free.
        norm = {"vector_norm": "tokens"} if self.as_tokens else {}
        return {"tokens": "user, item", "id_source": self.id_source, **norm}

    def last_stage(self) -> Stage:
        """The projectors."""
        user, item = self.learnt()
        return Stage(
            name="projection",
            trainable=("user_token", "item_token"),
            loader=Windows(
                user,
                item,
                self.longest,
                int(self.llm["projection_batch_rows"]),
                device=self.device,
            ),
            loss=self.projection_loss,
            fingerprint={**self.told(), **self.told_of_vectors()},
            epochs=int(self.llm["projection_epochs"]),
            learning_rate=float(self.llm["projection_learning_rate"]),
            rows=lambda batch: len(batch[0]),
        )

    def projection_loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the answers' tokens of a batch of histories."""
        users, seen, following = batch
        targets = following[:, -1].tolist()
        pairs = zip(users.tolist(), targets, strict=True)
        candidates = [self.candidates_of(user, target) for user, target in pairs]
        with torch.no_grad():
            states = self.states(seen, 1)[:, 0]
        return self.answer_loss(self.asked(unpadded(seen), candidates, states), states, targets)
