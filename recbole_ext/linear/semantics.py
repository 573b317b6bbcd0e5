"""What item vectors say by themselves: teachers S, item-to-item matrices of rank d beyond their diagonal, never formed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.linear.thin import column_products

_ITEMS = 1 << 17
"""Columns of F multiplied at a time."""
_RANK = 1e-12
"""Eigenvalues of FFᵀ below this share of the largest are rounding: their directions hold nothing."""


@dataclass(frozen=True)
class Semantics:
    """Item vectors F [d, n], one column per item, turned so that FFᵀ is diagonal.

    Every model here reads F through FᵀF, FFᵀ and PFᵀ only, which a rotation of the d directions changes nothing
    about; after it (FFᵀ + λ_F I)⁻¹ is a division, for every λ_F.
    """

    f: torch.Tensor
    """[r, n], r the rank; float64, or float32 of very many items."""
    values: torch.Tensor
    """[r] the diagonal of FFᵀ, float64."""

    @classmethod
    def of(cls, vectors: torch.Tensor) -> Semantics:
        """From F [d, n], whose dtype f has: one eigendecomposition of a d x d matrix, in float64."""
        products = torch.zeros(
            len(vectors), len(vectors), dtype=torch.float64, device=vectors.device
        )
        for first in range(0, vectors.shape[1], _ITEMS):
            part = vectors[:, first : first + _ITEMS].double()
            products += part @ part.T
        values, directions = torch.linalg.eigh(products)
        kept = values > _RANK * values[-1].clamp_min(1e-300)
        return cls(directions[:, kept].T.to(vectors) @ vectors, values[kept])


@dataclass(frozen=True)
class Teacher:
    """S = FᵀM + diag(a) with diag(S) = 0.

    A product P S is (PFᵀ)M + P diag(a): n²d flops where forming S would take n³.
    """

    f: torch.Tensor
    """[r, n] of `Semantics`."""
    m: torch.Tensor
    """[r, n] of the same dtype."""

    @property
    def a(self) -> torch.Tensor:
        """[n] minus the diagonal of FᵀM."""
        return -column_products(self.f, self.m)

    def matrix(self) -> torch.Tensor:
        """S itself, [n, n] float64."""
        s = self.f.T @ self.m
        s.diagonal().zero_()
        return s


def ease_teacher(semantics: Semantics, reg_f: float) -> Teacher:
    """EASE on the vectors: S_ij = -Q_ij / Q_jj off the diagonal, Q = (FᵀF + λ_F I)⁻¹, λ_F > 0; equations 9 and 10 of
    Moon, Park, Lee, CIKM 2025.

    Woodbury: Q = (I - Fᵀ K F) / λ_F with K = (λ_F I + FFᵀ)⁻¹, so off the diagonal S = FᵀM with M = K F / (λ_F q),
    q = diag(Q), λ_F q = 1 - diag(FᵀKF).
    """
    if not reg_f > 0:
        raise HarnessError(f"reg_f={reg_f:g} must be positive")
    kf = semantics.f / (semantics.values + reg_f).to(semantics.f)[:, None]  # (r, n) K F
    m = kf.div_(1.0 - column_products(semantics.f, kf))  # (r, n) M, columns divided by λ_F q_j
    return Teacher(semantics.f, m)  # Eq. 10: S = FᵀM off the diagonal


def cosine_teacher(semantics: Semantics) -> Teacher:
    """S = FᵀF without its diagonal: the cosine of items whose vectors have unit length."""
    return Teacher(semantics.f, semantics.f)
