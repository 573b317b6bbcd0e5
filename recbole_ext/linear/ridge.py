"""Closed-form item-to-item ridge regression with a zero diagonal.

Every model here minimises tr(BᵀAB) - 2 tr(BᵀR) subject to diag(B) = 0 for a symmetric A > 0. With P = A⁻¹ the solution
is B_ij = (PR)_ij - P_ij (PR)_jj / P_jj (Lagrange multipliers of the constraint; Steck, WWW 2019, for R = A - λI).
Tensors may live on any device; no RecBole in here.
"""

from __future__ import annotations

import math

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


def zero_diagonal_(pr: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Turn PR into B in place: B_ij = (PR)_ij - P_ij (PR)_jj / P_jj, and 0 on the diagonal.

    Args:
        pr: [n, n] P @ R, overwritten by B.
        p: [n, n] inverse of A.
    """
    multiplier = pr.diagonal() / p.diagonal()
    _subtract_scaled_columns_(pr, p, multiplier)
    pr.diagonal().zero_()
    return pr


def ease_(p: torch.Tensor) -> torch.Tensor:
    """EASE from P in place: B_ij = -P_ij / P_jj, 0 on the diagonal (R = A - λI in the lemma)."""
    p.div_(-p.diagonal().clone())
    p.diagonal().zero_()
    return p


def _subtract_scaled_columns_(
    target: torch.Tensor, source: torch.Tensor, scale: torch.Tensor
) -> None:
    """target -= source * scale (per column), by blocks of rows so that no third matrix is made."""
    rows = max(1, (1 << 22) // max(1, target.shape[1]))
    for start in range(0, len(target), rows):
        target[start : start + rows].addcmul_(source[start : start + rows], scale, value=-1.0)


class SemanticTeacher:
    """S of phase 1, S_ij = -Q_ij / Q_jj off the diagonal with Q = (FᵀF + λ_F I)⁻¹, without ever forming it.

    Q has rank d beyond a multiple of the identity (Woodbury): Q = (I - Fᵀ M F) / λ_F with M = (λ_F I_d + F Fᵀ)⁻¹, so a
    product P·S costs n²d and a d x d inverse instead of n³.
    """

    def __init__(self, f: torch.Tensor, reg_f: float) -> None:
        """`f`: [d, n] float64, one column per item; `reg_f`: λ_F > 0."""
        if not reg_f > 0:
            raise HarnessError(f"reg_f={reg_f:g} must be positive")
        self.f = f
        kernel = f @ f.T
        kernel.diagonal().add_(reg_f)
        self.mf = torch.cholesky_solve(f, torch.linalg.cholesky(kernel))  # (d, n) M F
        self.diagonal = (1.0 - (f * self.mf).sum(0)) / reg_f  # (n,) Q_jj
        self.reg_f = reg_f

    def times(self, p: torch.Tensor, pf: torch.Tensor) -> torch.Tensor:
        """P S = P - (P - (P Fᵀ)(M F)) / (λ_F Q_jj), a new [n, n] matrix in P's dtype.

        Args:
            p: [n, n].
            pf: [n, d] P Fᵀ, shared by all λ_F.
        """
        scale = (1.0 / (self.reg_f * self.diagonal)).to(p.dtype)
        out = pf @ (self.mf.to(p.dtype) * scale)  # (P Fᵀ)(M F) / (λ_F q)
        rows = max(1, (1 << 22) // max(1, len(p)))
        for start in range(0, len(p), rows):
            out[start : start + rows].addcmul_(p[start : start + rows], 1.0 - scale)
        return out

    def matrix(self) -> torch.Tensor:
        """S itself, [n, n] float64: for tests and small catalogues."""
        eye = torch.eye(self.f.shape[1], dtype=self.f.dtype, device=self.f.device)
        q = (eye - self.f.T @ self.mf) / self.reg_f
        return ease_(q)


class CosineTeacher:
    """S = FᵀF without its diagonal: the teacher of the ablation that skips phase 1."""

    def __init__(self, f: torch.Tensor) -> None:
        self.f = f

    def times(self, p: torch.Tensor, pf: torch.Tensor) -> torch.Tensor:
        """P S = (P Fᵀ) F - P diag(FᵀF)."""
        out = pf @ self.f.to(p.dtype)
        _subtract_scaled_columns_(out, p, (self.f * self.f).sum(0).to(p.dtype))
        return out

    def matrix(self) -> torch.Tensor:
        s = self.f.T @ self.f
        s.diagonal().zero_()
        return s


def distilled(p: torch.Tensor, ps: torch.Tensor, reg_kd: float) -> torch.Tensor:
    """L3AE's B = λ_KD P S - P diag(μ) off the diagonal, μ_j = (1 + λ_KD (PS)_jj) / P_jj (Eq. 12).

    It is the lemma with R = G + λ_KD S: the part of P R that is P times a multiple of the identity merges into μ.

    Args:
        p: [n, n] (G + (λ_X + λ_KD) I)⁻¹.
        ps: [n, n] P S, overwritten by B.
        reg_kd: λ_KD.
    """
    ps.mul_(reg_kd)
    _subtract_scaled_columns_(ps, p, (1.0 + ps.diagonal()) / p.diagonal())
    ps.diagonal().zero_()
    return ps
