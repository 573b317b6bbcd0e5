"""Products with an interaction graph at the speed of memory: matrices by rows, transposes made once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from recbole_ext.core.sparse import by_rows, product, with_values

Times = Callable[[torch.Tensor], torch.Tensor]
"""A product with some matrix [n, n]: [n, d] -> [n, d]."""


class Bipartite:
    """Who interacted with what, and the two averages over neighbours that graph models make of it.

    Args:
        users: [n] of the pairs, each pair once.
        items: [n].
        n_users: number of users; one without pairs has the neighbours' mean 0.
        n_items: number of items, likewise.
        device: where the products are made.
    """

    def __init__(
        self,
        users: npt.NDArray[Any],
        items: npt.NDArray[Any],
        n_users: int,
        n_items: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sizes, self.device = (n_users, n_items), device
        pairs = self._reach_users(users, items)
        self.by_item = by_rows(pairs.T.tocsr(), device=device)
        self.items_root = _powers(items, n_items, -0.5).to(device)

    def folding_in(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> Bipartite:
        """The same graph for users with other items: theirs reach them, and nothing of theirs reaches an item.

        Args:
            users: [n] of the pairs, each pair once.
            items: [n].
        """
        found = copy.copy(self)
        found._reach_users(users, items)
        return found

    def _reach_users(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> sp.csr_matrix:
        """Set what reaches users, of pairs that are given back as a matrix [n_users, n_items]."""
        ones = np.ones(len(users), np.float32)
        pairs = sp.csr_matrix((ones, (users, items)), shape=self.sizes)
        self.by_user = by_rows(pairs, device=self.device)
        self.users_share = _powers(users, self.sizes[0], -1.0).to(self.device)
        self.users_root = _powers(users, self.sizes[0], -0.5).to(self.device)
        return pairs

    def mean(self, items: torch.Tensor) -> torch.Tensor:
        """Mean of each user's items: [n_items, d] -> [n_users, d]."""
        return self.users_share * product(self.by_user, self.by_item, items)

    def convolve(
        self, users: torch.Tensor, items: torch.Tensor, layers: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """LightGCN's propagation: mean over `layers` rounds of D^-1/2 A D^-1/2 and the start itself.

        Args:
            users: [n_users, d].
            items: [n_items, d].
            layers: rounds, 0 gives back what came in.
        """
        sums = users, items
        for _ in range(layers):
            # Eq. 2 of AlphaRec, LightGCN's too: Σ e / √(|N_u||N_i|), (n_users, d) and (n_items, d)
            users, items = (
                self.users_root * product(self.by_user, self.by_item, self.items_root * items),
                self.items_root * product(self.by_item, self.by_user, self.users_root * users),
            )
            sums = sums[0] + users, sums[1] + items
        # Eq. 3 of AlphaRec: means over k = 0..K
        return sums[0] / (layers + 1), sums[1] / (layers + 1)


class Thinned:
    """Products with a symmetric sparse matrix some of whose values are left out, each of the two of an edge by itself.

    Args:
        matrix: [n, n] by rows, symmetric.
    """

    def __init__(self, matrix: torch.Tensor) -> None:
        n, places = matrix.shape[0], matrix.crow_indices()
        row = torch.repeat_interleave(torch.arange(n, device=matrix.device), places.diff())
        self.matrix = matrix
        self.mirrored = torch.argsort(matrix.col_indices().long() * n + row)
        """Of each place by rows, where the value of its mirror image stands."""

    def draw(self, share: float) -> Times:
        """The product with a matrix without a random `share` of the values; what is left keeps its size."""
        values = self.matrix.values()
        values = values * (torch.rand(len(values), device=values.device) >= share)
        thin = with_values(self.matrix, values)
        transposed = with_values(self.matrix, values[self.mirrored])
        return lambda dense: product(thin, transposed, dense)


def _powers(ids: npt.NDArray[Any], n: int, power: float) -> torch.Tensor:
    """[n, 1] numbers of neighbours to a power, 0 for none."""
    counts = np.bincount(ids, minlength=n).astype(np.float64)
    found = np.where(counts > 0, np.maximum(counts, 1) ** power, 0.0)
    return torch.from_numpy(found.astype(np.float32))[:, None]
