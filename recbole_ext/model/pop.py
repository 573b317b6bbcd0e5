"""Pop: the most popular items for everyone."""

from __future__ import annotations

from typing import Any

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
        self.training_items = dataset.inter_feat[dataset.iid_field]
        self.register_buffer("counts", torch.zeros(self.n_items))

    def solve(self) -> None:
        """Count."""
        counts = torch.bincount(self.training_items, minlength=self.n_items)
        self.counts = counts.float().to(self.device)

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """[B * n_items] scores of every item."""
        return self.counts.repeat(len(interaction))

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] scores of the given items."""
        return self.counts[interaction[self.ITEM_ID]]


class RandomPop(Pop):
    """The row "Pop" of AlphaRec's zero-shot table: a random order of the `most_popular` items (appendix C.3.2), the others
    below them by popularity.

    The paper does not say how many are "the most popular items"; 100 is our choice. One order per seed and user.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.most_popular: int = config["most_popular"]
        # Among the weights, since the lists depend on it.
        self.register_buffer("seed", torch.tensor(config["seed"]))

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """[B * n_items] scores of every item."""
        top = self.counts.topk(min(self.most_popular, self.n_items)).indices
        scores = self.counts.repeat(len(interaction), 1)
        for row, user in zip(scores, interaction[self.USER_ID].tolist(), strict=True):
            drawn = torch.Generator().manual_seed(int(self.seed) * 1_000_003 + user)
            row[top] = self.counts.max() + torch.rand(len(top), generator=drawn).to(row.device)
        return scores.view(-1)

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] scores of the given items."""
        scores = self.full_sort_predict(interaction).view(len(interaction), -1)
        return scores.gather(1, interaction[self.ITEM_ID][:, None])[:, 0]
