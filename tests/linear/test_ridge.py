"""The closed forms against a slow constrained solve, column by column, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.linear.ridge import gram, largest_eigenvalue, ridge_inverse_, working_dtype
from recbole_ext.linear.semantics import Semantics, Teacher, cosine_teacher, ease_teacher
from recbole_ext.linear.sides import ItemSide, UserSide, invert_, side_gram
from recbole_ext.linear.solution import Distillation, additive, alone, collective, ease

# Float64 throughout; systems of 25 unknowns with condition below 1e4 leave about 1e-11.
EXACT = 1e-10


def slow(a: np.ndarray, r: np.ndarray) -> np.ndarray:
    """argmin tr(BᵀAB) - 2tr(BᵀR), diag(B) = 0: solve each column on its free rows."""
    n = len(a)
    b = np.zeros((n, n))
    for j in range(n):
        free = np.arange(n) != j
        b[free, j] = np.linalg.solve(a[np.ix_(free, free)], r[free, j])
    return b


def data(seed: int, m: int = 60, n: int = 25, d: int = 7):
    rng = np.random.default_rng(seed)
    x = (rng.random((m, n)) < 0.2).astype(float)
    f = rng.normal(size=(d, n))
    return x, f / np.linalg.norm(f, axis=0)


def distilled(p: torch.Tensor, teacher: Teacher, reg_kd: float) -> torch.Tensor:
    pf = p @ teacher.f.T
    return Distillation.of(p.diagonal().clone(), pf, teacher).at(reg_kd).into_(p.clone())


def ease_(p: torch.Tensor) -> torch.Tensor:
    return ease(p.diagonal().clone()).into_(p)


def turned(f: np.ndarray | torch.Tensor) -> Semantics:
    return Semantics.of(torch.as_tensor(f))


def inverse(x: np.ndarray, ridge: float) -> torch.Tensor:
    return ridge_inverse_(torch.from_numpy(x.T @ x), ridge)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0.5, 500))
def test_ease_is_the_constrained_ridge_regression(seed, ridge):
    x, _ = data(seed)
    expected = slow(x.T @ x + ridge * np.eye(25), x.T @ x)
    np.testing.assert_allclose(ease_(inverse(x, ridge)), expected, atol=EXACT)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from([(2, 3), (-2, 6), (0, 4), (5, 0), (50, 200)]),
    st.floats(0.05, 50),
)
def test_l3ae_is_the_constrained_distillation(seed, weights, reg_f):
    reg_x, reg_kd = weights
    x, f = data(seed)
    s = slow(f.T @ f + reg_f * np.eye(25), f.T @ f)
    expected = slow(x.T @ x + (reg_x + reg_kd) * np.eye(25), x.T @ x + reg_kd * s)
    p, ft = inverse(x, reg_x + reg_kd), torch.from_numpy(f)
    teacher = ease_teacher(turned(ft), reg_f)
    np.testing.assert_allclose(teacher.matrix(), s, atol=EXACT)
    np.testing.assert_allclose(teacher.a, -(teacher.f * teacher.m).sum(0), atol=EXACT)
    np.testing.assert_allclose(distilled(p, teacher, reg_kd), expected, atol=EXACT)


def test_b_is_affine_in_the_distillation_weight():
    x, f = data(2)
    p, ft = inverse(x, 6.0), torch.from_numpy(f)
    teacher = ease_teacher(turned(ft), 0.5)
    base = ease_(p.clone())
    slope = distilled(p, teacher, 1.0) - base
    for weight in (1.0, 4.0, 9.0):
        np.testing.assert_allclose(base + weight * slope, distilled(p, teacher, weight), atol=EXACT)
    np.testing.assert_allclose(distilled(p, teacher, 0.0), base, atol=EXACT)


def test_the_cosine_teacher_is_the_gram_matrix_without_its_diagonal():
    x, f = data(3)
    s = f.T @ f - np.diag((f * f).sum(0))
    np.testing.assert_allclose(cosine_teacher(turned(f)).matrix(), s, atol=EXACT)
    expected = slow(x.T @ x + 2 * np.eye(25), x.T @ x + 1.5 * s)
    found = distilled(inverse(x, 2.0), cosine_teacher(turned(f)), 1.5)
    np.testing.assert_allclose(found, expected, atol=EXACT)


def test_items_without_interactions_or_text_get_nothing():
    x, f = data(4)
    x[:, 3] = 0
    f[:, 3] = 0
    p, ft = inverse(x, 5.0), torch.from_numpy(f)
    b = distilled(p, ease_teacher(turned(ft), 1.0), 3.0)
    assert b[3].abs().max() < EXACT and b[:, 3].abs().max() < EXACT
    assert torch.isfinite(b).all()


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from([(2, 3), (-2, 6), (0, 4), (5, 0), (50, 200)]),
    st.floats(0.05, 50),
)
def test_the_dual_inverts_the_users_side(seed, weights, reg_f):
    """Everything that L3AE needs of P from K = (XXᵀ + λI)⁻¹ alone, fewer users than items (40 < 70)."""
    reg_x, reg_kd = weights
    ridge = reg_x + reg_kd
    x, f = data(seed, m=40, n=70)
    k = np.linalg.inv(x @ x.T + ridge * np.eye(40))
    y = k @ x
    p = torch.from_numpy(np.linalg.inv(x.T @ x + ridge * np.eye(70)))
    np.testing.assert_allclose(x @ p.numpy(), y, atol=EXACT)  # push-through
    diagonal = (1 - (x * y).sum(0)) / ridge
    np.testing.assert_allclose(diagonal, p.diagonal(), atol=EXACT)
    pf = (f.T - x.T @ (y @ f.T)) / ridge
    np.testing.assert_allclose(pf, p.numpy() @ f.T, atol=EXACT)

    kf = np.linalg.inv(f @ f.T + reg_f * np.eye(7)) @ f
    q = (1 - (f * kf).sum(0)) / reg_f
    teacher = ease_teacher(turned(f), reg_f)
    ps = p @ teacher.matrix()
    ps_diagonal = diagonal - (diagonal - (pf * kf.T).sum(1)) / (reg_f * q)
    np.testing.assert_allclose(ps_diagonal, ps.diagonal(), atol=EXACT)
    ys = y - (y - (y @ f.T) @ kf) / (reg_f * q)
    np.testing.assert_allclose(ys, x @ ps.numpy(), atol=EXACT)

    multiplier = (1 + reg_kd * ps_diagonal) / diagonal
    scores = reg_kd * ys - y * multiplier + x
    b = distilled(p, teacher, reg_kd)
    np.testing.assert_allclose(scores, x @ b.numpy(), atol=EXACT)
    new = (np.random.default_rng(seed).random(70) < 0.3).astype(float)
    np.testing.assert_allclose((new - (new @ x.T) @ y) / ridge, new @ p.numpy(), atol=EXACT)


def test_collective_ridge_is_ease_on_stacked_rows():
    x, f = data(6)
    alpha = 2.5
    stacked = np.vstack([x, np.sqrt(alpha) * f])
    gram_sum = x.T @ x + alpha * f.T @ f
    one = ease_(ridge_inverse_(torch.from_numpy(stacked.T @ stacked), 4.0))
    two = ease_(ridge_inverse_(torch.from_numpy(gram_sum.copy()), 4.0))
    np.testing.assert_allclose(one, two, atol=EXACT)
    np.testing.assert_allclose(one, slow(gram_sum + 4 * np.eye(25), gram_sum), atol=EXACT)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.floats(1e-6, 10))
def test_the_edge_of_definiteness(seed, distance):
    """Just above minus the smallest eigenvalue there is an inverse, just below there is none."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(30, 8))
    a = half.T @ half + np.eye(8)
    smallest = float(np.linalg.eigvalsh(a)[0])
    p = ridge_inverse_(torch.from_numpy(a.copy()), distance - smallest)
    residual = p.numpy() @ (a + (distance - smallest) * np.eye(8)) - np.eye(8)
    # The condition number is at most 100 / distance; eight unknowns in float64.
    assert np.abs(residual).max() < 1e-12 * max(1.0, 100 / distance)
    with pytest.raises(HarnessError, match="not positive definite"):
        ridge_inverse_(torch.from_numpy(a.copy()), -distance - smallest)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(0, 24), st.integers(0, 24), st.integers(0, 59))
