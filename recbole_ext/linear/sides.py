"""P = (XᵀX + λI)⁻¹ from either side of X [m, n]: by items, as an n x n matrix, or by users, where only K = (XXᵀ + λI)⁻¹
[m, m] is formed.

With Y = KX the rows of X pass through: XP = Y. The rest of P that a model needs follows from K too:

    PR = (R - Xᵀ K X R) / λ,    P_jj = (1 - x_jᵀ K x_j) / λ.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ext.core.sparse import by_rows, times
from recbole_ext.linear.ridge import gram, ridge_inverse_, working_dtype

SIDES = ("items", "users")
_BLOCK = 1024
"""Rows of Y made at a time."""


def choose(asked: str, users: int, items: int) -> str:
    """The side to invert: the smaller, or what was asked for."""
    if asked == "auto":
        return "users" if users < items else "items"
    return asked


class ItemSide:
    """P itself."""

    def __init__(self, x: sp.csr_matrix, p: torch.Tensor) -> None:
        """`p` [n, n] is kept, not copied."""
        self.x, self.p = x, p
        self.diagonal = p.diagonal().clone()

    def times(self, right: torch.Tensor) -> torch.Tensor:
        """P R for R [n, d]."""
        return self.p @ right.to(self.p)

    def rows(self, users: np.ndarray) -> torch.Tensor:  # type: ignore[type-arg]
        """x_u P [B, n] for rows u [B] of X."""
        return self.fold(self.x[users])

    def fold(self, x: sp.csr_matrix) -> torch.Tensor:
        """x P [B, n] for any rows x [B, n]."""
        return times(by_rows(x, self.p.dtype, self.p.device), self.p)


class UserSide:
    """K [m, m]; nothing n x n is ever made. Says of P what `ItemSide` does."""

    def __init__(self, x: sp.csr_matrix, kernel: torch.Tensor, ridge: float) -> None:
        """`kernel` is kept, not copied."""
        self.kernel, self.ridge = kernel, ridge
        self.x = by_rows(x, kernel.dtype, kernel.device)
        self.columns = by_rows(x.T.tocsr(), kernel.dtype, kernel.device)
        """[n, m] the rows of Xᵀ."""
        self._host = x

    @cached_property
    def diagonal(self) -> torch.Tensor:
        quadratic = torch.zeros(self._host.shape[1], dtype=self.kernel.dtype)
        for start in range(0, self._host.shape[0], _BLOCK):
            users = np.arange(start, min(start + _BLOCK, self._host.shape[0]))
            part = self._host[users].tocoo()
            own = self.rows(users).cpu()[part.row, part.col]
            quadratic.index_add_(0, torch.from_numpy(part.col.astype(np.int64)), own)
        return ((1.0 - quadratic) / self.ridge).to(self.kernel.device)

    def times(self, right: torch.Tensor) -> torch.Tensor:
        right = right.to(self.kernel)
        return (right - times(self.columns, self.kernel @ times(self.x, right))) / self.ridge

    def rows(self, users: np.ndarray) -> torch.Tensor:  # type: ignore[type-arg]
        mine = self.kernel[torch.from_numpy(users).to(self.kernel.device)]
        return times(self.columns, mine.T).T

    def fold(self, x: sp.csr_matrix) -> torch.Tensor:
        """x P = (P xᵀ)ᵀ; rows of X are had for less, by `rows`."""
        return self.times(torch.from_numpy(x.toarray().T)).T


def side_gram(x: sp.csr_matrix, side: str, device: torch.device | str) -> torch.Tensor:
    """XᵀX or XXᵀ, whichever the side inverts."""
    return gram(x if side == "items" else x.T.tocsr(), device)


def invert_(
    x: sp.csr_matrix, g: torch.Tensor, ridge: float, side: str, precision: str
) -> ItemSide | UserSide:
    """(G + λI)⁻¹ by its side; `g` is overwritten where the precision allows.

    Args:
        x: [m, n] binary interactions.
        g: of `side_gram`.
        ridge: λ.
        side: `items` or `users`.
        precision: `auto`, `float32` or `float64`.
    """
    return of_inverse(
        x, ridge_inverse_(g.to(working_dtype(g, ridge, precision)), ridge), ridge, side
    )


def of_inverse(
    x: sp.csr_matrix, inverse: torch.Tensor, ridge: float, side: str
) -> ItemSide | UserSide:
    """The side whose (G + λI)⁻¹ is known."""
    return ItemSide(x, inverse) if side == "items" else UserSide(x, inverse, ridge)
