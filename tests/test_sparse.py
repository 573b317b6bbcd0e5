"""Sparse tensors are made without a word, without a setting of the whole process, and multiplied as SciPy multiplies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.core import sparse
from recbole_ext.core.sparse import by_rows, columns_of, product, rows_of, times

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import warnings
warnings.simplefilter("error")
import scipy.sparse, torch
torch.sparse.check_sparse_tensor_invariants.enable()
before = list(warnings.filters)
from recbole_ext.core.sparse import by_rows, columns_of, rows_of
by_rows(scipy.sparse.eye(3, format="csr"))
rows_of(torch.eye(3).to_sparse())
assert warnings.filters == before, warnings.filters
assert torch.sparse.check_sparse_tensor_invariants.is_enabled()
try:
    torch.sparse_csr_tensor(torch.tensor([0, 2]), torch.tensor([1, 0]), torch.ones(2), (1, 2))
except RuntimeError:
    print("a user's tensors are still checked")
"""


def test_checks_and_warnings_of_the_process_stay_as_they_were():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("a user's tensors are still checked\n", "")


def test_a_matrix_stays_itself():
    x = sp.random(7, 5, 0.4, format="csr", dtype=np.float32, random_state=0)
    there = torch.from_numpy(x.toarray())
    assert torch.equal(by_rows(x).to_dense(), there)
    assert torch.equal(rows_of(there.to_sparse()).to_dense(), there)


@given(
    shape=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    columns=st.one_of(st.integers(0, 20), st.integers(60, 70), st.integers(120, 200)),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    index=st.sampled_from([np.int32, np.int64]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    by_columns=st.booleans(),
    seed=st.integers(0, 9),
)
def test_a_product_is_scipys(shape, columns, density, index, dtype, by_columns, seed):
    """Rows and columns without entries, no rows at all, any number of columns, and a dense matrix that lies by columns."""
    rng = np.random.default_rng(seed)
    x = sp.random(*shape, density, format="csr", dtype=np.float64, random_state=seed)
    x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
    dense = rng.standard_normal((shape[1], columns))
    given_dense = torch.from_numpy(np.asfortranarray(dense) if by_columns else dense).to(dtype)
    found = times(by_rows(x, dtype), given_dense)
    assert found.dtype == dtype
    # Sums of at most 40 products of numbers around 1
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    np.testing.assert_allclose(found.numpy(), x @ dense, rtol=0, atol=tolerance)


@given(
    shape=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    cut=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    index=st.sampled_from([np.int32, np.int64]),
    seed=st.integers(0, 9),
)
def test_some_rows_as_columns_are_those_of_the_dense_matrix(shape, cut, density, index, seed):
    x = sp.random(*shape, density, format="csr", dtype=np.float32, random_state=seed)
    x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
    first, stop = sorted(min(place, shape[0]) for place in cut)
    found = columns_of(by_rows(x), first, stop)
    assert found.is_contiguous()
    np.testing.assert_array_equal(found.numpy(), x.toarray()[first:stop].T)


@pytest.mark.parametrize("columns", [None, 1, 16, 17, 64, 65, 150])
def test_a_row_is_the_same_whatever_else_is_in_the_matrix(columns):
    """To the last digit, although more rows are summed by parts of the columns."""
    x = sp.random(300, 30, 0.3, format="csr", dtype=np.float32, random_state=0)
    shape = (30,) if columns is None else (30, columns)
    dense = torch.from_numpy(np.random.default_rng(1).standard_normal(shape).astype(np.float32))
    some = times(by_rows(x[7:9]), dense)
    assert len(x[7:9].data) < sparse._COPIES * 30 < len(x.data)
    assert torch.equal(some, times(by_rows(x), dense)[7:9])


def test_the_gradient_of_a_product_is_that_of_the_dense_one():
    x = sp.random(50, 30, 0.3, format="csr", dtype=np.float32, random_state=0)
    matrix, transposed = by_rows(x), by_rows(x.T.tocsr())
    weights = torch.randn(50, 40)
    found, wanted = (torch.randn(30, 40, generator=torch.Generator().manual_seed(0)) for _ in "ab")
    for dense in (found, wanted):
        dense.requires_grad_()
    (product(matrix, transposed, found) * weights).sum().backward()
    ((matrix.to_dense() @ wanted) * weights).sum().backward()
    torch.testing.assert_close(found.grad, wanted.grad, rtol=0, atol=1e-5)