def test_items_and_users_without_anything_change_nothing_for_the_others(seed, bare, mute, idle):
    """An item without interactions, an item without text and a user without items are in the data."""
    x, f = data(seed)
    x[:, bare], x[idle], f[:, mute] = 0, 0, 0
    s = slow(f.T @ f + 0.5 * np.eye(25), f.T @ f)
    expected = slow(x.T @ x + 6 * np.eye(25), x.T @ x + 4 * s)
    p, ft = inverse(x, 6.0), torch.from_numpy(f)
    b = distilled(p, ease_teacher(turned(ft), 0.5), 4.0)
    np.testing.assert_allclose(b, expected, atol=EXACT)
    assert s[mute].any() == s[:, mute].any() == False  # noqa: E712
    assert ease_(p.clone())[bare].abs().max() == 0


@pytest.mark.parametrize("ridge", [0.0, -1.0])
def test_a_sum_that_is_not_positive_definite_is_one_line(ridge):
    g = torch.zeros(4, 4)
    with pytest.raises(HarnessError, match="not positive definite") as caught:
        ridge_inverse_(g, ridge)
    assert "\n" not in str(caught.value)


def test_a_negative_ridge_is_legal_above_minus_the_smallest_eigenvalue():
    g = torch.eye(5, dtype=torch.float64) * 4
    np.testing.assert_allclose(ridge_inverse_(g, -3.0), np.eye(5), atol=1e-12)


