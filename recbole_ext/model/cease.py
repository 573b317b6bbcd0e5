"""EASE with side information: collective and additive."""

from __future__ import annotations

from typing import Any

import torch

from recbole_ext.linear.semantics import Teacher, ease_teacher
from recbole_ext.linear.solution import Solution, additive, collective
from recbole_ext.model.linear_autoencoder import LinearAutoencoder, Point


class CEASE(LinearAutoencoder):
    """Jeunen, Van Balen, Goethals, "Closed-Form Models for Collaborative Filtering with Side-Information", RecSys 2020.

    min ||X - XB||² + α||T - TB||² + λ||B||² subject to diag(B) = 0, T [d, items] the side information: multi-hot tags
    (`encoder=tags`), or text embeddings, which makes it the LLM-CEASE of Moon et al., CIKM 2025 (Table 3). It is EASE
    on the rows of X and √α T together (Eqs. 4 to 6 of Moon et al.).

    Configuration: `alpha_is_multiplier` multiplies T by α before stacking, as the L3AE authors' code does, which makes the
    loss's weight α². Deviations: every α is a rank-d update of one inverse; the result is the same to rounding.
    """

    keys = ("reg_weight", "alpha")
    shared = ("_pf",)

    def __init__(self, config: Any, dataset: Any) -> None:
        self.alpha_is_multiplier = bool(config["alpha_is_multiplier"])
        super().__init__(config, dataset)

    def ridge(self, point: Point) -> float:
        return float(point["reg_weight"])

    def prepare(self, side: Any) -> None:
        assert self.semantics is not None
        self._pf: torch.Tensor = side.times(self.semantics.f.T)  # (n, d) PFᵀ

    def solution(self, point: Point, side: Any) -> Solution:
        assert self.semantics is not None
        alpha = float(point["alpha"])
        weight = alpha**2 if self.alpha_is_multiplier else alpha
        totals = getattr(side, "totals", None)
        return collective(side.diagonal, self._pf, self.semantics, weight, totals)


class AddEASE(LinearAutoencoder):
    """The additive model of the same paper: B = (1 - α) B_X + α B_T, EASE on X with λ_X and on T with λ_T.

    With text embeddings for T it is the LLM-Add-EASE of Moon et al., CIKM 2025 (Eqs. 7, 8). α = 0 is EASE, α = 1
    `SemanticEASE`.
    Deviations: none.
    """

    keys = ("reg_weight", "reg_f", "alpha")
    shared = ("_teachers",)

    def ridge(self, point: Point) -> float:
        return float(point["reg_weight"])

    def prepare(self, side: Any) -> None:
        self._teachers: dict[float, Teacher] = {}

    def solution(self, point: Point, side: Any) -> Solution:
        assert self.semantics is not None
        alpha, reg_f = float(point["alpha"]), float(point["reg_f"])
        if reg_f not in self._teachers:
            found = ease_teacher(self.semantics, reg_f)
            like = side.diagonal
            self._teachers[reg_f] = Teacher(found.f.to(like), found.m.to(like))
        return additive(side.diagonal, self._teachers[reg_f], alpha)
