"""Leading eigenpairs and singular vectors against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.linear import eigen
from recbole_ext.linear.eigen import leading
from recbole_ext.linear.graph import Graph, shared_factor


def binary(rng, m, n, share):
    return sp.csr_matrix((rng.random((m, n)) < share).astype(np.float32))


def normalised(x):
    """R̃ by loops over cells, zeros where a degree is 0."""
    x = x.toarray().astype(float)
    users, items = x.sum(1), x.sum(0)
    out = np.zeros_like(x)
    for u, i in zip(*np.nonzero(x), strict=True):
        out[u, i] = 1 / np.sqrt(users[u] * items[i])
    return out


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(2, 40), st.floats(0.02, 0.6))
def test_values_and_the_space_of_vectors_are_those_of_a_dense_decomposition(seed, m, n, share):
    rng = np.random.default_rng(seed)
    x, k = binary(rng, m, n, share), int(rng.integers(1, n + 1))
    graph = Graph.of(x, dtype=torch.float64)
    _, s, vt = np.linalg.svd(normalised(x))
    factor = graph.factor(k)
    r = min(k, int((s > 1e-5).sum()))
    assert len(factor.values) == r
    np.testing.assert_allclose(factor.values, s[:r], atol=1e-10)
    v = factor.vectors.numpy()
    np.testing.assert_allclose(v.T @ v, np.eye(r), atol=1e-10)
    if r == len(s) or r == 0 or s[r - 1] - (s[r] if r < len(s) else 0) > 1e-3:
        # Where the next value is the same the vectors are a choice.
        np.testing.assert_allclose(v @ v.T, vt[:r].T @ vt[:r], atol=1e-8)


@pytest.mark.parametrize("k", [5, 30, 60])
def test_restarts_converge_to_the_same(k, monkeypatch):
    x = binary(np.random.default_rng(k), 300, 250, 0.05)
    graph = Graph.of(x, dtype=torch.float64)
    _, s, vt = np.linalg.svd(normalised(x))
    assert s[k - 1] - s[k] > 1e-4
    monkeypatch.setattr(eigen, "_limit", lambda n, k: k + 4 * eigen._width(k))
    restarts = []
    restart = eigen._Basis.restart
    monkeypatch.setattr(eigen._Basis, "restart", lambda basis, keep: (restarts.append(keep), restart(basis, keep)))  # fmt: skip
    factor = graph.factor(k)
    assert restarts
    np.testing.assert_allclose(factor.values, s[:k], atol=1e-12)
    v = factor.vectors.numpy()
    # An angle is at most the residual over the gap.
    np.testing.assert_allclose(v @ v.T, vt[:k].T @ vt[:k], atol=1e-8 / (s[k - 1] ** 2 - s[k] ** 2))


def test_an_eigenvalue_of_more_parts_than_a_block_is_wide_is_found_as_often():
    rng = np.random.default_rng(0)
    islands = [np.ones((3, 2))] * 150
    x = sp.block_diag([binary(rng, 400, 300, 0.05), *islands]).tocsr()
    factor = Graph.of(x, dtype=torch.float64).factor(100)
    np.testing.assert_allclose(factor.values, np.ones(100), atol=1e-10)


def test_a_matrix_that_is_known_by_products_only():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(70, 20))
    a = torch.from_numpy(a @ a.T / 100)
    values, vectors = leading(lambda y: a @ y, 70, 12)
    np.testing.assert_allclose(a @ vectors, vectors * values, atol=1e-8)
    np.testing.assert_allclose(values, torch.linalg.eigvalsh(a).flip(0)[:12], atol=1e-10)
    assert bool((vectors.gather(0, vectors.abs().argmax(0, keepdim=True)) > 0).all())


def test_nothing_is_asked_of_nothing():
    empty = sp.csr_matrix((5, 4), dtype=np.float32)
    for k in (0, 3):
        factor = Graph.of(empty, dtype=torch.float64).factor(k)
        assert factor.values.shape == (0,) and factor.vectors.shape == (4, 0)
        assert factor.padded(3).vectors.shape == (4, 3)


def test_a_factor_is_shared_by_who_asks_for_the_same_and_by_nobody_else():
    x = binary(np.random.default_rng(2), 30, 20, 0.2)
    one = shared_factor(x, 5)
    assert shared_factor(x.copy(), 5) is one
    assert shared_factor(x, 6) is not one
    again = shared_factor(x, 5)
    assert torch.equal(again.vectors, one.vectors)
    other = x.tolil()
    other[0, 0] = 1 - other[0, 0]
    assert not torch.equal(shared_factor(other.tocsr(), 5).values, one.values)
    assert not torch.equal(shared_factor(x, 5, 0.3).values, one.values)
