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
            return torch.sparse.mm(matrix, dense)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, None, Any]:
        return None, None, torch.sparse.mm(ctx.transposed, grads[0])
