"""A sequential model with a sparse autoencoder of its item vectors, in users and items that count from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.data.interactions import Interactions
from recbole_ext.recbole_compat.bench import Bench
from recbole_ext.recbole_compat.scoring import histories_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from recbole_ext.sae.tied import TiedCoder


class HasLatents(Protocol):
    """What a model has that offers `registry.LATENTS`."""

    sae: TiedCoder
    items: nn.Embedding
    """[n_items + 1, d], the padding item's first."""

    def user_states(self, histories: Sequence[Sequence[int]]) -> torch.Tensor:
        """[B, d] of histories in RecBole's ids, the latest item last."""


class Latents:
    """A trained model's item codes, and the latents that items and users are labelled by: those of the k largest values."""

    def __init__(
        self, model: Any, bench: Bench, data: Interactions, history: tuple[Ints, Ints]
    ) -> None:
        """`history`: (user, item) pairs that users are known by."""
        self._model: HasLatents = model.eval()
        self._history_of = histories_of(bench, data, history)
        self.count = int(self._model.sae.encoder.shape[0])
        self.k = self._model.sae.k

    def history(self, user: int) -> Ints:
        """The latest items of a user that the model reads, oldest first."""
        return self._history_of(user)

    def vectors(self) -> torch.Tensor:
        """[n_items, d] what the coder was trained on."""
        return self._model.items.weight.detach()[1:]

    def codes(self) -> torch.Tensor:
        """[n_items, h] of all items, signed."""
        return self._model.sae.code(self.vectors()).detach()

    def labels(self, items: Ints) -> Ints:
        """[n, k] latents of items, the largest first."""
        return np.asarray(self._model.sae.labels(self.vectors()[items]).cpu().numpy())

    def user_labels(self, user: int) -> Ints:
        """[k] latents of a user's state, the largest first."""
        import torch

        with torch.no_grad():
            state = self._model.user_states([(self.history(user) + 1).tolist()])
            return np.asarray(self._model.sae.labels(state)[0].cpu().numpy())
