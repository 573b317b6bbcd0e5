"""Recommenders that read item text and no interactions but the user's own."""

from __future__ import annotations

from typing import Any

from recbole_ext.linear.semantics import cosine_teacher, ease_teacher
from recbole_ext.linear.solution import Solution, alone
from recbole_ext.model.linear_autoencoder import LinearAutoencoder, Point


class CosineText(LinearAutoencoder):
    """The row "Cos." of Moon, Park, Lee, "LLM-Enhanced Linear Autoencoders for Recommendation", CIKM 2025, Table 2.

    B = FᵀF without its diagonal, F [d, items] the text vectors, one unit column per item: a user's scores are the sums of
    cosines with its items. Deviations: the authors' code takes vectors as they come; `semantic_norm=none` does.
    """

    def ridge(self, point: Point) -> None:
        return None

    def solution(self, point: Point, side: Any) -> Solution:
        assert self.semantics is not None
        return alone(cosine_teacher(self.semantics))


class SemanticEASE(LinearAutoencoder):
    """EASE on text alone, "EASE (sem.)" of the same paper, Eqs. 9 and 10: L3AE's phase 1.

    min ||F - FS||² + λ_F||S||² subject to diag(S) = 0; the users' rows X only choose whose items are summed.
    Deviations: as for `CosineText`.
    """

    keys = ("reg_f",)

    def ridge(self, point: Point) -> None:
        return None

    def solution(self, point: Point, side: Any) -> Solution:
        assert self.semantics is not None
        return alone(ease_teacher(self.semantics, float(point["reg_f"])))
