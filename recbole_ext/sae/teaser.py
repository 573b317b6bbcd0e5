"""TEASER as a control: an autoencoder whose hidden layer is the tags themselves.

De Pauw, Ruymbeek, Goethals, SIGIR 2022, as From Knots to Knobs (arXiv 2601.11182) runs it: a user's profile is x E over the T
tags with E [n, T] learned, its scores (x E) Dᵀ with D [n, T] the item-tag matrix, which stays as it is. Steering adds α to the
tag's coordinate of the profile. With B = offdiag(E Dᵀ), for U users and binary X [U, n], E minimises

    ||X B - X||² / (U n) + λ₁ ||B||² / n² + λ₂ ||E||² / (n T),    λ₁ = 0.01, λ₂ = 1e-4.

That is quadratic in E. The authors take up to 25 epochs of Adam and stop by validation; ours is the minimum itself, which needs
neither steps nor validation. With G = XᵀX, M = G + μ I, μ = λ₁ U / n and ν = λ₂ U / T its normal equations are

    offdiag(M offdiag(E Dᵀ)) D + ν E = offdiag(G) D.

Without the two `offdiag` the left side is M E DᵀD + ν E, a Sylvester equation that the eigenvectors of M and DᵀD solve entry by
entry. With them there is no such form, since every column of E Dᵀ has its own entry taken out: the conjugate gradient method
solves them, preconditioned by that Sylvester equation, in tens of steps where the eigenvalues of the plain system span nine
orders and more. What is slow to settle are directions e_i vᵀ with D v near e_i: they score item i for those who have it, and no
candidate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recbole_ext.core.errors import HarnessError

if TYPE_CHECKING:
    import scipy.sparse as sp
    import torch

    from recbole_ext.core.arrays import Bools

MOST_ITEMS = 12_000
"""n beyond which G and its eigenvectors, [n, n] in float64, leave no room: 1.2 GB each here, and three times that on the way."""
OFF_DIAGONAL, RIDGE = 0.01, 1e-4
"""λ₁ and λ₂."""


@dataclass(frozen=True)
class Teaser:
    """A fitted encoder beside the item-tag matrix."""

    encoder: torch.Tensor
    """E [n, T], float64."""
    decoder: torch.Tensor
    """D [n, T], float64."""
    steps: int
    """Of the conjugate gradient method."""
    residual: float
    """||r|| / ||right side|| when it stopped."""

    def profiles(self, histories: torch.Tensor) -> torch.Tensor:
        """[B, T] of users with binary histories [B, n]."""
        return histories.to(self.encoder) @ self.encoder

    def scores(self, profiles: torch.Tensor, tags: torch.Tensor, alpha: float) -> torch.Tensor:
        """[B, n] of profiles [B, T] to whose coordinates `tags` [B] α is added.

        The diagonal is left in: it moves items of the history alone, which are no candidates.

        Raises:
            HarnessError: α is below 0 or no number.
        """
        import torch

        if not alpha >= 0:
            raise HarnessError(f"alpha={alpha:g}: TEASER takes a number from 0 on")
        tags = tags.to(profiles.device).long().unsqueeze(1)
        steered = profiles.scatter_add(1, tags, torch.full_like(tags, alpha, dtype=profiles.dtype))
        return steered @ self.decoder.T


def fit(
    x: sp.csr_matrix,
    tags: Bools,
    off_diagonal: float = OFF_DIAGONAL,
    ridge: float = RIDGE,
    tolerance: float = 1e-6,
    most_steps: int = 500,
    device: str = "cpu",
) -> Teaser:
    """The encoder that minimises the objective.

    Args:
        x: [U, n] interactions of the training users; anything but 0 counts as 1.
        tags: [n, T] whether an item has a tag.
        off_diagonal: λ₁.
        ridge: λ₂, above 0.
        tolerance: ||r|| / ||right side|| at which the steps end. 1e-6 is ours: from there on the objective moves by less than a
            part in 10⁷.
        most_steps: after which it is given up.
        device: where to compute.

    Raises:
        HarnessError: shapes that do not fit, weights out of range, more than `MOST_ITEMS` items, or steps that do not end.
    """
    import torch

    users, n = x.shape
    if tags.shape[0] != n:
        raise HarnessError(
            f"TEASER: tags of {tags.shape[0]} items beside {n} items; give both of the same"
        )
    if not (ridge > 0 and off_diagonal >= 0):
        raise HarnessError(
            f"TEASER: ridge={ridge:g} must be above 0 and off_diagonal={off_diagonal:g} not below"
        )
    if n > MOST_ITEMS:
        raise HarnessError(
            f"TEASER: {n:,} items need dense matrices of {n:,} x {n:,}; it goes up to {MOST_ITEMS:,}, so filter the items"
        )
    interactions: Any = x
    binary = (interactions != 0).astype("float64")
    g = torch.from_numpy((binary.T @ binary).toarray()).to(device)
    d = torch.from_numpy(tags.astype("float64")).to(device)
    equations = _Equations(g, d, off_diagonal * users / n, ridge * users / max(d.shape[1], 1))
    encoder, steps, residual = equations.solved(tolerance, most_steps)
    if residual > tolerance:
        raise HarnessError(
            f"TEASER: after {steps} steps the residual is {residual:.1e}, not {tolerance:.1e}; raise ridge or the steps"
        )
    return Teaser(encoder, d, steps, residual)


class _Equations:
    """offdiag(M offdiag(E Dᵀ)) D + ν E = offdiag(G) D, all float64; `g` is overwritten by M."""

    def __init__(self, g: torch.Tensor, d: torch.Tensor, mu: float, nu: float) -> None:
        import torch

        self._d, self._nu = d, nu
        self._right = g @ d - g.diagonal().unsqueeze(1) * d  # (n, T)
        g.diagonal().add_(mu)
        self._m, self._c = g, d.T @ d  # (n, n), (T, T)
        on_items, self._q = torch.linalg.eigh(self._m)
        on_tags, self._v = torch.linalg.eigh(self._c)
        # Neither matrix has a negative eigenvalue but for rounding, so that ν keeps every entry above 0.
        self._inverse = 1.0 / (
            on_items.clamp(min=0).unsqueeze(1) * on_tags.clamp(min=0) + nu
        )  # (n, T)

    def left(self, e: torch.Tensor) -> torch.Tensor:
        """[n, T] the left side, without a matrix of [n, n] besides M."""
        diagonal = (e * self._d).sum(1, keepdim=True)  # (n, 1) of E Dᵀ
        product = self._m @ e
        inner = product @ self._c - self._m @ (diagonal * self._d)  # M offdiag(E Dᵀ) D
        # ... less the diagonal of M offdiag(E Dᵀ), times D
        own = (product * self._d).sum(1, keepdim=True) - self._m.diagonal().unsqueeze(1) * diagonal
        return inner - own * self._d + self._nu * e

    def solved(self, tolerance: float, most_steps: int) -> tuple[torch.Tensor, int, float]:
        """(E, steps, relative residual) by the preconditioned conjugate gradient method (Hestenes, Stiefel 1952)."""
        import torch

        e, r = torch.zeros_like(self._right), self._right.clone()
        size = float(r.norm())
        if size == 0.0:  # no two items were ever had by one user, or no item has a tag
            return e, 0, 0.0
        z = self._by_sylvester(r)
        p, rz, residual = z.clone(), (r * z).sum(), 1.0
        for step in range(1, most_steps + 1):
            q = self.left(p)
            rate = rz / (p * q).sum()
            e.add_(rate * p)
            r.sub_(rate * q)
            residual = float(r.norm()) / size
            if residual <= tolerance:
                return e, step, residual
            z = self._by_sylvester(r)
            before, rz = rz, (r * z).sum()
            p = z + (rz / before) * p
        return e, most_steps, residual

    def _by_sylvester(self, r: torch.Tensor) -> torch.Tensor:
        """The solution of M Z DᵀD + ν Z = R."""
        turned: torch.Tensor = (self._q.T @ r @ self._v) * self._inverse
        found: torch.Tensor = self._q @ turned @ self._v.T
        return found
