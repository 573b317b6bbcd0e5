"""The graph of users and items as a normalised matrix, products with it, and its leading singular vectors."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ext.core.arrays import Floats
from recbole_ext.core.sparse import by_rows, columns_of, times
from recbole_ext.linear.eigen import leading

_PANEL = 32
"""Users that are scored together on a CPU: n of their numbers stay in its last cache, where P̃ y costs half of what 200 users do."""


@dataclass(frozen=True)
class Factor:
    """R̃ ≈ U diag(values) vectorsᵀ, its best approximation of that rank."""

    values: torch.Tensor
    """[r] singular values, descending, none of them 0."""
    vectors: torch.Tensor
    """[n, r] right singular vectors, float64."""

    def padded(self, k: int) -> Factor:
        """The k best; above the rank there are zeros, which add nothing to any score."""
        r, short = min(k, len(self.values)), max(0, k - len(self.values))
        return Factor(
            torch.nn.functional.pad(self.values[:r], (0, short)),
            torch.nn.functional.pad(self.vectors[:, :r], (0, short)),
        )


@dataclass(frozen=True)
class Graph:
    """R̃ = D_u^-e X D_i^-e with D the degrees plus an offset, and P̃ = R̃ᵀR̃, which is never formed.

    A user or an item without interactions has 0 for each power of its degree, negative or positive, as in the code of
    ChebyCF; that of GF-CF and BSPM has ∞ there.
    """

    rows: torch.Tensor
    """[m, n] R̃, by rows."""
    columns: torch.Tensor
    """[n, m] R̃ᵀ, by rows."""
    degree: torch.Tensor
    """[n] interactions of each item plus the offset, 0 of one without interactions."""
    fingerprint: str = field(repr=False)
    """Of the matrix, whatever its precision and wherever it lives."""

    @classmethod
    def of(
        cls,
        x: sp.csr_matrix,
        exponent: float = 0.5,
        offset: float = 0.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Graph:
        """Of a binary [m, n] matrix; `exponent` is e."""
        x = x.astype(np.float64).tocsr()
        x.sort_indices()
        sums = [np.asarray(x.sum(axis=axis), np.float64).ravel() for axis in (1, 0)]
        users, items = (np.where(d > 0, d + offset, 0.0).astype(np.float64) for d in sums)
        r = sp.diags(_power(users, -exponent)) @ x @ sp.diags(_power(items, -exponent))
        parts = (x.indptr.astype(np.int64), x.indices.astype(np.int64))
        key = hashlib.sha256(repr((x.shape, exponent, offset)).encode())
        for part in parts:
            key.update(part.tobytes())
        return cls(
            by_rows(r.tocsr(), dtype, device),
            by_rows(r.T.tocsr(), dtype, device),
            torch.from_numpy(items).to(device),
            key.hexdigest(),
        )

    @property
    def n_items(self) -> int:
        return len(self.degree)

    def times(self, y: torch.Tensor) -> torch.Tensor:
        """P̃ y [n, B] of y [n, B]."""
        return times(self.columns, times(self.rows, y))

    def panels(self, count: int) -> Iterator[tuple[int, int]]:
        """(first, stop) of as many of `count` columns as are best multiplied together."""
        width = _PANEL if self.degree.device.type == "cpu" else max(1, count)
        return itertools.pairwise([*range(0, count, width), count])

    def times_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """rows P̃ [B, n] of a matrix [B, n] by rows."""
        out = rows.values().new_empty(rows.shape)
        for first, stop in self.panels(len(out)):
            out[first:stop] = self.times(columns_of(rows, first, stop)).T
        return out

    def scale(self, power: float) -> torch.Tensor:
        """[n] degrees to a power, in the precision of R̃; 0 of an item without interactions."""
        powers = torch.where(self.degree > 0, self.degree.clamp_min(1e-300) ** power, 0.0)
        return powers.to(self.rows.dtype)

    def factor(self, k: int) -> Factor:
        """The k leading right singular vectors and values of R̃, fewer where its rank is smaller, in float64."""
        if self.rows.dtype != torch.float64:
            raise TypeError("a factor is made of a graph in float64")
        squares, vectors = leading(self.times, self.n_items, k, self.degree.device)
        return Factor(squares.sqrt(), vectors)


def _power(degree: Floats, power: float) -> Floats:
    """degree^power, 0 where the degree is 0."""
    found: Floats = np.where(degree > 0, np.maximum(degree, 1e-300) ** power, 0.0)
    return found


_kept: dict[tuple[str, int, str], Factor] = {}


def shared_factor(
    x: sp.csr_matrix,
    k: int,
    exponent: float = 0.5,
    offset: float = 0.0,
    device: torch.device | str = "cpu",
    larger: bool = False,
) -> Factor:
    """The factor of R̃; that of the last call is kept, for the next model that asks for the same.

    Args:
        larger: one of a larger k will do, of which `padded` takes what is needed: for searches, whose later stages have fewer
            vectors. A tested model's is of its own k: its numbers do not depend, in the last digits, on what ran before it.
    """
    graph = Graph.of(x, exponent, offset, torch.float64, device)
    key = (graph.fingerprint, k, str(torch.device(device)))
    for other, found in _kept.items():
        if larger and (other[0], other[2]) == (key[0], key[2]) and other[1] >= k:
            return found
    if key not in _kept:
        found = graph.factor(k)
        _kept.clear()
        _kept[key] = found
    return _kept[key]
