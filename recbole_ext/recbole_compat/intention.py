"""Scores of users who say in words what they want, by a model that takes a query."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.recbole_compat.bench import Bench
from recbole_ext.recbole_compat.folding import folded_in

if TYPE_CHECKING:
    import torch


class TakesQueries(Protocol):
    """What a model has that offers `registry.INTENTION`."""

    def intending(
        self, users: torch.Tensor, queries: torch.Tensor, alpha: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors [n_users, d] and [n_items, d], padding in row 0, whose inner products are the scores.

        Args:
            users: [B] RecBole ids.
            queries: [B, D] text vectors of what each of them asks for.
            alpha: weight of the query; with 0 the scores are those without it.
        """


class Intentions:
    """A trained model that takes queries, in users and items that count from 0."""

    def __init__(self, model: Any, bench: Bench) -> None:
        self._model: TakesQueries = folded_in(model, bench).eval()
        self._device = bench.config["device"]
        self.width: int = bench.dataset.item_vectors.shape[1]
        """D of a query's vector: that of the item texts."""

    def scores(
        self, users: Ints, queries: npt.NDArray[np.float32], alpha: float
    ) -> Callable[[Ints], torch.Tensor]:
        """Users [C] -> scores [C, n_items] of every item, when all of `users` ask at once.

        Args:
            users: [B] who asks.
            queries: [B, D] text vectors of what each asks for.
            alpha: weight of the query, from 0 to 1.
        """
        import torch

        asking = torch.from_numpy(users + 1).to(self._device)
        with torch.no_grad():
            left, right = self._model.intending(
                asking, torch.from_numpy(queries).to(self._device), alpha
            )

        def of(some: Ints) -> torch.Tensor:
            return left[torch.from_numpy(some + 1).to(self._device)] @ right[1:].T

        return of
