"""EASE: embarrassingly shallow autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from recbole_ext.linear.ridge import ease_, gram, ridge_inverse_, working_dtype
from recbole_ext.model.linear_autoencoder import LinearAutoencoder

Point = Mapping[str, Any]
Scorer = Callable[[torch.Tensor], Iterator[torch.Tensor]]


class EASE(LinearAutoencoder):
    """Harald Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, Eqs. 3 to 8.

    min ||X - XB||² + λ||B||² subject to diag(B) = 0, X [users, items] binary. With P = (XᵀX + λI)⁻¹ [items, items]:
    B_ij = -P_ij / P_jj off the diagonal.

    Deviations: none. RecBole's own is `EASE@recbole`; it sums duplicated interactions and inverts by LU.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.reg_weight = float(config["reg_weight"])
        self.precision = str(config["precision"])

    def solve(self) -> None:
        """Fit B."""
        self.item_matrix = self._matrix(gram(self.interactions, self.device), self.reg_weight)

    def _matrix(self, g: torch.Tensor, ridge: float) -> torch.Tensor:
        """B in float32; `g` is overwritten where the precision allows."""
        p = ridge_inverse_(g.to(working_dtype(g, ridge, self.precision)), ridge)
        return ease_(p).float()

    def families(self, points: Sequence[Point]) -> Iterator[tuple[list[Point], Scorer]]:
        """Groups of points with a function users -> one score matrix per point; one Gram matrix serves all."""
        g = gram(self.interactions, self.device)
        for point in points:
            b = self._matrix(g.clone(), float(point["reg_weight"]))
            yield [point], self._scorer(b)

    def _scorer(self, b: torch.Tensor) -> Scorer:
        return lambda users: iter([self.rows_times(users, b)])
