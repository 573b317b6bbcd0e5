"""Closed-form item-to-item matrices with a zero diagonal, all of one form.

Each model minimises tr(BᵀAB) - 2 tr(BᵀR) subject to diag(B) = 0 for a symmetric A > 0. With A⁻¹ = P the solution is
B_ij = (PR)_ij - P_ij (PR)_jj / P_jj (Lagrange multipliers of the constraint; Steck, WWW 2019, for R = A - λI). Where a
model reads item vectors F besides the interactions they enter with rank d, so that off the diagonal

    B = P diag(c) + w L R,    L [n, d], R [d, n],

with P = (XᵀX + λI)⁻¹ [n, n] of the interactions alone.

Equations are numbered as in Moon, Park, Lee, CIKM 2025: 2, 4, 7, 9 and 11 are the objectives that 3, 6, 8, 10 and 12
minimise. The scores (1) are made in `model.linear_autoencoder`, the teacher (9, 10) in `linear.semantics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recbole_ext.linear.semantics import Semantics, Teacher
from recbole_ext.linear.thin import column_products, row_products


@dataclass(frozen=True)
class Solution:
    """B off its diagonal."""

    c: torch.Tensor | None = None
    """[n], None for a model without P."""
    left: torch.Tensor | None = None
    """L [n, d], None for a model without item vectors."""
    right: torch.Tensor | None = None
    """R [d, n]."""
    weight: float = 1.0
    """w: solutions that differ in it alone share the product L R."""

    def own(self, diagonal: torch.Tensor | None) -> torch.Tensor:
        """[n] what a row x B must get at its own items so that diag(B) = 0; `diagonal` [n] of P."""
        parts = []
        if self.c is not None and diagonal is not None:
            parts.append(-diagonal * self.c)
        if self.left is not None and self.right is not None:
            parts.append(-self.weight * row_products(self.left, self.right))
        return sum(parts[1:], parts[0])

    def into_(self, p: torch.Tensor) -> torch.Tensor:
        """B [n, n], in the memory of P."""
        assert self.c is not None
        p.mul_(self.c)  # (n, n) columns by c (n,): P diag(c)
        if self.left is not None and self.right is not None:
            p.addmm_(self.left, self.right, alpha=self.weight)  # + w (n, d) (d, n)
        p.diagonal().zero_()
        return p


def ease(diagonal: torch.Tensor) -> Solution:
    """A = XᵀX + λI, R = XᵀX: B = -P diag(1 / P_jj). Steck, WWW 2019."""
    return Solution(-1.0 / diagonal)  # Eq. 3: B = I - P diag(1 / P_jj), so that c_j = -1 / P_jj


def collective(
    diagonal: torch.Tensor,
    pf: torch.Tensor,
    semantics: Semantics,
    alpha: float,
    totals: torch.Tensor | None = None,
) -> Solution:
    """CEASE: A = XᵀX + αFᵀF + λI, R = A - λI, which is EASE with another inverse P'. Jeunen et al., RecSys 2020. It
    minimises what EASE does, on the rows of X and √α F together (equation 5).

    Woodbury: P' = P - (PFᵀ) C (PFᵀ)ᵀ with C = (I/α + F P Fᵀ)⁻¹ [d, d], so that every α shares P.

    Args:
        diagonal: [n] of P.
        pf: [n, d] PFᵀ.
        semantics: F.
        alpha: weight of ||F - FB||²; 0 is EASE.
        totals: [n] diagonal of XᵀX + λI, where P_jj are approximate: P'_jj is then held to what it must be at least,
            1 / A_jj.
    """
    if alpha == 0:
        return ease(diagonal)
    wide = pf.to(semantics.f.dtype)
    inner = (semantics.f @ wide).double()  # (d, n) (n, d): F P Fᵀ
    inner.diagonal().add_(1.0 / alpha)
    # Symmetric up to the rounding of P.
    factor = torch.linalg.cholesky((inner + inner.T) / 2)
    c_pf = torch.cholesky_solve(wide.T, factor.to(wide))  # (d, n)
    prime = diagonal.double() - row_products(wide, c_pf).double()  # (n,) P'_jj
    if totals is not None:
        of_vectors = column_products(semantics.f, semantics.f).double()
        prime = prime.maximum(1.0 / (totals.double() + alpha * of_vectors))
    # B = -P' diag(1 / P'_jj) = P diag(-1 / P'_jj) + (PFᵀ) (C (PFᵀ)ᵀ diag(1 / P'_jj)) off the diagonal
    c, right = -1.0 / prime, c_pf.div_(prime.to(wide))  # (n,), (d, n)
    return Solution(c.to(pf), pf, right.to(pf))  # Eq. 6


def additive(diagonal: torch.Tensor, teacher: Teacher, alpha: float) -> Solution:
    """Add-EASE: (1 - α) EASE on X + α EASE on F. Jeunen et al., RecSys 2020.

    Args:
        diagonal: [n] of P.
        teacher: EASE on F.
        alpha: 0 is EASE, 1 the teacher.
    """
    f, m = (x.to(diagonal) for x in (teacher.f, teacher.m))
    # (1 - α) (-P diag(1 / P_jj)) + α FᵀM off the diagonal: c (n,), L (n, d), R (d, n)
    return Solution(-(1.0 - alpha) / diagonal, f.T, m, alpha)  # Eq. 8


def alone(teacher: Teacher) -> Solution:
    """The teacher itself, without interactions."""
    return Solution(None, teacher.f.T, teacher.m)


@dataclass(frozen=True)
class Distillation:
    """L3AE's B for every λ_KD at once, given P = (XᵀX + (λ_X + λ_KD) I)⁻¹ and a teacher.

    Off the diagonal B = λ_KD P S - P diag(μ) with μ_j = (1 + λ_KD (PS)_jj) / P_jj, which minimises equation 11: the lemma
    with R = XᵀX + λ_KD S, of which the part that is P times a multiple of the identity merges into μ. With
    S = FᵀM + diag(a),

        B = P diag(c) + λ_KD (PFᵀ) M,    c_j = λ_KD a_j - μ_j,

    so that B, and a row x B of scores, is affine in λ_KD.
    """

    base: torch.Tensor
    """[n] c at λ_KD = 0, which is EASE."""
    slope: torch.Tensor
    """[n] what c gains per unit of λ_KD."""
    pf: torch.Tensor
    """[n, d] PFᵀ."""
    m: torch.Tensor
    """[d, n]."""

    @classmethod
    def of(cls, diagonal: torch.Tensor, pf: torch.Tensor, teacher: Teacher) -> Distillation:
        """`diagonal`: [n] of P. Everything is in the dtype of `pf`."""
        a, m = teacher.a.to(pf), teacher.m.to(pf)  # (n,), (d, n)
        ps = a * diagonal + row_products(pf, m)  # (n,) (PS)_jj
        # c = λ_KD a - μ by powers of λ_KD: -1 / P_jj, and a_j - (PS)_jj / P_jj
        return cls(-1.0 / diagonal, a - ps / diagonal, pf, m)

    def at(self, reg_kd: float) -> Solution:
        """B at λ_KD."""
        c = self.base + reg_kd * self.slope  # (n,)
        return Solution(c, self.pf, self.m, reg_kd)  # Eq. 12: B = P diag(c) + λ_KD (PFᵀ) M
