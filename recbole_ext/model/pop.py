"""Pop: the most popular items for everyone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType


class Pop(GeneralRecommender):  # type: ignore[misc]
    """Every user's scores are the items' numbers of training interactions.

    Deviations: none. RecBole's own, `Pop@recbole`, adds one per batch in which an item occurs, as a positive or as a
    sampled negative, so that its scores depend on the batch size and the seed.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.training_matrix = dataset.inter_matrix(form="csr")
        self.register_buffer("counts", torch.zeros(self.n_items))

    def solve(self) -> None:
        """Count."""
        counts = np.asarray(self.training_matrix.sum(axis=0)).ravel()
        self.counts = torch.from_numpy(counts.astype(np.float32)).to(self.device)

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """[B * n_items] scores of every item."""
        return self.counts.repeat(len(interaction))

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] scores of the given items."""
        return self.counts[interaction[self.ITEM_ID]]
