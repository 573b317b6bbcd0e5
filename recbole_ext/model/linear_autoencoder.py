"""What EASE and L3AE share as RecBole models: a user's scores are its training row times an item matrix."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
# SciPy's rows are valid; saying so silences a warning.
torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]


class LinearAutoencoder(GeneralRecommender):  # type: ignore[misc]
    """scores(u) = x_u B with a binary training row x_u [n_items] and B [n_items, n_items], both with padding item 0.

    Subclasses set `item_matrix` in `solve`; duplicated interactions count once.
    """

    input_type = InputType.POINTWISE

    @classmethod
    def planned_bytes(cls, n_items: int, precision: str) -> int:
        """Peak memory of tuning for a catalogue: the Gram matrix, one inverse, and its float32 copy when it is float64.

        `auto` is planned as float64, which it may need.
        """
        return (n_items + 1) ** 2 * (8 if precision == "float32" else 16)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        interactions = dataset.inter_matrix(form="csr").astype(np.float32)
        interactions.data[:] = 1.0
        self.interactions = interactions
        """[n_users, n_items] scipy csr."""
        self.register_buffer("item_matrix", torch.zeros(self.n_items, self.n_items))

    def rows_times(self, users: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        """x_u M for users [B] and M [n_items, n]: [B, n] in the matrix's dtype, on its device."""
        return self._rows(users, matrix) @ matrix

    def _rows(self, users: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """x_u [B, n_items] as a sparse tensor in the dtype and on the device of `like`."""
        rows = self.interactions[users.cpu().numpy()]
        return torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr.astype(np.int64)),
            torch.from_numpy(rows.indices.astype(np.int64)),
            torch.from_numpy(rows.data).to(like.dtype),
            size=rows.shape,
            device=like.device,
        )

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """[B * n_items] scores of every item."""
        return self.rows_times(interaction[self.USER_ID], self.item_matrix).flatten()

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] scores of the given items; computed for whole rows of distinct users, then picked."""
        users, where = torch.unique(interaction[self.USER_ID], return_inverse=True)
        scores = self.rows_times(users, self.item_matrix)
        return scores[where.to(scores.device), interaction[self.ITEM_ID].to(scores.device)]
