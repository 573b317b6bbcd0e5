"""What is said of a user in words, as vectors: read from a file, or made of what is said of its items."""

from __future__ import annotations

from typing import Any

import torch

from recbole_ext.model.graph import Bipartite
from recbole_ext.recbole_compat import training_pairs


def text_of_nodes(dataset: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Text vectors of users [n_users, D] and of items [n_items, D] of a RecBole dataset, in its ids, 0 being padding.

    A user's is that of its profile where a file of profiles is given (`user_profiles`); else the mean over its training items,
    as the code of L3AE (CIKM 2025) has it where RLMRec (WWW 2024) has a language model write profiles. One without training
    items has zeros then.
    """
    items = dataset.item_vectors.float()
    if dataset.user_vectors is not None:
        return dataset.user_vectors.float(), items
    graph = Bipartite(*training_pairs(dataset), dataset.user_num, dataset.item_num)
    return graph.mean(items), items
