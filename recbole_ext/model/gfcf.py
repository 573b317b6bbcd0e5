"""GF-CF: one step over the graph and an ideal low-pass."""

from __future__ import annotations

from recbole_ext.linear.filters import Filter, LowPass
from recbole_ext.model.graph_filter import GraphFilter, Point


class GFCF(GraphFilter):
    """Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021.

    scores = x (P̃ + α D^-½ V_k V_kᵀ D^½), with P̃ = R̃ᵀR̃, R̃ = D_U^-½ X D_I^-½ and V_k its leading right singular vectors.

    The authors' code has k 256 and α .3 for every data set, and no low-pass (`k: 0` here) on Amazon-book. Deviations: items
    without interactions are left out of D^±½, where the code divides by zero; the search space is ours.
    """

    keys = ("k", "alpha")

    @staticmethod
    def filter_at(point: Point) -> Filter:
        # z = ½ T_0 - ½ T_1 of 1 - 2z
        return Filter((0.5, -0.5), low=LowPass(int(point["k"]), (float(point["alpha"]),)))
