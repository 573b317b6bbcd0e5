"""A model that scores the items of a given list, and has no score of every item."""

from __future__ import annotations

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType, ModelType

from recbole_ext.recbole_compat import training_pairs


class Chooser(GeneralRecommender):
    """The more a candidate occurs in training, the better; `taste` turns that round where it is negative."""

    type = ModelType.TRADITIONAL
    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        _, items = training_pairs(dataset)
        self.taste = config["taste"]
        self.counts = np.bincount(items, minlength=self.n_items)
        self.register_buffer("liking", torch.zeros(self.n_items))

    def solve(self) -> None:
        self.liking.copy_(torch.from_numpy(self.counts * self.taste))

    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """[p, m + 1] scores of `items` [p, m + 1]."""
        return self.liking[items]
