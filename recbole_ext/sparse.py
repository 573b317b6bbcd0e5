"""SciPy's sparse matrices as PyTorch's."""

from __future__ import annotations

import warnings

import scipy.sparse as sp
import torch

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
# SciPy's rows are valid; saying so silences a warning.
torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]


def by_rows(
    x: sp.csr_matrix, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """The same matrix as a tensor by rows (CSR), in whose products nothing is sorted."""
    return torch.sparse_csr_tensor(
        torch.from_numpy(x.indptr),
        torch.from_numpy(x.indices),
        torch.from_numpy(x.data).to(dtype),
        size=x.shape,
        device=device,
    )
