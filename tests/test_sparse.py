"""Sparse tensors are made without a word, and without a setting of the whole process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ext.core.sparse import by_rows, rows_of

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import warnings
warnings.simplefilter("error")
import scipy.sparse, torch
torch.sparse.check_sparse_tensor_invariants.enable()
before = list(warnings.filters)
from recbole_ext.core.sparse import by_rows, rows_of
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
