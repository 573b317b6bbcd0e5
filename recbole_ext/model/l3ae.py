"""L3AE: LLM-enhanced linear autoencoder."""

from __future__ import annotations

from typing import Any

import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.linear.semantics import Teacher, cosine_teacher, ease_teacher
from recbole_ext.linear.solution import Distillation, Solution
from recbole_ext.model.linear_autoencoder import LinearAutoencoder, Point


class L3AE(LinearAutoencoder):
    """Moon, Park, Lee, "LLM-Enhanced Linear Autoencoders for Recommendation", CIKM 2025.

    Phase 1 (Eqs. 9, 10): S [items, items] is EASE on the text embeddings F [d, items], one column per item:
    min ||F - FS||² + λ_F||S||², diag(S) = 0. Phase 2 (Eqs. 11, 12):
    min ||X - XB||² + λ_X||B||² + λ_KD||B - S||², diag(B) = 0, which with P = (XᵀX + (λ_X + λ_KD) I)⁻¹ gives
    B = λ_KD P S - P diag(μ) off the diagonal, μ_j = (1 + λ_KD (PS)_jj) / P_jj.

    Configuration (paper's ablations): `teacher` (`ease`, or `cosine`: FᵀF without its diagonal), `tie_reg_sum` (the
    paper's constraint λ_X = λ* - λ_KD, where `reg_x` is λ*, the best λ of EASE; off, `reg_x` is λ_X itself, as in
    Figure 3b), `semantic_norm`.

    Deviations: S is never formed (a division in the basis where FFᵀ is diagonal, instead of an n x n inverse) and P comes
    from one Cholesky inverse instead of LU, on the users' side where these are fewer; the result is the same to
    rounding. Our choices where the paper is silent: items are L2-normalised (`semantic_norm=l2`), fields without text
    are left out of the prompt, an item without any text is a zero column.
    """

    keys = ("reg_x", "reg_f", "reg_kd")
    shared = ("_pf", "_lines")

    def __init__(self, config: Any, dataset: Any) -> None:
        self.tie_reg_sum = bool(config["tie_reg_sum"])
        self.teacher = str(config["teacher"])
        super().__init__(config, dataset)

    def ridge(self, point: Point) -> float:
        """λ_X + λ_KD."""
        reg_x, reg_kd = float(point["reg_x"]), float(point["reg_kd"])
        ridge = reg_x if self.tie_reg_sum else reg_x + reg_kd
        if not ridge > 0:
            raise HarnessError(f"λ_X + λ_KD = {ridge:g} must be positive; raise reg_x (or reg_kd)")
        return ridge

    def prepare(self, side: Any) -> None:
        assert self.semantics is not None
        self._pf: torch.Tensor = side.times(self.semantics.f.T)  # (n, d) PFᵀ
        self._lines: dict[float, Distillation] = {}

    def solution(self, point: Point, side: Any) -> Solution:
        reg_f = float(point["reg_f"])
        if reg_f not in self._lines:
            self._lines[reg_f] = Distillation.of(side.diagonal, self._pf, self._teacher(reg_f))
        return self._lines[reg_f].at(float(point["reg_kd"]))

    def _teacher(self, reg_f: float) -> Teacher:
        assert self.semantics is not None
        if self.teacher == "cosine":
            return cosine_teacher(self.semantics)
        return ease_teacher(self.semantics, reg_f)
