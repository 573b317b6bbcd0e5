"""SciPy's sparse matrices as PyTorch's, and products with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import scipy.sparse as sp
import torch


def by_rows(
    x: sp.csr_matrix, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """The same matrix as a tensor by rows (CSR), in whose products nothing is sorted."""
    with _quietly():
        return torch.sparse_csr_tensor(
            torch.from_numpy(x.indptr),
            torch.from_numpy(x.indices),
            torch.from_numpy(x.data).to(dtype),
            size=x.shape,
            device=device,
            check_invariants=False,  # SciPy's rows are valid; saying so silences a warning
        )


def with_values(matrix: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The same places by rows with other values."""
    places = matrix.crow_indices(), matrix.col_indices()
    return torch.sparse_csr_tensor(*places, values, matrix.shape, check_invariants=False)


def columns_of(rows: torch.Tensor, first: int, stop: int) -> torch.Tensor:
    """Rows [first, stop) of a matrix [m, n] by rows, as the columns [n, stop - first] of a dense one."""
    ends = rows.crow_indices()[first : stop + 1]
    at = slice(int(ends[0]), int(ends[-1]))
    found = rows.values().new_zeros(rows.shape[1], stop - first)
    found[rows.col_indices()[at], torch.repeat_interleave(ends.diff())] = rows.values()[at]
    return found


def rows_of(matrix: torch.Tensor) -> torch.Tensor:
    """A tensor by places (COO) as one by rows."""
    with _quietly():
        return matrix.coalesce().to_sparse_csr()


@contextmanager
def _quietly() -> Iterator[None]:
    """PyTorch says once in a process that its tensors by rows are in beta; whoever else makes one may be told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        yield


_LANES = 64
"""Columns that are summed together on a CPU: what is gathered of them stays in its cache."""
_NARROW = 16
"""Columns up to which the library's own product is the faster."""
_COPIES = 4
"""Gathered rows for each row of the dense matrix from which copies of its columns pay."""


def times(matrix: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    """matrix @ dense, for where no gradient is asked for; `product` has one.

    On a CPU in float32 a row of the result is summed as a bag of embeddings, whose kernel is vectorised and fetches ahead:
    a product with 64 columns takes a third of the time of PyTorch's by rows, one with thousands a quarter. A row's
    sum runs over its places in their order, whatever else is in the matrix.

    Args:
        matrix: [m, n] by rows.
        dense: [n, d], or [n].
    """
    wide = dense.ndim == 2 and dense.shape[1] > _NARROW
    if not (wide and dense.device.type == "cpu" and dense.dtype == matrix.dtype == torch.float32):
        return matrix @ dense
    if dense.shape[1] <= _LANES or matrix.values().numel() < _COPIES * len(dense):
        return _bags(matrix, dense)
    out = dense.new_empty(matrix.shape[0], dense.shape[1])
    for into, some in zip(torch.split(out, _LANES, 1), torch.split(dense, _LANES, 1), strict=True):
        into.copy_(_bags(matrix, some))
    return out


def _bags(matrix: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.embedding_bag(
        matrix.col_indices(),
        dense.contiguous(),
        matrix.crow_indices(),
        mode="sum",
        per_sample_weights=matrix.values(),
        include_last_offset=True,
    )


def product(matrix: torch.Tensor, transposed: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
    """matrix @ dense, both of the matrix's forms by rows: PyTorch would transpose it anew for each gradient."""
    return _Product.apply(matrix, transposed, dense)  # type: ignore[no-any-return, no-untyped-call]


class _Product(torch.autograd.Function):
    """matrix @ dense, whose gradient is transposed @ gradient."""

    @staticmethod
    def forward(
        ctx: Any, matrix: torch.Tensor, transposed: torch.Tensor, dense: torch.Tensor
    ) -> Any:
        ctx.transposed = transposed
        with torch.autocast(dense.device.type, enabled=False):  # there is no product in half
            return times(matrix, dense)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, None, Any]:
        return None, None, times(ctx.transposed, grads[0])
