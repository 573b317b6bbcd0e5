"""Products of sparse with dense matrices against PyTorch's own; a sparse fit against what it cannot do without: products with X, one G,
and small factorisations."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks.speed.measure import FULL, least_seconds, size
from recbole_ext.core.sparse import by_rows, times
from recbole_ext.linear.local_inverse import NONE, local_inverse, pattern_of
from recbole_ext.linear.sparse_gram import SparseGram, solve

ENTRIES, WIDTH, RIDGE = 64, 64, 100.0


def problem(n: int) -> SparseGram:
    """Twice as many users as items, 25 interactions each, popularity by a power law."""
    rng = np.random.default_rng(0)
    share = (np.arange(n) + 20.0) ** -0.9
    users = np.repeat(np.arange(2 * n), 25)
    items = rng.choice(n, len(users), p=share / share.sum())
    x = sp.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=(2 * n, n))
    x.data[:] = 1
    return SparseGram(x)


def test_products_against_pytorchs(figure):
    """Few columns are those of a graph model's vectors; as many as items are those of an item matrix, by which users are scored."""
    x = problem(size(40_000, 5_000)).x
    users, columns = x[: size(4_096, 512)], size(20_000, 5_000)
    for rows, n in ((x, 64), (x, 32), (users[:, :columns], columns)):
        matrix, dense = by_rows(rows), torch.randn(rows.shape[1], n)
        took = least_seconds(
            {"ours": lambda: times(matrix, dense), "theirs": lambda: matrix @ dense},  # noqa: B023
            5,
        )
        figure(
            f"PyTorch's product of {rows.shape[0]:,} x {rows.shape[1]:,} by rows, {rows.nnz:,} numbers, with {n:,} columns, in ours",
            took["theirs"] / took["ours"],
            above=1.0 if FULL else 0.7,  # where there is nothing to win, at least nothing is lost
        )


def test_conjugate_gradients_against_their_products(figure):
    """The least is one product with G a step. A product gathers a row of Z for each interaction, twice; the least of that is a copy."""
    gram = problem(size(100_000, 5_000))
    z = torch.randn(len(gram), WIDTH)
    gathered = torch.empty(2 * gram.x.nnz, WIDTH)
    source = torch.randn_like(gathered)
    steps = solve(gram, RIDGE, z).steps
    took = least_seconds(
        {
            "product": lambda: gram @ z,
            "solve": lambda: solve(gram, RIDGE, z),
            "copy": lambda: gathered.copy_(source),
        },
        size(3, 12),
    )
    n = f"{len(gram):,} items, {gram.x.nnz:,} interactions"
    figure(
        f"conjugate gradients of {WIDTH} columns, {n}, in their {steps} products with G",
        took["solve"] / (steps + 1) / took["product"],
        below=1.4 if FULL else 2.5,  # a long piece of work against the luckiest short one
    )
    figure(
        f"a product of G with {WIDTH} columns, {n}, in copies of what it gathers",
        took["product"] / took["copy"],
        below=3.0 if FULL else 1.5,  # Z stays in the cache at a small n
    )


def test_neighbours_and_local_inverses_against_their_parts(figure):
    """Neighbours need the entries of G once; the columns of P a factorisation of a small block each, 1/3 k^3 flops."""
    gram = problem(size(100_000, 5_000))
    pattern = pattern_of(gram, ENTRIES)
    assert (pattern != NONE).mean() > 0.9  # blocks are full
    # As many blocks, some at a time, of the same size: what is in them does not matter.
    many = size(4_096, 1_024)
    a = torch.eye(ENTRIES).repeat(many, 1, 1) * 100 + 1
    times = math.ceil(len(gram) / many)

    def factors() -> None:
        for _ in range(times):
            torch.linalg.cholesky_ex(a)

    def whole_g() -> None:
        step = 1_000
        for first in range(0, len(gram), step):
            _ = gram.columns[first : first + step] @ gram.x

    took = least_seconds(
        {
            "neighbours": lambda: pattern_of(gram, ENTRIES),
            "G": whole_g,
            "inverses": lambda: local_inverse(gram, pattern, RIDGE),
            "factors": factors,
        },
        1 if FULL else 2,
    )
    n = f"{len(gram):,} items"
    figure(
        f"{ENTRIES} neighbours of {n}, in SciPy's own time for G",
        took["neighbours"] / took["G"],
        below=4.0,
    )
    figure(
        f"P of {ENTRIES} entries a column, {n}, in factorisations of its blocks",
        took["inverses"] / took["factors"],
        below=25.0,
    )
