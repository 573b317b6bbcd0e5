"""What collaborative autoencoders (CFAEs) share: an encoder of a user's items, a decoder, and how both are trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ext.core.sparse import by_rows
from recbole_ext.core.stage import Stage
from recbole_ext.model.profiles import ProfileRecommender, Shuffled, Users, in_batches

_KEYS = ("embedding_size", "train_batch_size")


class CollaborativeAutoencoder(ProfileRecommender):
    """scores(u) = decode(represent(x_u), x_u) with represent = encode, all without the padding item.

    A subclass gives `encode`, `decode`, `training_loss` and `loss`, and names its parameters in `trainable`. It is trained in
    one stage, `cfae`, by Adam on the rows of training users, until the loss on the rows of validation users (all that they have
    but for their test part) has not fallen for `stopping_step` epochs; the weights of its lowest value are kept. Stopping by
    that loss and not by a metric is the authors' of "From Knots to Knobs".
    """

    trainable: tuple[str, ...]
    unit_rows: tuple[str, ...] = ()
    betas = (0.9, 0.999)
    own_keys: tuple[str, ...] = ()
    """Parameters beside the common ones that the stage depends on."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.settings: dict[str, Any] = {key: config[key] for key in (*_KEYS, *self.own_keys)}
        self.epochs, self.patience = int(config["epochs"]), int(config["stopping_step"])
        self.learning_rate = float(config["learning_rate"])
        self.batch_size = int(config["train_batch_size"])
        self.validation_rows: Callable[[], sp.csr_matrix] = dataset.validation_rows

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """[B, d] of rows x [B, n]."""
        raise NotImplementedError

    def decode(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """[B, n] scores of representations z [B, d] of rows x [B, n]."""
        raise NotImplementedError

    def training_loss(self, x: torch.Tensor) -> torch.Tensor:
        """Mean over rows x [B, n], with whatever is random in training."""
        raise NotImplementedError

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Mean over rows x [B, n], nothing random in it: what the stage stops by."""
        raise NotImplementedError

    def represent(self, x: torch.Tensor) -> torch.Tensor:
        """[B, d] that is decoded."""
        return self.encode(x)

    def stages(self) -> list[Stage]:
        """The one stage of training."""
        return [
            Stage(
                name="cfae",
                trainable=self.trainable,
                loader=Shuffled(self.trained_users, self.batch_size),
                loss=lambda users: self.training_loss(self.dense(self.interactions, users)),
                fingerprint={"cfae": self.cfae, **self.settings},
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                betas=self.betas,
                unit_rows=self.unit_rows,
                validate=lambda: -self.mean_over(self.loss, self.validation_rows()),
                patience=self.patience or None,
                after=(),
            )
        ]

    @property
    def cfae(self) -> str:
        """Its name, which a model built over it shares with it."""
        raise NotImplementedError

    @cached_property
    def trained_users(self) -> Users:
        """Users that have something in training."""
        return np.flatnonzero(np.diff(self.interactions.indptr))

    def dense(self, rows: sp.csr_matrix, users: Users) -> torch.Tensor:
        """[B, n] of users' rows [n_users, n + 1], without the padding item."""
        return by_rows(rows[users], torch.float32, self.device).to_dense()[:, 1:]

    def profiles(self, users: Users) -> torch.Tensor:
        """x [B, n] that users are scored from."""
        return self.dense(self.rows, users)

    def mean_over(
        self, measured: Callable[[torch.Tensor], torch.Tensor], rows: sp.csr_matrix
    ) -> float:
        """The mean over users with something in `rows` of what is a mean over rows x [B, n]; no number where there are none."""
        users, total = np.flatnonzero(np.diff(rows.indptr)), 0.0
        with torch.no_grad():
            for batch in in_batches(users, self.batch_size):
                total += float(measured(self.dense(rows, batch))) * len(batch)
        return total / len(users) if len(users) else math.nan

    def scores_of(self, users: Users) -> torch.Tensor:
        """[B, n_items] of users (RecBole's ids), 0 for the padding item."""
        x = self.profiles(users)
        scores = self.decode(self.represent(x), x)
        return torch.cat([scores.new_zeros(len(scores), 1), scores], dim=1)
