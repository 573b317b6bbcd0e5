"""Gram matrices and their ridge inverses. Tensors may live on any device; no RecBole in here."""

from __future__ import annotations

import math
from typing import Any, Protocol

import scipy.sparse as sp
import torch

from recbole_ext.core.errors import HarnessError

CONDITION_FLOAT32 = 300.0
"""Largest condition number inverted in float32: the error, about condition x 6e-8, then stays below 2e-5."""


_BLOCK = 4096
"""Rows of a Gram matrix made at a time: as a sparse matrix the whole could take three times its dense size."""


def gram(x: sp.csr_matrix, device: torch.device | str = "cpu") -> torch.Tensor:
    """XᵀX as a dense [n, n] float32 tensor, exact for counts below 2^24.

    Args:
        x: [m, n] binary interactions.
        device: where the result lives.
    """
    columns = x.T.tocsr()
    out = torch.empty(x.shape[1], x.shape[1])
    for start in range(0, x.shape[1], _BLOCK):
        block = columns[start : start + _BLOCK] @ x
        out[start : start + _BLOCK] = torch.from_numpy(block.astype("float32").toarray())
    return out.to(device)


class Symmetric(Protocol):
    """A Gram matrix, as a tensor or as what multiplies like one."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def __len__(self) -> int: ...

    def __matmul__(self, other: Any) -> torch.Tensor: ...


def largest_eigenvalue(g: Symmetric, steps: int = 30) -> float:
    """Power iteration from the all-ones vector; for a non-negative matrix it starts near the leading eigenvector."""
    v = torch.ones(len(g), dtype=g.dtype, device=g.device)
    value = 0.0
    for _ in range(steps):
        w = g @ v
        value = float(torch.linalg.vector_norm(w))
        if value == 0.0:
            return 0.0
        v = w / value
    return value


def working_dtype(g: Symmetric, ridge: float, precision: str = "auto") -> torch.dtype:
    """float32 where the condition number of G + ridge I allows it, else float64; or what `precision` says."""
    if precision != "auto":
        return {"float32": torch.float32, "float64": torch.float64}[precision]
    condition = (largest_eigenvalue(g) + ridge) / ridge if ridge > 0 else math.inf
    return torch.float32 if condition <= CONDITION_FLOAT32 else torch.float64


def ridge_inverse_(a: torch.Tensor, ridge: float) -> torch.Tensor:
    """(A + ridge I)⁻¹ by one Cholesky factorisation, in the memory of A.

    Args:
        a: [n, n] symmetric, row-major; overwritten, by the factor and then by the inverse.
        ridge: added to the diagonal.

    Returns:
        `a`.

    Raises:
        HarnessError: the sum is not positive definite; `a` is lost.
    """
    a.diagonal().add_(ridge)
    columns = a.mT  # LAPACK writes column-major: this view lets it work in place
    info = torch.empty((), dtype=torch.int32, device=a.device)
    torch.linalg.cholesky_ex(columns, out=(columns, info))
    if int(info):
        raise HarnessError(
            f"Gram matrix + {ridge:g} I is not positive definite (pivot {int(info)}); raise the regularisation above 0"
        )
    torch.cholesky_inverse(columns, out=columns)
    return a
