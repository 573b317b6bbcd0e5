"""SAULREC: a sparse autoencoder of SASRec's items in A-LLMRec's prompts, as numbers of latents or in the vectors' place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.allmrec import ALLMRec
from recbole_ext.model.sasrec_sae import coder_keys, coder_measures, coder_stage, made_coder


class CodedALLMRec(ALLMRec):
    """A-LLMRec with a coder (methods 3.4, `sae/tied.py`), which is trained on the frozen item table before the projectors.

    The stage `sae` reads SASRec's only and is one for all models here; it is not SASRecSAE's, whose coder begins from other weights.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        coder = coder_keys(config)  # refused before anything is loaded
        super().__init__(config, dataset)
        self.coder = coder
        with self.drawn("sae"):
            self.sae = made_coder(coder, self.items.embedding_dim)

    def before(self) -> list[Stage | Computed]:
        """A-LLMRec's, and the coder's."""
        made = coder_stage(self, self.coder, start="by name")
        read = ("data", "split", "valid_rows")
        return [*super().before(), replace(made, after=("collaborative",), reads=read)]

    def measures(self) -> dict[str, float]:
        """Of the vectors, and of the coder; see `SASRecSAE.measures`."""
        return {**super().measures(), **coder_measures(self.sae, self.items.weight[1:])}


class SAULA(CodedALLMRec):
    """SAUL-A (methods 3.5): behind the vector of the user and of each item of the prompt stand the numbers of its k latents of largest
    values, the largest first, as text: "[3, 17, 200]". The vectors are A-LLMRec's. A user's latents are the coder's of its state.

    `labels_for` says behind whose. `shuffle_labels`, a control of ours, gives items the numbers of others, and users numbers that are
    permuted among the latents.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.labels_for, self.shuffled = str(config["labels_for"]), bool(config["shuffle_labels"])
        self.label_of = self.permuted("labels", self.shuffled)
        with self.drawn("latents"):
            order = torch.randperm(self.sae.encoder.shape[0])
        self.latent_of = order if self.shuffled else torch.arange(len(order))

    @torch.no_grad()
    def item_labels(self, items: Sequence[int]) -> list[str]:
        """By the coder as it is at this moment."""
        if self.labels_for == "user":
            return super().item_labels(items)
        places = self.label_of[list(items)].to(self.device)
        return [_written(row) for row in self.sae.labels(self.items.weight[places]).tolist()]

    @torch.no_grad()
    def user_labels(self, states: torch.Tensor) -> list[str]:
        """By the coder as it is at this moment."""
        if self.labels_for == "item":
            return super().user_labels(states)
        found = self.sae.labels(states).cpu()
        return [_written(row) for row in self.latent_of[found].tolist()]

    def told_of_vectors(self) -> dict[str, Any]:
        """And the labels."""
        told = {"labels_for": self.labels_for, "shuffle_labels": self.shuffled}
        return {**super().told_of_vectors(), **told}


class SAULD(CodedALLMRec):
    """SAUL-D (methods 3.5): the vector behind each title is made of x̂, what the coder makes of the item's x: projector(z(x̂)), or
    projector(r(x̂)) with `id_source: recon`. The user's is made of its state as it is.

    The paper does not say on which side of the matching's autoencoder x̂ stands; before it, since the coder is of SASRec's vectors and that
    autoencoder stays as it is. `rebuilt: noise`, a control of ours: in place of x̂ stands x and noise of the length of x̂'s error, drawn once.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.rebuilt = str(config["rebuilt"])
        with self.drawn("noise"):
            noise = torch.randn(self.items.weight.shape)
        self.register_buffer("noise", noise / noise.norm(dim=1, keepdim=True), persistent=False)

    def item_input(self, items: torch.Tensor) -> torch.Tensor:
        """[S, d] x̂, or the control in its place."""
        x = self.items.weight[items]
        made: torch.Tensor = self.sae(x)
        if self.rebuilt == "sae":
            return made
        control: torch.Tensor = x + (x - made).norm(dim=1, keepdim=True) * self.noise[items]
        return control

    def told_of_vectors(self) -> dict[str, Any]:
        """And what stands for x."""
        return {**super().told_of_vectors(), "rebuilt": self.rebuilt}


def _written(latents: list[int]) -> str:
    return "[" + ", ".join(map(str, latents)) + "]"
