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
from typing import Any

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


class Responses:
    """Scores of users by filters of one graph, which share what they can.

    Filters with one power e share the polynomials of a user's row, those with one p its sum. Of the low-pass all share the
    products with V, since that of a smaller k is part of that of a larger one. A q that differs by a factor only (BSPM's
    early merge, whose β is searched) is applied to D^s V once, for all users: a matrix [n, k]. Where there are several, each
    T_j is applied to a block's low-pass.
    """

    def __init__(self, graph: Graph, vectors: torch.Tensor, filters: Sequence[Filter]) -> None:
        """
        Args:
            graph: of training.
            vectors: V [n, at least the largest k], in the graph's precision and place.
            filters: any.
        """
        self.graph, self.vectors, self.filters = graph, vectors, filters
        shapes = {(low.scale, _shape(low.q)) for each in filters if (low := _low_of(each))}
        self._one = next(iter(shapes)) if len(shapes) == 1 else None
        if self._one is not None and len(self._one[1]) == 1:
            self._one = None  # a number: the low-pass as it is
        self._turned: torch.Tensor | None = None
        self.order = sorted(range(len(filters)), key=lambda i: _turn(filters[i]))
        """Places of `filters` in the order in which they come."""

    def of(self, x: sp.csr_matrix) -> Iterator[torch.Tensor]:
        """Scores [B, n] of binary rows x [B, n] by each filter, in `order`; a matrix is reused after the next one is asked for."""
        graph = self.graph
        rows = by_rows(x, self.vectors.dtype, self.vectors.device)
        width = graph.panel or max(1, x.shape[0])
        out, base, of_low = (
            torch.empty(x.shape, dtype=self.vectors.dtype, device=self.vectors.device)
            for _ in range(3)
        )
        of_rows: list[_Powers] = []
        power: float | None = None
        summed: tuple[float, Coefficients] | None = None
        low = _Low(self, rows, width)
        for each in (self.filters[i] for i in self.order):
            e = each.scale
            if e != power:
                of_rows = _panels(graph, _scaled(graph, rows, -e).to_dense(), width)
                power = e
            if summed != (e, each.p):
                for powers, some in zip(of_rows, torch.split(base, width), strict=True):
                    some.copy_(powers.summed(each.p).T)
                if e:
                    base.mul_(graph.scale(e))  # (B, n) by (n,)
                summed = e, each.p
            if (asked := _low_of(each)) is None:
                out.copy_(base)
            else:
                found, weight = low.at(asked, of_low)
                torch.add(base, found, alpha=weight, out=out)
            yield out

    def turned(self, k: int) -> torch.Tensor:
        """q(P̃) D^s V [n, k], q in the form in which its first number that is not 0 is 1; made once, some columns at a time."""
        assert self._one is not None
        if self._turned is None:
            (scale, q), graph = self._one, self.graph
            width = graph.panel or self.vectors.shape[1]
            self._turned = torch.empty_like(self.vectors)
            columns = torch.split(self.vectors, width, 1), torch.split(self._turned, width, 1)
            for v, some in zip(*columns, strict=True):
                scaled = v * graph.scale(scale)[:, None]  # (n, width)
                some.copy_(_Powers(graph, scaled).summed(q))
        return self._turned[:, :k]

    @property
    def one(self) -> bool:
        """Whether all low-passes have one q but for a factor."""
        return self._one is not None


class _Low:
    """Low-passes of some users' rows, asked for by growing k."""

    def __init__(self, of: Responses, rows: torch.Tensor, width: int) -> None:
        self._of, self._rows, self._width = of, rows, width
        self._scale, self._k = 0.0, 0
        self._inner = self._plain = rows  # until the first is asked for
        self._panels: list[_Powers] = []

    def at(self, low: LowPass, out: torch.Tensor) -> tuple[torch.Tensor, float]:
        """[B, n], perhaps `out`, and the number by which it is multiplied."""
        of, grown = self._of, self._grow(low)
        if of.one:
            return self._plain, _factor(low.q)
        if len(low.q) == 1:
            return torch.mul(self._plain, of.graph.scale(low.scale), out=out), low.q[0]
        if grown or not self._panels:
            scaled = self._plain * of.graph.scale(low.scale)
            self._panels = _panels(of.graph, scaled, self._width)
        for powers, some in zip(self._panels, torch.split(out, self._width), strict=True):
            some.copy_(powers.summed(low.q).T)
        return out, 1.0

    def _grow(self, low: LowPass) -> bool:
        """Whether `_plain`, (x D^-s) V_k V_kᵀ or what stands for it, is another than before."""
        of, v = self._of, self._of.vectors
        if (self._scale, self._k) == (low.scale, low.k):
            return False
        if self._k == 0 or self._scale != low.scale or low.k < self._k:
            largest = max(each.low.k for each in of.filters if each.low is not None)
            self._inner = _scaled(of.graph, self._rows, -low.scale) @ v[:, :largest]
            shape = len(self._inner), len(v)
            self._plain = torch.zeros(shape, dtype=v.dtype, device=v.device)
            self._k = 0
        right = of.turned(low.k) if of.one else v[:, : low.k]
        # What the larger k adds: (B, more) (more, n)
        self._plain.addmm_(self._inner[:, self._k : low.k], right[:, self._k :].T)
        self._scale, self._k, self._panels = low.scale, low.k, []
        return True


def _low_of(each: Filter) -> LowPass | None:
    """A filter's low-pass, if it adds anything."""
    return each.low if each.low is not None and each.low.k and any(each.low.q) else None


def _factor(q: Coefficients) -> float:
    """What a q is a multiple of its shape by."""
    return next(c for c in q if c)


def _shape(q: Coefficients) -> Coefficients:
    """A q as the multiple whose first number that is not 0 is 1, with as many digits as a factor leaves of it."""
    return tuple(float(f"{c / _factor(q):.10g}") for c in q)


def _turn(each: Filter) -> tuple[Any, ...]:
    """In this order what filters share is made once."""
    low = _low_of(each)
    return (each.scale, *((low.scale, low.k) if low else (0.0, 0)), each.p, low.q if low else ())


def _panels(graph: Graph, rows: torch.Tensor, width: int) -> list[_Powers]:
    """Of rows [B, n], some at a time."""
    return [_Powers(graph, some.T.contiguous()) for some in torch.split(rows, width)]


def _scaled(graph: Graph, rows: torch.Tensor, power: float) -> torch.Tensor:
    """x D^power as a sparse matrix [B, n]."""
    at = graph.scale(power)[rows.col_indices()]
    values = rows.values() * at if power else rows.values()
    return with_values(rows, values)
