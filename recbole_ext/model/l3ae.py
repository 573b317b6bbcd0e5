"""L3AE: LLM-enhanced linear autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from recbole_ext.errors import HarnessError
from recbole_ext.linear.ridge import (
    Distillation,
    Teacher,
    cosine_teacher,
    ease_teacher,
    gram,
    ridge_inverse_,
    working_dtype,
)
from recbole_ext.model.linear_autoencoder import LinearAutoencoder

Point = Mapping[str, Any]
Scorer = Callable[[torch.Tensor], Iterator[torch.Tensor]]


class L3AE(LinearAutoencoder):
    """Moon, Park, Lee, "LLM-Enhanced Linear Autoencoders for Recommendation", CIKM 2025.

    Phase 1 (Eqs. 9, 10): S [items, items] is EASE on the text embeddings F [d, items], one column per item:
    min ||F - FS||² + λ_F||S||², diag(S) = 0. Phase 2 (Eqs. 11, 12):
    min ||X - XB||² + λ_X||B||² + λ_KD||B - S||², diag(B) = 0, which with P = (XᵀX + (λ_X + λ_KD) I)⁻¹ gives
    B = λ_KD P S - P diag(μ) off the diagonal, μ_j = (1 + λ_KD (PS)_jj) / P_jj.

    Configuration (paper's ablations): `teacher` (`ease`, or `cosine`: FᵀF without its diagonal), `tie_reg_sum` (the
    paper's constraint λ_X = λ* - λ_KD, where `reg_x` is λ*, the best λ of EASE; off, `reg_x` is λ_X itself, as in
    Figure 3b), `semantic_norm`.

    Deviations: S is never formed (Woodbury, d x d instead of n x n) and P comes from one Cholesky inverse instead of
    LU; the result is the same to rounding. Our choices where the paper is silent: items are L2-normalised
    (`semantic_norm=l2`), fields without text are left out of the prompt, an item without any text is a zero column.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.reg_x, self.reg_f, self.reg_kd = (
            float(config[key]) for key in ("reg_x", "reg_f", "reg_kd")
        )
        self.tie_reg_sum = bool(config["tie_reg_sum"])
        self.teacher, self.precision = str(config["teacher"]), str(config["precision"])
        self.semantics = normalised(
            dataset.item_vectors.to(self.device), str(config["semantic_norm"])
        )
        """[d, n_items] float64."""

    def solve(self) -> None:
        """Fit B."""
        p, pf = self._inverse(
            gram(self.interactions, self.device), self._ridge(self.reg_x, self.reg_kd)
        )
        distillation = Distillation(p.diagonal().clone(), pf, self._teacher(self.reg_f))
        self.item_matrix = distillation.solve_(p, pf, self.reg_kd).float()

    def families(self, points: Sequence[Point]) -> Iterator[tuple[list[Point], Scorer]]:
        """Groups of points that share P, with a function users -> one score matrix per point.

        With λ_X + λ_KD held, scores are affine in λ_KD and their slope has rank d beyond x P: a group costs one inverse
        and one pass of x P, and each of its λ_F two products of width d more.
        """
        g = gram(self.interactions, self.device)
        for ridge in sorted({self._ridge_of(point) for point in points}):
            group = [point for point in points if self._ridge_of(point) == ridge]
            p, pf = self._inverse(g.clone(), ridge)
            diagonal = p.diagonal().clone()
            lines, ordered = [], []
            for reg_f in sorted({self._of(point, "reg_f") for point in group}):
                same = [point for point in group if self._of(point, "reg_f") == reg_f]
                line = Distillation(diagonal, pf, self._teacher(reg_f))
                lines.append((line, [self._of(point, "reg_kd") for point in same]))
                ordered += same
            yield ordered, self._along(p.float(), pf.float(), lines)

    def _along(
        self, p: torch.Tensor, pf: torch.Tensor, lines: list[tuple[Distillation, list[float]]]
    ) -> Scorer:
        def scores(users: torch.Tensor) -> Iterator[torch.Tensor]:
            rows = self._rows(users, p)
            xp, xpf = rows @ p, rows @ pf
            out = torch.empty_like(xp)
            sizes = rows.crow_indices().diff()
            own = (
                torch.arange(len(users), device=p.device).repeat_interleave(sizes),
                rows.col_indices(),
            )
            for line, weights in lines:
                base = xp * line.base.to(p.dtype)
                base[own] += 1.0  # diag(B) = 0
                if not any(weights):
                    yield base
                    continue
                slope = (xp * line.slope.to(p.dtype)).addmm_(xpf, line.m.to(p.dtype))
                for weight in weights:
                    yield torch.add(base, slope, alpha=weight, out=out)

        return scores

    def _of(self, point: Point, key: str) -> float:
        return float(point.get(key, getattr(self, key)))

    def _ridge_of(self, point: Point) -> float:
        return self._ridge(self._of(point, "reg_x"), self._of(point, "reg_kd"))

    def _ridge(self, reg_x: float, reg_kd: float) -> float:
        """λ_X + λ_KD."""
        ridge = reg_x if self.tie_reg_sum else reg_x + reg_kd
        if not ridge > 0:
            raise HarnessError(f"λ_X + λ_KD = {ridge:g} must be positive; raise reg_x (or reg_kd)")
        return ridge

    def _inverse(self, g: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
        """P [n, n] and P Fᵀ [n, d]; `g` is overwritten where the precision allows."""
        p = ridge_inverse_(g.to(working_dtype(g, ridge, self.precision)), ridge)
        return p, p @ self.semantics.T.to(p.dtype)

    def _teacher(self, reg_f: float) -> Teacher:
        if self.teacher == "ease":
            return ease_teacher(self.semantics, reg_f)
        if self.teacher == "cosine":
            return cosine_teacher(self.semantics)
        raise HarnessError(f"teacher={self.teacher} must be ease or cosine")


def normalised(vectors: torch.Tensor, how: str) -> torch.Tensor:
    """Item vectors [n, d] as columns [d, n] float64, L2-normalised (`l2`), centred first (`l2_center`) or raw (`none`).

    A zero vector (an item without text, and the padding item) stays zero in every mode.
    """
    f = vectors.double()
    known = f.abs().sum(1) > 0
    if how == "l2_center":
        f = torch.where(known[:, None], f - f[known].mean(0), f)
    elif how not in ("l2", "none"):
        raise HarnessError(f"semantic_norm={how} must be l2, none or l2_center")
    if how != "none":
        f = torch.where(known[:, None], f / f.norm(dim=1, keepdim=True).clamp_min(1e-12), f)
    return f.T.contiguous()
