"""A model of clicks: the chance that a pair has label 1."""

from __future__ import annotations

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType, ModelType

from recbole_ext.core.errors import HarnessError


class Clicks(GeneralRecommender):
    """The share of ones among an item's training labels, `prior` of each kind added."""

    type = ModelType.TRADITIONAL
    input_type = InputType.POINTWISE
    probabilities = True

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        if dataset.labels is None:
            raise HarnessError("Clicks learns from labels, and the data has none")
        items = dataset.inter_feat[self.ITEM_ID].numpy()
        counts, ones = (
            np.bincount(items, weights=weights, minlength=self.n_items) + prior * config["prior"]
            for weights, prior in ((np.ones(len(items)), 2), (dataset.labels, 1))
        )
        self.share = torch.from_numpy(ones / counts)
        self.register_buffer("chance", torch.zeros(self.n_items, dtype=torch.float64))

    def solve(self) -> None:
        self.chance.copy_(self.share)

    def predict(self, interaction) -> torch.Tensor:
        """[N] chances of the pairs."""
        return self.chance[interaction[self.ITEM_ID]]
