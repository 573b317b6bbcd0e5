"""SASRec with its item vectors put together again by a sparse autoencoder: what the coder costs, without a language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.profiles import Shuffled
from recbole_ext.model.sasrec import SASRec
from recbole_ext.model.sequences import Batch
from recbole_ext.sae.tied import TiedCoder

_CODER = ("sae_dim", "sae_k", "sae_beta", "sae_tied", "sae_standardise", "sae_batch_size")
"""What the second stage depends on beside the first one."""


def coder_keys(config: Any) -> dict[str, Any]:
    """What a model's coder and its training are made of.

    Raises:
        HarnessError: more latents are to be kept of an item than there are.
    """
    latents, k = int(config["sae_dim"]), int(config["sae_k"])
    if k > latents:
        raise HarnessError(
            f"--sae_k={k} of --sae_dim={latents} latents: sae_k must not be above that"
        )
    return {key: config[key] for key in (*_CODER, "sae_epochs", "sae_learning_rate")}


def made_coder(keys: dict[str, Any], width: int) -> TiedCoder:
    """An untrained coder of vectors [.., width]."""
    return TiedCoder(
        width,
        int(keys["sae_dim"]),
        int(keys["sae_k"]),
        bool(keys["sae_tied"]),
        bool(keys["sae_standardise"]),
    )


def coder_stage(model: Any, keys: dict[str, Any], **fingerprint: Any) -> Stage:
    """The training of `model.sae` on `model.items`; `fingerprint` is what its weights depend on beside the keys."""
    beta = float(keys["sae_beta"])
    return Stage(
        name="sae",
        trainable=("sae",),
        loader=Shuffled(np.arange(1, model.n_items), int(keys["sae_batch_size"])),
        loss=lambda items: model.sae.loss(model.items.weight[items], beta),
        fingerprint={"coder": "tied", **{key: keys[key] for key in _CODER}, **fingerprint},
        epochs=int(keys["sae_epochs"]),
        learning_rate=float(keys["sae_learning_rate"]),
    )


def coder_measures(sae: TiedCoder, x: torch.Tensor) -> dict[str, float]:
    """Of vectors x [n, d]: see `SASRecSAE.measures`."""
    with torch.no_grad():
        missed = (x - sae(x)).square().sum()
        error = float(missed / (x - x.mean(0)).square().sum().clamp_min(1e-12))
        fires = sae.code(x) != 0
    return {"error": error, **_of_latents(fires.cpu().numpy())}


class SASRecSAE(SASRec):
    """SAULREC's sparse autoencoder (eq. 5-8, `sae/tied.py`) on SASRec's frozen item table, scored by SASRec itself with x̂ for x.

    The stage `collaborative` is SASRec's and shared with it; `sae` trains the coder on the vectors of all items of the catalogue, by Adam,
    and its last epoch is kept. `coded` says where x̂ stands for x: `all`, where histories are read and where candidates are scored;
    `candidates`, the second only, the user's state being what SAUL-D leaves as it is; `none`, nowhere, which are SASRec's scores.

    Ours: the paper tells neither beta nor how the coder is trained: Adam 1e-3, batches of 1,024, 200 epochs, and beta by `--tune`.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.coder = coder_keys(config)
        self.coded = str(config["coded"])
        self.sae = made_coder(self.coder, self.items.embedding_dim)

    @contextmanager
    def _uncoded(self) -> Iterator[None]:
        """Vectors and scores are SASRec's in here."""
        before, self.coded = self.coded, "none"
        try:
            yield
        finally:
            self.coded = before

    def loss(self, batch: Batch) -> torch.Tensor:
        """SASRec's."""
        with self._uncoded():
            return super().loss(batch)

    def collaborative_score(self) -> float:
        """SASRec's."""
        with self._uncoded():
            return super().collaborative_score()

    def stages(self) -> list[Stage | Computed]:
        """SASRec's, then the coder's."""
        return [*super().stages(), coder_stage(self, self.coder)]

    def rebuilt(self) -> torch.Tensor:
        """x̂ [n_items, d], 0 for the padding item."""
        made = self.sae(self.items.weight)
        return torch.cat([torch.zeros_like(made[:1]), made[1:]])

    @property
    def item_table(self) -> torch.Tensor:
        """[n_items, d] that scores are made with."""
        return self.items.weight if self.coded == "none" else self.rebuilt()

    def vectors(self, items: torch.Tensor) -> torch.Tensor:
        """[.., d] of items that are read."""
        return self.rebuilt()[items] if self.coded == "all" else super().vectors(items)

    def measures(self) -> dict[str, float]:
        """Of the coder, over all items: `error`, the share of the vectors' variance around their mean that x̂ misses; `live`, the share of
        latents that some item has; `overlap`, the mean over pairs of these of how many of the items that have either have both."""
        return coder_measures(self.sae, self.items.weight[1:])


def _of_latents(fires: Ints) -> dict[str, float]:
    """`live` and `overlap` of [n, h], which items have which latents."""
    jaccard = overlaps(fires)
    live = len(jaccard)
    pairs = live * (live - 1)
    overlap = (jaccard.sum() - live) / pairs if pairs else 0.0
    return {"live": live / fires.shape[1], "overlap": float(overlap)}


def overlaps(fires: Ints) -> Floats:
    """[live, live] of the items that have either of two latents the share that have both, of [n, h], which items have which."""
    of = fires[:, fires.any(0)].astype(np.float32)
    both = of.T @ of
    alone = both.diagonal()
    found: Floats = both / (alone[:, None] + alone[None] - both)
    return found
