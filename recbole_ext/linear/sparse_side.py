"""P = (XᵀX + λI)⁻¹ where n x n numbers are too many: thin products by conjugate gradients, P itself sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.linear.local_inverse import Pattern, exact_inverse, local_inverse, pattern_of
from recbole_ext.linear.ridge import working_dtype
from recbole_ext.linear.sparse_gram import Solved, SparseGram, solve

ENTRIES = 192
"""Of a column of P where no density is asked for; our choice, see docs/l3ae.md."""
_SAMPLE = 32
"""Items whose P_jj is also had exactly."""
_LOOSE = 1e-4
"""Residual of their columns: that of P_jj itself is of the order of its square."""
_CELLS = 1 << 25
"""Of x P, made at a time."""
_BYTES_OF_ENTRY = 20
"""At the peak: place and value in the pattern and by rows, 8 each, and the place by columns, 4."""
_BYTES_OF_ITEM = 5 * 64 * 8 + 64
"""Of one block of conjugate gradients in float64, and what is kept of an item."""


def entries_of(density: float | None, n_items: int) -> int:
    """Entries of a column of P [n_items, n_items], itself included: a share of it, or `ENTRIES`.

    Raises:
        HarnessError: the share is not above 0, or above 1.
    """
    if density is None:
        return min(ENTRIES, n_items)
    if not 0 < density <= 1:
        raise HarnessError(f"density={density:g}: must be a number above 0 to 1")
    return min(n_items, max(1, round(density * n_items)))


def sparse_bytes(density: float | None, n_items: int) -> int:
    """Peak memory of P and of one block of right-hand sides; X and what else is of their size is not in it."""
    k = entries_of(density, n_items)
    whole = 16 * n_items**2 if k == n_items else 0  # The dense inverse that P is then read off
    return whole + n_items * (_BYTES_OF_ENTRY * k + _BYTES_OF_ITEM)


def density_within(n_bytes: int, n_items: int) -> float | None:
    """The largest density that takes no more, rounded down to two digits; None where one entry a column takes more."""
    k = (n_bytes / n_items - _BYTES_OF_ITEM) / _BYTES_OF_ENTRY
    if k < 1:
        return None
    share = min(1.0, k / n_items)
    digit = 10.0 ** (np.floor(np.log10(share)) - 1)
    found = float(np.floor(share / digit * (1 + 1e-12)) * digit)
    while found > 0 and sparse_bytes(found, n_items) > n_bytes:  # 1 takes more than a little less
        found -= digit
    return float(f"{found:.2g}") if found > 0 else None


class SparseRows:
    """x P of a sparse P: what scoring needs, whether P was just made or comes from saved weights."""

    def __init__(
        self, x: sp.csr_matrix, p: sp.csr_matrix, device: torch.device | str = "cpu"
    ) -> None:
        """`p` [n, n] float32 by rows."""
        self.x, self.p, self.device = x, p, torch.device(device)

    def rows(self, users: npt.NDArray[np.int64]) -> torch.Tensor:
        """x_u P [B, n] float32 for rows u [B] of X."""
        return self.fold(self.x[users])

    def fold(self, x: sp.csr_matrix) -> torch.Tensor:
        """x P [B, n] float32 for any rows x [B, n]."""
        out = np.empty(x.shape, np.float32)
        step = max(1, _CELLS // x.shape[1])
        for first in range(0, x.shape[0], step):
            part = x[first : first + step].astype(np.float32)
            (part @ self.p).toarray(out=out[first : first + step])
        return torch.from_numpy(out).to(self.device)


@dataclass(frozen=True)
class DiagonalError:
    """How far P_jj are from the exact ones, on a sample of items that have users: |P_jj - exact| / exact."""

    median: float
    most: float


class SparseSide(SparseRows):
    """Says of P what `sides.ItemSide` does; nothing n x n or m x n is dense."""

    def __init__(self, inverses: SparseInverses, ridge: float, gram: SparseGram) -> None:
        self.ridge, self._gram, self._inverses = ridge, gram, inverses
        if inverses.entries == len(gram):
            p, diagonal = exact_inverse(gram, ridge)
        else:
            p, diagonal = local_inverse(gram, inverses.pattern, ridge)
        super().__init__(gram.x, p, gram.device)
        self.diagonal = torch.from_numpy(diagonal).to(gram.device, gram.dtype)
        """[n] in the dtype that P was solved for in."""

    @property
    def totals(self) -> torch.Tensor:
        """[n] the diagonal of XᵀX + λI."""
        return torch.from_numpy(self._gram.counts + self.ridge).to(self.diagonal)

    def times(self, right: torch.Tensor) -> torch.Tensor:
        """P R for R [n, d], exact to the tolerance of `sparse_gram.solve`; the P is not the sparse one."""
        return self._inverses.solved(self._gram, self.ridge, right).z

    def diagonal_error(self) -> DiagonalError:
        """Of `diagonal`, by exact columns of the same items for every λ."""
        known = np.flatnonzero(self._gram.counts)
        if not len(known):
            return DiagonalError(0.0, 0.0)
        chosen = np.random.default_rng(0).permutation(known)[:_SAMPLE]
        columns = torch.arange(len(chosen))
        unit = torch.zeros(len(self._gram), len(chosen), dtype=self._gram.dtype, device=self.device)
        unit[torch.from_numpy(chosen), columns] = 1.0
        found = solve(self._gram, self.ridge, unit, tolerance=_LOOSE).z
        exact = found[torch.from_numpy(chosen), columns].double()
        error = (self.diagonal[torch.from_numpy(chosen)].double() / exact - 1).abs()
        return DiagonalError(float(error.median()), float(error.max()))


class SparseInverses:
    """P(λ) of the same X for one λ after another: its pattern is found once, thin products start from the last λ's."""

    def __init__(
        self, x: sp.csr_matrix, density: float | None, precision: str, device: torch.device | str
    ) -> None:
        """
        Args:
            x: [m, n] binary.
            density: of P, None for `ENTRIES` in a column.
            precision: `auto` (as for the dense sides), `float32` or `float64`: of the blocks and the conjugate gradients.
            device: where products and blocks are made.
        """
        self.gram = SparseGram(x, device)
        self._grams = {self.gram.dtype: self.gram}
        self.entries = entries_of(density, len(self.gram))
        self.precision = precision
        self._pattern: Pattern | None = None
        self._last: tuple[tuple[int, tuple[int, ...]], Solved] | None = None

    @property
    def pattern(self) -> Pattern:
        """[n, entries] of `local_inverse.pattern_of`."""
        if self._pattern is None:
            self._pattern = pattern_of(self.gram, self.entries)
        return self._pattern

    def at(self, ridge: float, last: bool = False) -> SparseSide:
        """P(λ).

        Args:
            ridge: λ.
            last: nothing is asked for after it, and the pattern may go.

        Raises:
            HarnessError: λ is not positive, or too small for the precision.
        """
        if not ridge > 0:
            raise HarnessError(
                f"λ = {ridge:g}: side=sparse needs a λ above 0; raise the regularisation"
            )
        dtype = working_dtype(self.gram, ridge, self.precision)
        if dtype not in self._grams:
            self._grams[dtype] = self.gram.to(dtype)
        made = SparseSide(self, ridge, self._grams[dtype])
        if last:
            self._pattern = None
        return made

    def solved(self, gram: SparseGram, ridge: float, right: torch.Tensor) -> Solved:
        """(G + λI)⁻¹ R; where the last R was this one, from its solution."""
        of = right.data_ptr(), tuple(right.shape)
        start = self._last[1].z if self._last is not None and self._last[0] == of else None
        found = solve(gram, ridge, right, start)
        self._last = of, found
        return found
