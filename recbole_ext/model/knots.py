"""From Knots to Knobs: a sparse autoencoder between the encoder and the decoder of a collaborative autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Stage
from recbole_ext.model.collaborative_autoencoder import CollaborativeAutoencoder
from recbole_ext.model.elsa import ELSA
from recbole_ext.model.multvae import MultVAE
from recbole_ext.model.profiles import Shuffled, Users, in_batches
from recbole_ext.sae.coder import SparseCoder

_CODER = ("sae", "width_ratio", "k", "l1", "recon_loss", "sae_target", "aux_coef", "augment")
"""What the second stage depends on beside its batches."""


class _Knots(CollaborativeAutoencoder):
    """Spišák, Škoda, Vančura, Alves, Peška, "From Knots to Knobs: Towards Steerable Collaborative Filtering Using Sparse
    Autoencoders", arXiv 2601.11182, by the authors' published code; the paper itself was not at hand.

    Stage `cfae` is that of the model below it and is shared with it. Stage `sae` trains a sparse coder
    (`sae/coder.py`) on encode(x) [B, d] of training users, everything else frozen, until its loss on validation users' rows has not
    fallen for `sae_patience` epochs. Scores are decode(SAE(encode(x)), x).

    Switches: `sae` (none, basic, topk, batchtopk), `width_ratio` (latents / d), `k`, `l1`, `recon_loss`, `sae_target`, `rescale`, of
    which see the coder; `augment` (ours): each time a user is trained on, up to this share of its items is left out.

    Deviations: early stopping reads validation users' whole rows but for the test part, which is our reading. Epochs are ours:
    the authors' 250 are of 130,000 training users.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        d = int(config["embedding_size"])
        latents = round(float(config["width_ratio"]) * d)
        self.coded = str(config["sae"]) != "none"
        if self.coded and config["sae"] != "basic" and int(config["k"]) > latents:
            raise HarnessError(
                f"--k={config['k']} of {latents:,} neurons (width_ratio {config['width_ratio']} x embedding_size {d}): "
                "k must not be above that"
            )
        self.coder = {key: config[key] for key in (*_CODER, "sae_batch_size")}
        self.coder_epochs, self.coder_patience = (
            int(config["sae_epochs"]),
            int(config["sae_patience"]),
        )
        self.coder_rate = float(config["sae_learning_rate"])
        self.sae = SparseCoder(
            d, latents, str(config["sae"]), int(config["k"]), bool(config["rescale"])
        )

    def stages(self) -> list[Stage]:
        """The collaborative autoencoder's, then the coder's."""
        if not self.coded:
            return super().stages()
        batches = _Embeddings(self)
        return [
            *super().stages(),
            Stage(
                name="sae",
                trainable=("sae",),
                loader=batches,
                loss=lambda z: self._coder_loss(z, float(self.coder["aux_coef"])),
                fingerprint=self.coder,
                epochs=self.coder_epochs,
                learning_rate=self.coder_rate,
                betas=(0.9, 0.99),
                unit_rows=("sae.decoder",),
                validate=lambda: (
                    -self.mean_over(
                        lambda x: self._coder_loss(self.encode(x)), self.validation_rows()
                    )
                ),
                patience=self.coder_patience or None,
            ),
        ]

    def _coder_loss(self, z: torch.Tensor, auxiliary: float = 0.0) -> torch.Tensor:
        keys = self.coder
        return self.sae.loss(
            z, str(keys["recon_loss"]), str(keys["sae_target"]), float(keys["l1"]), auxiliary
        )

    def represent(self, x: torch.Tensor) -> torch.Tensor:
        """[B, d] of rows x [B, n], through the coder."""
        z = self.encode(x)
        made: torch.Tensor = self.sae(z) if self.coded else z
        return made

    def measures(self) -> dict[str, float]:
        """Of the coder, over what test and validation users' rows are scored from: `l0` active neurons of a user, `cosine` of what it
        makes with what it was given, and over all neurons `live`, those that some training user or some single item excites."""
        if not self.coded:
            return {}
        users = np.setdiff1d(np.flatnonzero(np.diff(self.rows.indptr)), self.trained_users)
        if not len(users):
            users = self.trained_users
        active, cosine = 0.0, 0.0
        with torch.no_grad():
            for z in self._embedded(users):
                active += float((self.sae.code(z)[0] > 0).sum())
                cosine += float(torch.cosine_similarity(z, self.sae(z)).sum())
            live = torch.zeros(len(self.sae.silent), dtype=torch.bool, device=self.device)
            for z in self._embedded(self.trained_users):
                live |= (self.sae.code(z)[0] > 0).any(0)
            for items in in_batches(np.arange(self.n_items - 1), self.batch_size):
                live |= (self.sae.code(self.encode(self._alone(items)))[0] > 0).any(0)
        return {
            "l0": active / len(users),
            "cosine": cosine / len(users),
            "neurons": float(len(live)),
            "live": float(live.sum()),
        }

    def _alone(self, items: Users) -> torch.Tensor:
        """[B, n] the rows of somebody who has one item."""
        x = torch.zeros(len(items), self.n_items - 1, device=self.device)
        x[torch.arange(len(items)), torch.from_numpy(items)] = 1.0
        return x

    def _embedded(self, users: Users) -> Iterator[torch.Tensor]:
        for batch in in_batches(users, self.batch_size):
            yield self.encode(self.dense(self.rows, batch))


class _Embeddings:
    """Batches of training users' embeddings [B, d], made once where each user is always the same."""

    def __init__(self, model: _Knots) -> None:
        self.model = model
        self.left_out = float(model.coder["augment"])
        self.users = Shuffled(model.trained_users, int(model.coder["sae_batch_size"]))
        self._known: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.users)

    def __call__(self, generator: torch.Generator) -> Iterator[torch.Tensor]:
        model = self.model
        for users in self.users(generator):
            if self.left_out:
                rows = model.interactions[users]
                share = torch.rand(len(users), generator=generator).numpy() * self.left_out
                drawn = torch.rand(rows.nnz, generator=generator).numpy()
                kept = drawn >= share.repeat(np.diff(rows.indptr))
                rows.data = kept.astype(np.float32)
                with torch.no_grad():
                    z = model.encode(model.dense(rows, np.arange(len(users))))
                yield z
            else:
                yield self._all()[users]

    def _all(self) -> torch.Tensor:
        """[n_users, d], zeros where a user has nothing in training."""
        if self._known is None:
            model = self.model
            with torch.no_grad():
                found = torch.zeros(model.n_users, model.sae.encoder.shape[0], device=model.device)
                for users in in_batches(model.trained_users, model.batch_size):
                    found[users] = model.encode(model.dense(model.interactions, users))
            self._known = found
        return self._known


class KnotsELSA(_Knots, ELSA):
    __doc__ = _Knots.__doc__


class KnotsMultVAE(_Knots, MultVAE):
    __doc__ = _Knots.__doc__
