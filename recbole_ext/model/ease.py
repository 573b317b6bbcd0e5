"""EASE: embarrassingly shallow autoencoder."""

from __future__ import annotations

from typing import Any

from recbole_ext.linear.solution import Solution, ease
from recbole_ext.model.linear_autoencoder import LinearAutoencoder, Point


class EASE(LinearAutoencoder):
    """Harald Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, Eqs. 3 to 8.

    min ||X - XB||² + λ||B||² subject to diag(B) = 0, X [users, items] binary. With P = (XᵀX + λI)⁻¹ [items, items]:
    B_ij = -P_ij / P_jj off the diagonal.

    Deviations: none. RecBole's own is `EASE@recbole`; it sums duplicated interactions and inverts by LU.
    """

    keys = ("reg_weight",)
    reads_vectors = False

    def ridge(self, point: Point) -> float:
        return float(point["reg_weight"])

    def solution(self, point: Point, side: Any) -> Solution:
        return ease(side.diagonal)
