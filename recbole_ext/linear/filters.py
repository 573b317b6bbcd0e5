"""Graph filters: a user's scores are its row times a polynomial of P̃, and a low-pass of P̃'s leading vectors.

With P̃ = R̃ᵀR̃ [n, n] (`Graph`, eigenvalues 0 to 1), D the items' degrees, V [n, k] the leading vectors and x a binary row,

    scores = (x D^-e) p(P̃) D^e + (x D^-s) V Vᵀ D^s q(P̃)

with polynomials p and q, and powers e and s of the degrees. Polynomials are kept as coefficients of Chebyshev's T_j(I - 2P̃):
those of powers of P̃ grow like 8^degree, and float32 would lose them. No matrix of items by items is made: T_j is
applied to columns [n, B] by its recurrence, two sparse products for each degree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ext.core.arrays import Floats
from recbole_ext.core.sparse import by_rows, with_values
from recbole_ext.linear.graph import Graph

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


class _Powers:
    """T_j(I - 2P̃) y for columns y [n, B], each made once, when it is asked for."""

    def __init__(self, graph: Graph, y: torch.Tensor) -> None:
        self._graph, self._made = graph, [y]

    def __getitem__(self, j: int) -> torch.Tensor:
        made = self._made
        while len(made) <= j:
            last = made[-1]
            turned = self._graph.times(last).mul_(-2.0).add_(last)  # (I - 2P̃) T_j-1 y: (n, B)
            made.append(turned if len(made) == 1 else turned.mul_(2.0).sub_(made[-2]))
        return made[j]

    def summed(self, coefficients: Coefficients) -> torch.Tensor:
        """Σ_j c_j T_j y [n, B]."""
        out = torch.zeros_like(self[0])
        for j, c in enumerate(coefficients):
            if c:
                out.add_(self[j], alpha=c)
        return out


def responses(
    graph: Graph, vectors: torch.Tensor, filters: Sequence[Filter], x: sp.csr_matrix
) -> Iterator[torch.Tensor]:
    """Scores [B, n] of rows x [B, n] by each filter; a matrix is reused after the next one is asked for.

    Filters with one power e share the polynomials of x, those with one k and s, if they follow each other, the low-pass.

    Args:
        graph: of training.
        vectors: V [n, at least the largest k], in the graph's precision and place.
        filters: any.
        x: binary.
    """
    rows = by_rows(x, vectors.dtype, vectors.device)
    width = graph.panel or max(1, x.shape[0])
    out = torch.empty(x.shape, dtype=vectors.dtype, device=vectors.device)
    of_rows: dict[float, list[_Powers]] = {}
    low, made = out, (0, 0.0)
    of_low: list[_Powers] = []
    for each in filters:
        e = each.scale
        if e not in of_rows:
            of_rows[e] = _panels(graph, _scaled(graph, rows, -e).to_dense(), width)
        for powers, some in zip(of_rows[e], torch.split(out, width), strict=True):
            some.copy_(powers.summed(each.p).T)
        if e:
            out.mul_(graph.scale(e))  # (B, n) by (n,)
        if each.low is not None and each.low.k and any(each.low.q):
            if made != (each.low.k, each.low.scale):
                made = each.low.k, each.low.scale
                low, of_low = _low_pass(graph, rows, vectors, *made), []
            if len(each.low.q) == 1:
                out.add_(low, alpha=each.low.q[0])
            else:
                of_low = of_low or _panels(graph, low, width)
                for powers, some in zip(of_low, torch.split(out, width), strict=True):
                    some.add_(powers.summed(each.low.q).T)
        yield out


def _panels(graph: Graph, rows: torch.Tensor, width: int) -> list[_Powers]:
    """Of rows [B, n], some at a time."""
    return [_Powers(graph, some.T.contiguous()) for some in torch.split(rows, width)]


def _scaled(graph: Graph, rows: torch.Tensor, power: float) -> torch.Tensor:
    """x D^power as a sparse matrix [B, n]."""
    at = graph.scale(power)[rows.col_indices()]
    values = rows.values() * at if power else rows.values()
    return with_values(rows, values)


def _low_pass(
    graph: Graph, rows: torch.Tensor, vectors: torch.Tensor, k: int, scale: float
) -> torch.Tensor:
    """(x D^-s) V_k V_kᵀ D^s [B, n]."""
    v = vectors[:, :k]
    inner = _scaled(graph, rows, -scale) @ v  # (B, n) (n, k)
    return (inner @ v.T).mul_(graph.scale(scale))
