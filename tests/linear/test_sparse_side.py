"""The sparse side of P = (XᵀX + λI)⁻¹ against dense inverses."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.linear.local_inverse import NONE, block_grams, pattern_of
from recbole_ext.linear.semantics import Semantics, ease_teacher
from recbole_ext.linear.solution import Distillation, collective, ease
from recbole_ext.linear.sparse_gram import SparseGram, solve
from recbole_ext.linear.sparse_side import (
    ENTRIES,
    SparseInverses,
    density_within,
    entries_of,
    sparse_bytes,
)

# What is kept of P is float32: 6e-8 of entries of at most 1 / λ.
NARROW = 1e-6


def data(seed, m=60, n=25, share=0.2):
    """X without a user of item 3, without an item of user 5."""
    x = (np.random.default_rng(seed).random((m, n)) < share).astype(np.float32)
    x[:, 3], x[5] = 0, 0
    return sp.csr_matrix(x)


def exact(x, ridge):
    dense = x.toarray().astype(np.float64)
    return np.linalg.inv(dense.T @ dense + ridge * np.eye(x.shape[1]))


def side_of(x, ridge, density=None, precision="float64"):
    return SparseInverses(x, density, precision, "cpu").at(ridge)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0.5, 300), st.floats(0.05, 0.9))
def test_each_column_is_the_inverse_among_its_neighbours(seed, ridge, density):
    x = data(seed)
    made = side_of(x, ridge, density)
    a = np.linalg.inv(exact(x, ridge))
    p = made.p.toarray()
    pattern = pattern_of(SparseGram(x), entries_of(density, 25))
    for j, row in enumerate(pattern):
        mine = row[row != NONE]
        expected = np.zeros(25)
        expected[mine] = np.linalg.inv(a[np.ix_(mine, mine)])[:, 0]
        assert mine[0] == j
        np.testing.assert_allclose(p[:, j], expected, atol=NARROW)
    # An inverse's diagonal grows with the items that it is made among.
    assert (made.diagonal.numpy() <= exact(x, ridge).diagonal() + 1e-12).all()
    users = np.array([0, 5, 59, 7])
    np.testing.assert_allclose(made.rows(users), x[users] @ p, atol=NARROW * 25)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.floats(0.5, 300))
def test_at_density_one_it_is_the_inverse(seed, ridge):
    x = data(seed)
    made = side_of(x, ridge, 1.0)
    np.testing.assert_allclose(made.p.toarray(), exact(x, ridge), atol=NARROW)
    np.testing.assert_allclose(made.diagonal, exact(x, ridge).diagonal(), atol=1e-12)
    assert (
        made.diagonal_error().most < 1e-6
    )  # residuals of 1e-4, squared, at condition numbers below 400


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0.5, 300), st.sampled_from(["float32", "float64"]))
def test_thin_products_are_exact_whatever_the_density(seed, ridge, precision):
    x = data(seed)
    right = torch.from_numpy(np.random.default_rng(seed).normal(size=(25, 70)))  # more than a block
    found = side_of(x, ridge, 0.1, precision).times(right)
    expected = exact(x, ridge) @ right.numpy()
    narrow = precision == "float32"
    assert found.dtype == (torch.float32 if narrow else torch.float64)
    # Residuals of 1e-6 (1e-8) of right-hand sides of about 5, and no more than 1 / λ times that.
    np.testing.assert_allclose(found, expected, atol=(1e-5 if narrow else 1e-7) / ridge)


def test_what_is_solved_from_a_solution_near_by_takes_fewer_steps():
    x, right = data(1, 400, 90), torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    gram = SparseGram(x, dtype=torch.float64)
    cold = solve(gram, 4.0, right.double())
    near = solve(gram, 4.2, right.double())
    warm = solve(gram, 4.0, right.double(), near.z)
    assert warm.steps < cold.steps and warm.residual <= 1e-8
    np.testing.assert_allclose(warm.z, cold.z, atol=1e-7)


def b_of(side, solution, n):
    """B from what scores are made of, row by row."""
    p = side.fold(sp.identity(n, dtype=np.float32, format="csr")).double()
    b = p * solution.c.double()
    if solution.left is not None:
        b += solution.weight * (solution.left @ solution.right).double()
    b.diagonal().add_(solution.own(side.diagonal).double())
    return b.numpy()


def loss(b, x, ridge, distil=0.0, s=0.0):
    return ((x - x @ b) ** 2).sum() + ridge * (b**2).sum() + distil * ((b - s) ** 2).sum()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.integers(0, 24), st.integers(0, 24))
def test_ease_and_l3ae_are_the_best_with_their_pattern(seed, i, j):
    """Either's loss grows along every direction that its pattern has."""
    x = data(seed, share=0.3)
    dense = x.toarray().astype(np.float64)
    f = np.random.default_rng(seed).normal(size=(6, 25))
    teacher = ease_teacher(Semantics.of(torch.from_numpy(f)), 2.0)
    made = side_of(x, 9.0, 0.3)
    row = pattern_of(SparseGram(x), entries_of(0.3, 25))[j]
    if i == j or i not in row:
        return
    step = np.zeros((25, 25))
    step[i, j] = 1.0
    plain = b_of(made, ease(made.diagonal), 25)
    distilled = b_of(
        made, Distillation.of(made.diagonal, made.times(teacher.f.T), teacher).at(5.0), 25
    )
    s = teacher.matrix().numpy()
    for b, terms in ((plain, (9.0,)), (distilled, (4.0, 5.0, s))):
        assert np.abs(b.diagonal()).max() < 1e-5
        up, here, down = (loss(b + h * step, dense, *terms) for h in (1e-2, 0.0, -1e-2))
        # The slope, of a curvature of at least 9: nothing but the float32 of P is in it.
        assert abs(up - down) / 2e-2 < 1e-3 and up > here and down > here


