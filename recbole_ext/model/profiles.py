"""What models that score a user from the row of its items share as RecBole models: the rows, folding in, and scoring by rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType

from recbole_ext.recbole_compat import interaction_rows

Users = npt.NDArray[np.int64]


class ProfileRecommender(GeneralRecommender):  # type: ignore[misc]
    """Scores of a user are made of its binary row of items, of training, or, for a user that it lacks, of what is folded in.

    A subclass gives `scores_of`.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.interactions = interaction_rows(dataset)
        """[n_users, n_items] scipy csr, 1 each, with the padding user and item: what is learnt from."""
        self.rows = self.interactions
        """[n_users, n_items] what scores are made of."""

    def scores_of(self, users: Users) -> torch.Tensor:
        """[B, n_items] of users (RecBole's ids), the padding item's too."""
        raise NotImplementedError

    def fold_in(self, dataset: Any) -> None:
        """Scores are made of the rows of `dataset` from now on: those of training, and those of users that it lacks."""
        self.rows = interaction_rows(dataset)

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """[B * n_items] scores of every item."""
        return self.scores_of(interaction[self.USER_ID].cpu().numpy()).flatten()

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] scores of the given items; computed for whole rows of distinct users, then picked."""
        users, where = torch.unique(interaction[self.USER_ID], return_inverse=True)
        scores = self.scores_of(users.cpu().numpy())
        return scores[where.to(scores.device), interaction[self.ITEM_ID].to(scores.device)]


def in_batches(users: Users, size: int) -> Iterator[Users]:
    """The users, `size` at a time."""
    for first in range(0, len(users), size):
        yield users[first : first + size]


class Shuffled:
    """Batches of numbers, of users say, in another order in each epoch."""

    def __init__(self, users: Users, size: int) -> None:
        self.users, self.size = users, size

    def __len__(self) -> int:
        return -(-len(self.users) // self.size)

    def __call__(self, generator: torch.Generator) -> Iterator[Users]:
        order = torch.randperm(len(self.users), generator=generator).numpy()
        yield from in_batches(self.users[order], self.size)
