"""Graph filters: a user's scores are its row times a polynomial of P̃, and a low-pass of P̃'s leading vectors.

With P̃ = R̃ᵀR̃ [n, n] (`Graph`, eigenvalues 0 to 1), D the items' degrees, V [n, k] the leading vectors and x a binary row,

    scores = (x D^-e) p(P̃) D^e + (x D^-s) V Vᵀ D^s q(P̃)

with polynomials p and q, and powers e and s of the degrees. Polynomials are kept as coefficients of Chebyshev's T_j(I - 2P̃):
those of powers of P̃ grow like 8^degree, and float32 would lose them. No matrix of items by items is made: T_j is
applied to columns [n, B] by its recurrence, two sparse products for each degree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recbole_ext.core.arrays import Floats

Coefficients = tuple[float, ...]
"""c_j of Σ_j c_j T_j(1 - 2z) for an eigenvalue z of P̃, from j = 0."""


@dataclass(frozen=True)
class LowPass:
    """(x D^-s) V_k V_kᵀ D^s q(P̃)."""

    k: int
    q: Coefficients
    scale: float = 0.5
    """s."""


@dataclass(frozen=True)
class Filter:
    """(x D^-e) p(P̃) D^e, and a low-pass."""

    p: Coefficients
    scale: float = 0.0
    """e."""
    low: LowPass | None = None


def polynomial(f: Callable[[Floats], Floats], degree: int) -> Coefficients:
    """Coefficients of a polynomial f of an eigenvalue z in [0, 1], by interpolation, which is exact to rounding.

    Args:
        f: of arrays.
        degree: no less than that of f.
    """
    y = np.polynomial.chebyshev.chebpts1(degree + 1)
    found = np.polynomial.chebyshev.chebfit(y, f((1.0 - y) / 2.0), degree)
    return tuple(float(c) for c in found)
