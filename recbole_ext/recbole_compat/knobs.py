"""A model with a sparse autoencoder between its encoder and its decoder, in users and items that count from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.recbole_compat.bench import Bench
from recbole_ext.recbole_compat.folding import folded_in

if TYPE_CHECKING:
    import torch

    from recbole_ext.sae.coder import SparseCoder

_TOGETHER = 1024
"""Items whose profiles are encoded at once."""


class HasKnobs(Protocol):
    """What a model has that offers `registry.CONCEPTS`. Rows x are without the padding item."""

    sae: SparseCoder

    def profiles(self, users: Ints) -> torch.Tensor:
        """x [B, n] that users (RecBole's ids) are scored from."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """z [B, d] of x [B, n]."""

    def decode(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Scores [B, n] of z [B, d]."""


class Knobs:
    """A trained model's codes, and the scores that other codes would have; it is what `sae.steering_evaluation` calls steerable."""

    def __init__(self, model: Any, bench: Bench) -> None:
        self._model: HasKnobs = folded_in(model, bench).eval()
        self.n_items: int = bench.dataset.item_num - 1

    def embeddings(self, users: Ints) -> torch.Tensor:
        """z [B, d] of what users are scored from."""
        return self._model.encode(self._profiles(users)).detach()

    def codes(self, users: Ints) -> torch.Tensor:
        """e [B, h]."""
        return self.coded(self.embeddings(users))

    def coded(self, z: torch.Tensor) -> torch.Tensor:
        """e [B, h] of embeddings z [B, d]."""
        return self._model.sae.code(z)[0].detach()

    def made(self, users: Ints, codes: torch.Tensor) -> torch.Tensor:
        """ẑ [B, d] of codes [B, h] with the users' own mean and deviation; one user [1] may have many codes."""
        return self._model.sae.remade(codes, self.embeddings(users)).detach()

    def scores(self, users: Ints, codes: torch.Tensor) -> torch.Tensor:
        """[B, n_items] of codes [B, h]; those of `codes` give the scores that the model is ranked by. One user [1] may have many
        codes, and is encoded once."""
        x = self._profiles(users)
        return self._model.decode(self._model.sae.remade(codes, self._model.encode(x)), x).detach()

    def decoded(self, users: Ints, z: torch.Tensor) -> torch.Tensor:
        """[B, n_items] scores of embeddings z [B, d] in the place of the users' own."""
        return self._model.decode(z, self._profiles(users)).detach()

    def plain(self, users: Ints) -> torch.Tensor:
        """[B, n_items] scores without the autoencoder."""
        x = self._profiles(users)
        return self._model.decode(self._model.encode(x), x).detach()

    def item_embeddings(self) -> torch.Tensor:
        """[n_items, d] z of the profiles that hold one item each."""
        import torch

        parts = []
        for first in range(0, self.n_items, _TOGETHER):
            count = min(_TOGETHER, self.n_items - first)
            x = torch.zeros(count, self.n_items, device=self._model.sae.decoder.device)
            x[torch.arange(count), torch.arange(first, first + count)] = 1.0
            parts.append(self._model.encode(x).detach())
        return torch.cat(parts)

    def item_codes(self) -> torch.Tensor:
        """E [n_items, h] of the profiles that hold one item each."""
        return self.coded(self.item_embeddings())

    def _profiles(self, users: Ints) -> torch.Tensor:
        return self._model.profiles(np.asarray(users) + 1)
