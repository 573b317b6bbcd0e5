"""A-LLMRec's first stage: an autoencoder of item vectors and one of item texts that meet in the middle, beside SASRec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.sasrec import SASRec
from recbole_ext.model.sequences import Batch, Windows
from recbole_ext.model.tuned_encoder import TunedEncoder

_KEYS = ("match_dim", "match_items", "match_text", "match_batch_size", "text_encoder")
"""What the stage depends on beside its batches and the stage before."""


class Autoencoder(nn.Module):
    """z = σ(x W + b) [.., latents], r = z W' + b' [.., width]."""

    def __init__(self, width: int, latents: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(width, latents), nn.Linear(latents, width)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """z of x [.., width]."""
        return torch.sigmoid(self.encoder(x))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(z, r) of x [.., width]."""
        z = self.encode(x)
        return z, self.decoder(z)


@dataclass(frozen=True)
class MatchingLoss:
    """Parts of the loss of a batch, each a mean; those of positive and negative items are added."""

    recommendation: torch.Tensor
    """-log σ(mean_k o_k r_pk) - log σ(-mean_k o_k r_qk)."""
    matching: torch.Tensor
    """Between the z of an item's vector and that of its text: mean square."""
    items: torch.Tensor
    """Between an item's vector and its r."""
    text: torch.Tensor
    """Between an item's text vector and its r."""

    def total(self, items: float, text: float) -> torch.Tensor:
        """With the weights of the two reconstructions."""
        return self.recommendation + self.matching + items * self.items + text * self.text


class Matching(nn.Module):
    """The two autoencoders of A-LLMRec, "Large Language Models meet Collaborative Filtering", KDD 2024, as in its code."""

    def __init__(self, width: int, text_width: int, latents: int) -> None:
        super().__init__()
        self.items, self.text = Autoencoder(width, latents), Autoencoder(text_width, latents)

    def loss(
        self,
        states: torch.Tensor,
        items: tuple[torch.Tensor, torch.Tensor],
        texts: tuple[torch.Tensor, torch.Tensor],
    ) -> MatchingLoss:
        """Of users' states [B, d], the vectors [B, d] of a positive and a negative item of each, and their text vectors [B, D].

        The logit is the mean of the products, not their sum, as in the authors' code; it and the reconstructions are of the decoder's output,
        where SAULREC writes the encoder's, whose size does not fit.
        """
        parts = []
        for sign, x, text in zip((1.0, -1.0), items, texts, strict=True):
            z, r = self.items(x)
            z_text, r_text = self.text(text)
            logit = (states * r).mean(1)
            parts.append(
                torch.stack(
                    [
                        functional.softplus(-sign * logit).mean(),
                        functional.mse_loss(z, z_text),
                        functional.mse_loss(r, x),
                        functional.mse_loss(r_text, text.detach()),
                    ]
                )
            )
        return MatchingLoss(*(parts[0] + parts[1]))


class MatchedSASRec(SASRec):
    """SASRec, frozen, and A-LLMRec's matching of its item table with sentence embeddings: what ALLMRec stands on, by itself.

    Stage `collaborative` is SASRec's and shared with it. Stage `matching` takes the last place of each training history: the state o of
    what is before it, the item p there, and a drawn item q that the user has not; Adam at 1e-4, betas .9 and .98, the last epoch is kept.
    Scores are <o, r_i>, which the recommendation term trains; `scored: table` are SASRec's <o, x_i>.

    `text_encoder: finetuned`, as in the authors' code: MiniLM's weights move in the stage `matching` too, by the same optimiser, and are
    kept with it; a text's vector is a constant where it is to be put together again. Nothing after the stage reads them.

    Deviations: by default the text encoder is frozen, so that its vectors are made once; a tuned one draws no dropout; which encoder
    reads the items is `--encoder`; their chunks of 60 samples never divide a batch of 32 and are left out. Scoring by r is ours.
    """

    tuned: TunedEncoder | None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.match: dict[str, Any] = {key: config[key] for key in _KEYS}
        self.match_epochs = int(config["match_epochs"])
        self.match_rate = float(config["match_learning_rate"])
        self.scored = str(config["scored"])
        if self.softmax:
            self.negatives = self._negatives(dataset)
        text = dataset.item_vectors.float()
        self.register_buffer("text", text, persistent=False)
        self.matching = Matching(
            self.items.embedding_dim, text.shape[1], int(self.match["match_dim"])
        )
        self.tuned = None
        if self.match["text_encoder"] == "finetuned":
            if config["encoder"] != "minilm":
                raise HarnessError(
                    f"--text_encoder=finetuned tunes MiniLM, not --encoder={config['encoder']}: --encoder=minilm, or --text_encoder=frozen"
                )
            self.tuned = TunedEncoder(["", *dataset.item_texts()], str(self.device))

    def stages(self) -> list[Stage | Computed]:
        """SASRec's, then the matching."""
        size = int(self.match["match_batch_size"])
        return [
            *super().stages(),
            Stage(
                name="matching",
                trainable=("matching",) if self.tuned is None else ("matching", "tuned"),
                loader=Windows(self.user, self.item, self.longest, size, device=self.device),
                loss=self.matching_loss,
                fingerprint=self.match
                if self.tuned is None
                else {**self.match, "tuned": self.tuned.identity},
                epochs=self.match_epochs,
                learning_rate=self.match_rate,
                betas=(0.9, 0.98),
                rows=lambda batch: len(batch[0]),
            ),
        ]

    def matching_loss(self, batch: Batch) -> torch.Tensor:
        """Of the last places of a batch of histories."""
        users, seen, following = batch
        positive, negative = following[:, -1], self.negatives(users, 1)[:, 0]
        with torch.no_grad():
            states = self.states(seen, 1)[:, 0]
        table = self.items.weight.detach()
        found = self.matching.loss(
            states,
            (table[positive], table[negative]),
            (self.text_vectors(positive), self.text_vectors(negative)),
        )
        return found.total(float(self.match["match_items"]), float(self.match["match_text"]))

    def text_vectors(self, items: torch.Tensor) -> torch.Tensor:
        """[B, D] of items' texts."""
        if self.tuned is not None:
            found: torch.Tensor = self.tuned(items)
            return found
        frozen: torch.Tensor = self.text[items]
        return frozen

    @property
    def item_latents(self) -> torch.Tensor:
        """z [n_items, match_dim] of the item table: what A-LLMRec's projector reads."""
        return self.matching.items.encode(self.items.weight)

    @property
    def item_table(self) -> torch.Tensor:
        """[n_items, d] that scores are made with."""
        if self.scored == "table":
            return self.items.weight
        made: torch.Tensor = self.matching.items(self.items.weight)[1]
        return made

    def collaborative_score(self) -> float:
        """Of SASRec's own table."""
        before, self.scored = self.scored, "table"
        try:
            return super().collaborative_score()
        finally:
            self.scored = before