def test_precision_follows_the_condition_number():
    x = sp.csr_matrix((np.random.default_rng(0).random((300, 40)) < 0.3).astype(np.float32))
    g = gram(x)
    top = largest_eigenvalue(g)
    assert top == pytest.approx(float(np.linalg.eigvalsh(g.numpy())[-1]), rel=1e-4)
    assert working_dtype(g, top) is torch.float32
    assert working_dtype(g, top * 1e-4) is torch.float64
    assert working_dtype(g, top * 1e-4, "float32") is torch.float32


def test_the_inverse_is_made_in_place_and_is_symmetric():
    x, _ = data(5)
    a = torch.from_numpy(x.T @ x)
    where = a.data_ptr()
    p = ridge_inverse_(a, 2.0)
    assert p.data_ptr() == where and p.is_contiguous()
    np.testing.assert_allclose(p, np.linalg.inv(x.T @ x + 2 * np.eye(25)), atol=EXACT)
    assert torch.equal(p, p.T)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0.0, 30), st.floats(0.5, 300))
def test_collective_is_ease_on_stacked_rows_for_every_alpha(seed, alpha, ridge):
    x, f = data(seed)
    both = x.T @ x + alpha * f.T @ f
    p, semantics = inverse(x, ridge), turned(f)
    pf = p @ semantics.f.T
    found = collective(p.diagonal().clone(), pf, semantics, alpha).into_(p.clone())
    np.testing.assert_allclose(found, slow(both + ridge * np.eye(25), both), atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0, 1), st.floats(0.05, 50))
def test_additive_mixes_two_solutions(seed, alpha, reg_f):
    x, f = data(seed)
    p = inverse(x, 4.0)
    b = slow(x.T @ x + 4 * np.eye(25), x.T @ x)
    s = slow(f.T @ f + reg_f * np.eye(25), f.T @ f)
    found = additive(p.diagonal().clone(), ease_teacher(turned(f), reg_f), alpha).into_(p.clone())
    np.testing.assert_allclose(found, (1 - alpha) * b + alpha * s, atol=EXACT)


def test_a_rotation_and_directions_that_hold_nothing_change_nothing():
    rng = np.random.default_rng(9)
    _, f = data(9)
    twice = np.vstack([f, f[:3], np.zeros((2, 25))])  # rank 7 in 12 directions
    basis = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    s = slow(twice.T @ twice + 0.3 * np.eye(25), twice.T @ twice)
    for vectors in (twice, basis @ twice):
        semantics = turned(vectors)
        assert semantics.f.shape == (7, 25)
        np.testing.assert_allclose(semantics.f.T @ semantics.f, twice.T @ twice, atol=EXACT)
        np.testing.assert_allclose(ease_teacher(semantics, 0.3).matrix(), s, atol=EXACT)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.floats(0.5, 300))
def test_both_sides_are_the_same_inverse(seed, ridge):
    """40 users, 70 items, one user and one item without anything; new users folded in."""
    x, f = data(seed, m=40, n=70)
    x[3], x[:, 5] = 0, 0
    sparse = sp.csr_matrix(x)
    sides = {
        side: invert_(sparse, side_gram(sparse, side, "cpu").double(), ridge, side, "float64")
        for side in ("items", "users")
    }
    assert isinstance(sides["items"], ItemSide) and isinstance(sides["users"], UserSide)
    exact = np.linalg.inv(x.T @ x + ridge * np.eye(70))
    new = (np.random.default_rng(seed).random((5, 70)) < 0.2).astype(float)
    users = np.array([0, 3, 39, 7])
    for side in sides.values():
        np.testing.assert_allclose(side.diagonal, exact.diagonal(), atol=EXACT)
        np.testing.assert_allclose(side.times(torch.from_numpy(f.T)), exact @ f.T, atol=EXACT)
        np.testing.assert_allclose(side.rows(users), x[users] @ exact, atol=EXACT)
        np.testing.assert_allclose(side.fold(sp.csr_matrix(new)), new @ exact, atol=EXACT)


def test_the_teacher_alone_needs_no_p():
    _, f = data(11)
    teacher = ease_teacher(turned(f), 2.0)
    found = alone(teacher)
    assert found.left is not None and found.right is not None and found.c is None
    b = found.left @ found.right + torch.diag(found.own(None))
    np.testing.assert_allclose(b, teacher.matrix(), atol=EXACT)
