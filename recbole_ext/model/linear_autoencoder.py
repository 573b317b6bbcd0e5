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
    matrices = 2
    """n x n matrices alive at once beside the Gram matrix, in the working precision."""

    @classmethod
    def planned_bytes(cls, n_items: int, precision: str) -> int:
        """Peak memory of a fit for a catalogue; `auto` is planned as float64, which it may need."""
        width = 4 if precision == "float32" else 8
        return (n_items + 1) ** 2 * (4 + cls.matrices * width)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        interactions = dataset.inter_matrix(form="csr").astype(np.float32)
        interactions.data[:] = 1.0
        self.interactions = interactions
        """[n_users, n_items] scipy csr."""
        self.register_buffer("item_matrix", torch.zeros(self.n_items, self.n_items))

    def rows_times(self, users: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        """x_u M for users [B] and M [n_items, n]: [B, n] in the matrix's dtype, on its device."""
        rows = self.interactions[users.cpu().numpy()]
        sparse = torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr.astype(np.int64)),
            torch.from_numpy(rows.indices.astype(np.int64)),
            torch.from_numpy(rows.data).to(matrix.dtype),
            size=rows.shape,
            device=matrix.device,
        )
        return sparse @ matrix

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """[B * n_items] scores of every item."""
        return self.rows_times(interaction[self.USER_ID], self.item_matrix).flatten()

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] scores of the given items; computed for whole rows of distinct users, then picked."""
        users, where = torch.unique(interaction[self.USER_ID], return_inverse=True)
        scores = self.rows_times(users, self.item_matrix)
        return scores[where.to(scores.device), interaction[self.ITEM_ID].to(scores.device)]
