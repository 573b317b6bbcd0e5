"""G = XᵀX that is never made: products with it, and (G + λI)Z = R for thin R."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.sparse import by_rows, times

_WIDTH = 64
"""Right-hand sides at a time: of a million items and two million users, six blocks of them take 2 GB in float32."""
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-8}
"""Largest residual that is aimed at, as a share of the right-hand side. That of the solution is at most as many times larger as the
condition number says: at 300, up to which float32 is used, and in float64 at 10,000, about 1e-4, and by experience a hundredth."""
_ACCEPTED = 100.0
"""Times that it may be without being refused."""
_RESTARTS = 3
_STEPS = 2000
"""Between restarts. Of a condition number κ about √κ log(2 / tolerance) / 2 are taken, 115 in float32 at κ = 300."""


class SparseGram:
    """G [n, n] of X [m, n] binary, applied as Xᵀ(XZ): 4 nnz(X) flops a column."""

    def __init__(
        self,
        x: sp.csr_matrix,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.x, self.columns = x, x.T.tocsr()
        self.device, self.dtype = torch.device(device), dtype
        self.counts = np.diff(self.columns.indptr).astype(np.float64)
        """[n] the diagonal of G: users of each item."""
        self._x = by_rows(x, dtype, device)
        self._columns = by_rows(self.columns, dtype, device)

    def __len__(self) -> int:
        return int(self.x.shape[1])

    def __matmul__(self, z: torch.Tensor) -> torch.Tensor:
        """G Z for Z [n] or [n, d] of the same dtype."""
        return times(self._columns, times(self._x, z))

    def to(self, dtype: torch.dtype) -> SparseGram:
        """The same, to work in another dtype."""
        return SparseGram(self.x, self.device, dtype)


@dataclass(frozen=True)
class Solved:
    """(G + λI) Z = R."""

    z: torch.Tensor
    """[n, d]"""
    residual: float
    """Largest ||R - (G + λI)Z|| / ||R|| of a column, of Z as it is and not as the recurrence has it."""
    steps: int
    """Products with G of all columns, the most that a block of them took."""


def solve(
    gram: SparseGram,
    ridge: float,
    right: torch.Tensor,
    start: torch.Tensor | None = None,
    tolerance: float | None = None,
) -> Solved:
    """Conjugate gradients with a Jacobi preconditioner, `_WIDTH` right-hand sides side by side, each by its own steps.

    They stop where every residual is below its tolerance. What the recurrence says is then compared with the residual itself, and
    they are started again from there where it says too little.

    Args:
        gram: G, in the dtype to work in.
        ridge: λ.
        right: [n, d] R; the result is in float32 where this or `gram` is.
        start: [n, d] a solution of a λ near by.
        tolerance: of a residual, as a share of the right-hand side; None for `TOLERANCE`.

    Raises:
        HarnessError: they do not come to a hundred times that; G + λI is singular for this dtype.
    """
    tolerance = TOLERANCE[gram.dtype] if tolerance is None else tolerance
    narrow = torch.float32 in (right.dtype, gram.dtype)
    out = torch.empty(
        right.shape, dtype=torch.float32 if narrow else torch.float64, device=gram.device
    )
    inverse = torch.from_numpy(1.0 / (gram.counts + ridge)).to(gram.device, gram.dtype)[:, None]
    worst, most = 0.0, 0
    for first in range(0, right.shape[1], _WIDTH):
        part = slice(first, first + _WIDTH)
        wanted = right[:, part]
        z = torch.zeros(wanted.shape, dtype=gram.dtype, device=gram.device)
        if start is not None:
            z.copy_(start[:, part])
        residual, steps = _block_(gram, ridge, inverse, wanted, z, tolerance)
        out[:, part] = z
        worst, most = max(worst, residual), max(most, steps)
    if not worst <= _ACCEPTED * tolerance:
        raise too_small(ridge, gram.dtype, f"conjugate gradients (a residual of {worst:.1g})")
    return Solved(out, worst, most)


def too_small(ridge: float, dtype: torch.dtype, what: str) -> HarnessError:
    """That λ is too small for `what`, and the ways out that this dtype leaves."""
    name = str(dtype).removeprefix("torch.")
    wider = ", or --precision=float64" if dtype == torch.float32 else ""
    return HarnessError(
        f"λ = {ridge:g} is too small for {what} in {name}: raise the regularisation{wider}"
    )


def _block_(
    gram: SparseGram,
    ridge: float,
    inverse: torch.Tensor,
    wanted: torch.Tensor,
    z: torch.Tensor,
    tolerance: float,
) -> tuple[float, int]:
    """Z in place; the largest relative residual, and the steps taken."""
    # By rows, as products with sparse matrices want it: item vectors come by columns.
    r = torch.empty(wanted.shape, dtype=z.dtype, device=z.device).copy_(wanted)
    size = torch.linalg.vector_norm(r, dim=0).clamp_min(torch.finfo(r.dtype).tiny)
    steps, before = 0, torch.inf
    for again in range(_RESTARTS + 1):
        if again:
            r.copy_(wanted)  # Read anew: it is not held through all steps
        r.sub_((gram @ z).add_(ridge * z))
        residual = float((torch.linalg.vector_norm(r, dim=0) / size).max()) if r.numel() else 0.0
        # Not half of what it was: the rest is rounding.
        if not tolerance < residual < before / 2:
            break
        before = residual
        steps += _from_(gram, ridge, inverse, size * tolerance / 2, r, z)
    return residual, steps


def _from_(
    gram: SparseGram,
    ridge: float,
    inverse: torch.Tensor,
    enough: torch.Tensor,
    r: torch.Tensor,
    z: torch.Tensor,
) -> int:
    """Steps from Z with the residuals R [n, w], both in place, until these are `enough` [w]."""
    direction = inverse * r
    product = (r * direction).sum(0)  # (w,) rᵀ D⁻¹ r
    for step in range(1, _STEPS + 1):
        applied = (gram @ direction).add_(direction, alpha=ridge)
        # A column that is solved to the last bit has no direction left: 0 / 0 is 0.
        length = torch.nan_to_num(product / (direction * applied).sum(0), 0.0, 0.0, 0.0)
        z.addcmul_(direction, length)
        r.addcmul_(applied, length, value=-1.0)
        if bool((torch.linalg.vector_norm(r, dim=0) <= enough).all()):
            return step
        torch.mul(inverse, r, out=applied)
        new = (r * applied).sum(0)
        direction.mul_(torch.nan_to_num(new / product, 0.0, 0.0, 0.0)).add_(applied)
        product = new
        del applied  # Not beside the next one
    return _STEPS
