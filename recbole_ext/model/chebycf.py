"""ChebyCF: a plateau-shaped filter by Chebyshev's polynomials, items being scaled by their degrees."""

from __future__ import annotations

import numpy as np

from recbole_ext.linear.filters import Coefficients, Filter, LowPass
from recbole_ext.model.graph_filter import GraphFilter, Point


def coefficients(degree: int, phi: float) -> Coefficients:
    """c_0 .. c_K of the authors' code: h at the extrema y_j of T_K is interpolated as if it were at the roots x_j of T_K+1.

    Args:
        degree: K, at least 1.
        phi: φ of the plateau h(y) = ½ + ½(-y)^φ below 0, ½ - ½y^φ from there.
    """
    j = np.arange(1, degree + 2)
    roots = np.cos((degree + 1.5 - j) * np.pi / (degree + 1))
    y = np.round(np.cos((degree + 1 - j) * np.pi / degree), 3)
    h = np.round(np.where(y < 0, 0.5 + 0.5 * np.abs(y) ** phi, 0.5 - 0.5 * np.abs(y) ** phi), 3)
    found = [
        (1 if k == 0 else 2) / (degree + 1) * float(np.cos(k * np.arccos(roots)) @ h)
        for k in range(degree + 1)
    ]
    # What is 0 by symmetry is rounding: no product is made for it.
    return tuple(0.0 if abs(c) < 1e-12 else c for c in found)


class ChebyCF(GraphFilter):
    """Kim, Sung, Han, Lee, "Graph Spectral Filtering with Chebyshev Interpolation for Recommendation", SIGIR 2025, in the form of the
    authors' code.

    scores = (x D^-β) [Σ_j c_j T_j(I - 2P̃) + α V_η V_ηᵀ] D^β with c of `coefficients`: the plateau h, taken at other points than
    those at which it is interpolated, and rounded to three decimals; both are the code's, and kept.

    Deviations: none of the model. The search space is ours, about the published settings.
    """

    keys = ("degree", "phi", "eta", "alpha", "beta")
    rank_key = "eta"

    @staticmethod
    def filter_at(point: Point) -> Filter:
        beta = float(point["beta"])
        low = LowPass(int(point["eta"]), (float(point["alpha"]),), beta)
        return Filter(coefficients(int(point["degree"]), float(point["phi"])), beta, low)
