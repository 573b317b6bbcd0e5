"""L3AE's fit against the flops it needs, and against the authors' formula; EASE against RecBole's."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks.speed.measure import FULL, least_seconds, size
from recbole_ext.core.environment import peak_memory_mb, reset_peak_memory
from recbole_ext.linear.ridge import gram, ridge_inverse_
from recbole_ext.linear.semantics import Semantics, ease_teacher
from recbole_ext.linear.solution import Distillation, ease

D = 384
AUTHORS = {1_000: 1.5, 2_000: 2.5, 3_000: 3, 6_000: 5, 12_000: 7}
"""What the authors' formula takes at least at n items, in fits of ours: a little over half of what was measured."""


def problem(n: int) -> tuple[sp.csr_matrix, torch.Tensor]:
    """Interactions of n items, eight a user, and unit text vectors [D, n]."""
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(2 * n), 8), rng.integers(0, n, 16 * n)
    x = sp.csr_matrix((np.ones(16 * n, np.float32), (users, items)), shape=(2 * n, n))
    x.data[:] = 1
    f = torch.from_numpy(rng.normal(size=(D, n)))
    return x, f / f.norm(dim=0)


def fit(x: sp.csr_matrix, f: torch.Tensor) -> torch.Tensor:
    p = ridge_inverse_(gram(x), 100.0)
    semantics = Semantics.of(f)
    pf = p @ semantics.f.T.float()
    line = Distillation.of(p.diagonal().clone(), pf, ease_teacher(semantics, 10.0))
    return line.at(100.0).into_(p)


def authors_formula(x: sp.csr_matrix, f: np.ndarray) -> np.ndarray:
    """Two float64 LU inverses and one n x n x n product."""
    n = x.shape[1]
    q = np.linalg.inv(f.T @ f + 10.0 * np.eye(n))
    s = q / -np.diag(q)
    np.fill_diagonal(s, 0)
    p = np.linalg.inv((x.T @ x).toarray().astype(np.float64) + 100.0 * np.eye(n))
    ps = p @ s
    b = 100.0 * ps - p * ((1 + 100.0 * np.diag(ps)) / np.diag(p))
    np.fill_diagonal(b, 0)
    return b


def recboles_ease(x: sp.csr_matrix) -> np.ndarray:
    """As RecBole's EASE solves: a dense inverse by LU of what SciPy adds up."""
    g = x.T @ x
    g += 100.0 * sp.identity(g.shape[0]).astype(np.float32)
    p = np.linalg.inv(g.todense())
    b = p / (-np.diag(p))
    np.fill_diagonal(b, 0.0)
    return b


def our_ease(x: sp.csr_matrix) -> torch.Tensor:
    p = ridge_inverse_(gram(x), 100.0)
    return ease(p.diagonal().clone()).into_(p)


def test_fit_against_the_gemm_rate(figure):
    n = size(12_000, 2_000)
    x, f = problem(n)
    a = torch.randn(n, n)
    took = least_seconds({"product": lambda: a @ a, "fit": lambda: fit(x, f)}, size(3, 5))
    figure(
        f"fit of L3AE at n = {n:,}, d = {D}, in n^3 flops at the rate of a product",
        took["fit"] / (took["product"] / 2),
        below=2.5 if FULL else 4.8,  # at a small n what is not n^3 weighs more
    )
    reset_peak_memory()
    before = peak_memory_mb()
    fit(x, f)
    matrices = (peak_memory_mb() - before) * 2**20 / (4 * n * n)
    assert matrices < 2.5 or not FULL


def test_growth_against_the_authors_formula_and_recboles_ease(figure):
    sizes = [size(3_000, 1_000), size(6_000, 2_000)] + [12_000] * FULL
    rows = []
    for n in sizes:
        x, f = problem(n)
        # The slow ones take minutes at a large n.
        quick = least_seconds({"fit": lambda: fit(x, f), "ease": lambda: our_ease(x)}, 3)  # noqa: B023
        slow = least_seconds(
            {"authors": lambda: authors_formula(x, f.numpy()), "recbole": lambda: recboles_ease(x)},  # noqa: B023
            1 if n > 6_000 else size(2, 1),
        )
        rows.append({**quick, **slow})
        if n == sizes[0]:
            np.testing.assert_allclose(fit(x, f), authors_formula(x, f.numpy()), atol=1e-5)
            np.testing.assert_allclose(our_ease(x), recboles_ease(x), atol=1e-5)
    for n, row in zip(sizes, rows, strict=True):
        figure(
            f"authors' formula at n = {n:,}, in fits of L3AE",
            row["authors"] / row["fit"],
            above=AUTHORS[n],
        )
        figure(
            f"EASE by RecBole at n = {n:,}, in solutions of ours",
            row["recbole"] / row["ease"],
            above=1.5,
        )
    for name, what in (("fit", "L3AE"), ("ease", "EASE")):
        exponent = np.log(rows[-1][name] / rows[0][name]) / np.log(sizes[-1] / sizes[0])
        figure(f"exponent of the growth of {what} from n = {sizes[0]:,} to {sizes[-1]:,}", exponent, below=3.5)  # fmt: skip
