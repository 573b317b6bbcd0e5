"""Homophily against a loop over users and pairs of their items."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_ext.linear import homophily as module
from recbole_ext.linear.homophily import homophily


def slow(rows, x, least):
    found = []
    for row in rows:
        pairs = list(itertools.combinations(np.flatnonzero(row), 2))
        hits = sum(int((x[:, i] * x[:, j]).sum() >= least) for i, j in pairs)
        found.append(hits / len(pairs) if pairs else 0.0)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [1, 5, 512])
def test_it_is_the_share_of_pairs_that_others_have(seed, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "_PAIRS", 7)
    rng = np.random.default_rng(seed)
    x = (rng.random((20, 13)) < 0.2).astype(np.float32)
    new = (rng.random((6, 13)) < 0.4).astype(np.float32)
    x[3], x[:, 4], new[2] = 0, 0, 0
    csr = sp.csr_matrix(x)
    assert homophily(csr, csr, 2).tolist() == pytest.approx(slow(x, x, 2), abs=1e-12)
    assert homophily(sp.csr_matrix(new), csr, 1).tolist() == pytest.approx(slow(new, x, 1), abs=1e-12)  # fmt: skip
    turned = csr.T.tocsr()
    assert homophily(turned, turned, 2).tolist() == pytest.approx(slow(x.T, x.T, 2), abs=1e-12)


def test_nobody_has_nothing():
    nobody = sp.csr_matrix((0, 4), dtype=np.float32)
    some = sp.csr_matrix(np.ones((2, 4), np.float32))
    assert homophily(nobody, some, 1).shape == (0,)
    assert homophily(sp.csr_matrix((3, 4), dtype=np.float32), some, 1).tolist() == [0, 0, 0]
