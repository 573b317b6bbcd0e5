"""Closed-form item-to-item ridge regression with a zero diagonal.

Every model here minimises tr(BᵀAB) - 2 tr(BᵀR) subject to diag(B) = 0 for a symmetric A > 0. With P = A⁻¹ the solution
is B_ij = (PR)_ij - P_ij (PR)_jj / P_jj (Lagrange multipliers of the constraint; Steck, WWW 2019, for R = A - λI).
Tensors may live on any device; no RecBole in here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy.sparse as sp
import torch

from recbole_ext.errors import HarnessError

CONDITION_FLOAT32 = 300.0
"""Largest condition number inverted in float32: the error, about condition x 6e-8, then stays below 2e-5."""


def gram(x: sp.csr_matrix, device: torch.device | str = "cpu") -> torch.Tensor:
    """XᵀX as a dense float64-exact [n, n] float32 tensor (counts below 2^24 are exact).

    Args:
        x: [m, n] binary interactions.
        device: where the result lives.
    """
    return torch.from_numpy((x.T @ x).astype("float32").toarray()).to(device)


def largest_eigenvalue(g: torch.Tensor, steps: int = 30) -> float:
    """Power iteration from the all-ones vector; for a non-negative matrix it starts near the leading eigenvector."""
    v = torch.ones(len(g), dtype=g.dtype, device=g.device)
    value = 0.0
    for _ in range(steps):
        w = g @ v
        value = float(torch.linalg.vector_norm(w))
        if value == 0.0:
            return 0.0
        v = w / value
    return value


def working_dtype(g: torch.Tensor, ridge: float, precision: str = "auto") -> torch.dtype:
    """float32 where the condition number of G + ridge I allows it, else float64; or what `precision` says."""
    if precision != "auto":
        return {"float32": torch.float32, "float64": torch.float64}[precision]
    condition = (largest_eigenvalue(g) + ridge) / ridge if ridge > 0 else math.inf
    return torch.float32 if condition <= CONDITION_FLOAT32 else torch.float64


def ridge_inverse_(a: torch.Tensor, ridge: float) -> torch.Tensor:
    """(A + ridge I)⁻¹ by one Cholesky factorisation, in the memory of A.

    Args:
        a: [n, n] symmetric, row-major; overwritten, by the factor and then by the inverse.
        ridge: added to the diagonal.

    Returns:
        `a`.

    Raises:
        HarnessError: the sum is not positive definite; `a` is lost.
    """
    a.diagonal().add_(ridge)
    columns = a.mT  # LAPACK writes column-major: this view lets it work in place
    info = torch.empty((), dtype=torch.int32, device=a.device)
    torch.linalg.cholesky_ex(columns, out=(columns, info))
    if int(info):
        raise HarnessError(
            f"XᵀX + {ridge:g} I is not positive definite (pivot {int(info)}); raise the regularisation above 0"
        )
    torch.cholesky_inverse(columns, out=columns)
    return a


def ease_(p: torch.Tensor) -> torch.Tensor:
    """EASE from P in place: B_ij = -P_ij / P_jj, 0 on the diagonal (R = A - λI in the lemma)."""
    p.div_(-p.diagonal().clone())
    p.diagonal().zero_()
    return p


@dataclass(frozen=True)
class Teacher:
    """An item-to-item matrix of rank d beyond its diagonal, never formed: S = FᵀM + diag(a), diag(S) = 0.

    So a product P·S is (PFᵀ)M + P diag(a): n²d flops where forming S would take n³.
    """

    f: torch.Tensor
    """[d, n] float64, one column of text embedding per item."""
    m: torch.Tensor
    """[d, n] float64."""

    @property
    def a(self) -> torch.Tensor:
        """[n] minus the diagonal of FᵀM."""
        return -(self.f * self.m).sum(0)

    def matrix(self) -> torch.Tensor:
        """S itself, [n, n] float64."""
        s = self.f.T @ self.m
        s.diagonal().zero_()
        return s


def ease_teacher(f: torch.Tensor, reg_f: float) -> Teacher:
    """EASE on the embeddings: S_ij = -Q_ij / Q_jj off the diagonal, Q = (FᵀF + λ_F I)⁻¹.

    Woodbury: Q = (I - Fᵀ K F) / λ_F with K = (λ_F I_d + F Fᵀ)⁻¹, so off the diagonal S = FᵀM with M = K F / (λ_F q),
    q = diag(Q), and a d x d inverse is all there is to solve.

    Args:
        f: [d, n] float64.
        reg_f: λ_F > 0.
    """
    if not reg_f > 0:
        raise HarnessError(f"reg_f={reg_f:g} must be positive")
    kernel = f @ f.T
    kernel.diagonal().add_(reg_f)
    kf = torch.cholesky_solve(f, torch.linalg.cholesky(kernel))  # (d, n)
    return Teacher(f, kf / (1.0 - (f * kf).sum(0)))  # λ_F q = 1 - diag(Fᵀ K F)


def cosine_teacher(f: torch.Tensor) -> Teacher:
    """S = FᵀF without its diagonal: the teacher of the ablation that skips phase 1. `f`: [d, n] float64."""
    return Teacher(f, f)


class Distillation:
    """L3AE's B for every λ_KD at once, given P = (G + (λ_X + λ_KD) I)⁻¹ and a teacher.

    Off the diagonal B = λ_KD P S - P diag(μ) with μ_j = (1 + λ_KD (PS)_jj) / P_jj (Eq. 12): the lemma with
    R = G + λ_KD S, of which the part that is P times a multiple of the identity merges into μ. With S = FᵀM + diag(a),

        B = P diag(c) + λ_KD (PFᵀ) M,    c_j = λ_KD a_j - μ_j,

    whose diagonal is -1 before it is set to 0. B is affine in λ_KD, and the same holds for rows x B of scores.
    """

    def __init__(self, diagonal: torch.Tensor, pf: torch.Tensor, teacher: Teacher) -> None:
        """`diagonal`: [n] of P; `pf`: [n, d] P Fᵀ. Everything is in their dtype."""
        a = teacher.a.to(pf.dtype)
        self.m = teacher.m.to(pf.dtype)
        ps = a * diagonal + (pf * self.m.T).sum(1)  # (PS)_jj
        self.base = -1.0 / diagonal
        """[n] c at λ_KD = 0, which is EASE."""
        self.slope = a - ps / diagonal
        """[n] what c gains per unit of λ_KD."""

    def solve_(self, p: torch.Tensor, pf: torch.Tensor, reg_kd: float) -> torch.Tensor:
        """B [n, n], in the memory of P."""
        p.mul_(self.base + reg_kd * self.slope).addmm_(pf, self.m, alpha=reg_kd)
        p.diagonal().zero_()
        return p