def test_everything_in_density_one_is_the_dense_solution():
    x = data(4)
    f = Semantics.of(torch.from_numpy(np.random.default_rng(4).normal(size=(6, 25))))
    made, p = side_of(x, 9.0, 1.0), torch.from_numpy(exact(x, 9.0))
    pf, near = p @ f.f.T, made.times(f.f.T)
    teacher = ease_teacher(f, 2.0)
    for found, dense in (
        (ease(made.diagonal), ease(p.diagonal())),
        (collective(made.diagonal, near, f, 3.0, made.totals), collective(p.diagonal(), pf, f, 3.0)),
        (
            Distillation.of(made.diagonal, near, teacher).at(5.0),
            Distillation.of(p.diagonal(), pf, teacher).at(5.0),
        ),
    ):  # fmt: skip
        np.testing.assert_allclose(b_of(made, found, 25), dense.into_(p.clone()), atol=1e-5)


def test_components_without_a_common_user_know_nothing_of_each_other():
    one, two = data(7), data(8)
    both = sp.block_diag([one, two], "csr")
    together = side_of(both, 3.0, 0.2)
    p = together.p.toarray()
    assert not p[:25, 25:].any() and not p[25:, :25].any()
    alone = side_of(one, 3.0, 10 / 25)  # as many in a column
    np.testing.assert_allclose(p[:25, :25], alone.p.toarray(), atol=NARROW)


def test_an_item_without_users_has_itself_alone():
    made = side_of(data(2), 4.0, 0.5)
    assert made.p[:, [3]].nnz == made.p[[3]].nnz == 1 and float(made.diagonal[3]) == 0.25


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(1, 30))
def test_patterns_hold_the_nearest_and_blocks_their_counts(seed, most):
    x = data(seed, 30, 12, 0.3)
    g = (x.T @ x).toarray()
    pattern = pattern_of(SparseGram(x), most)
    near = g / np.sqrt(g.diagonal() + 3)
    for j, row in enumerate(pattern):
        others = row[1:][row[1:] != NONE]
        expected = [i for i in np.argsort(-near[j], kind="stable") if i != j and g[j, i]]
        # Quotients that are equal may round apart in float32.
        np.testing.assert_allclose(near[j][others], near[j][expected[: most - 1]], rtol=1e-6)
    for row, block in zip(pattern, block_grams(SparseGram(x), pattern), strict=True):
        there = row != NONE
        assert (block[np.ix_(there, there)] == g[np.ix_(row[there], row[there])]).all()
        assert not block[~there].any()


def test_the_same_data_gives_the_same_weights_however_many_threads_count(monkeypatch):
    monkeypatch.setattr("recbole_ext.linear.local_inverse._NUMBERS", 2000)  # a dozen blocks
    found = []
    for threads in (1, 1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(side_of(data(3, 300, 80), 5.0, 0.2, "auto").p)
    assert all((found[0] != again).nnz == 0 for again in found[1:])


@pytest.mark.parametrize("density", [0.3, 1.0])
@pytest.mark.parametrize("ridge", [1e-9, 0.0, -1.0])
def test_where_the_factor_breaks_down_a_line_says_the_way_out(ridge, density):
    x = data(6, 300, 40)
    twins = sp.csr_matrix(np.repeat(x.toarray(), 2, axis=1))  # XᵀX is singular
    with pytest.raises(HarnessError, match="raise the regularisation") as caught:
        side_of(twins, ridge, density, "float32")
    assert "\n" not in str(caught.value)
    if ridge > 0:
        assert "--precision=float64" in str(caught.value)


@pytest.mark.parametrize(("dtype", "wider"), [(torch.float32, True), (torch.float64, False)])
def test_conjugate_gradients_that_do_not_arrive_say_so(dtype, wider):
    x = data(6, 300, 40)
    twins = SparseGram(sp.csr_matrix(np.repeat(x.toarray(), 2, axis=1)), dtype=dtype)
    right = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(HarnessError, match="residual of") as caught:
        solve(twins, 1e-20, right.to(dtype))
    assert ("--precision=float64" in str(caught.value)) is wider


def test_a_density_is_a_share_of_the_entries():
    assert entries_of(None, 20) == 20 and entries_of(None, 10**6) == ENTRIES
    assert entries_of(0.01, 1000) == 10 and entries_of(1e-9, 1000) == 1
    for wrong in (0.0, -0.1, 1.1):
        with pytest.raises(HarnessError, match="above 0 to 1"):
            entries_of(wrong, 10)


@pytest.mark.parametrize("n", [50, 10_000, 10**6])
@pytest.mark.parametrize("gib", [0.001, 0.5, 8, 1000])
def test_the_density_that_fits_fits(n, gib):
    density = density_within(int(gib * 2**30), n)
    if density is None:
        assert sparse_bytes(1 / n, n) > gib * 2**30
    else:
        assert 0 < density <= 1 and sparse_bytes(density, n) <= gib * 2**30
