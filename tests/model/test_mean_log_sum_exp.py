"""Means of sums over all columns without the products of all rows, against torch's own steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core import contrastive
from recbole_ext.core.contrastive import among, mean_log_sum_exp, of_picked


def drawn(seed, many, n, width, scale=1.0):
    made = torch.Generator().manual_seed(seed)
    shapes = (many, width), (n, width)
    return [
        (scale * torch.randn(*shape, generator=made, dtype=torch.float64)).requires_grad_()
        for shape in shapes
    ]


def torchs(rows, columns, own=None, weights=None):
    products = rows @ columns.T
    if own is not None:
        at = torch.arange(len(rows))
        products = products.index_put((at, at), own)
    found = torch.logsumexp(products, 1)
    return found.mean() if weights is None else found @ weights


@settings(deadline=None)
@given(
    st.integers(0, 9),
    st.integers(1, 9),
    st.integers(1, 7),
    st.booleans(),
    st.sampled_from([1, 5, 20, 10**6]),
    st.sampled_from([0.1, 1.0, 300.0]),
    st.booleans(),
)
def test_values_and_gradients_are_those_of_torch(seed, many, n, replaced, cells, scale, weighted):
    rows, columns = drawn(seed, many, n + many * replaced, 3, scale)
    own = drawn(seed + 10, many, 1, 1, scale)[0].flatten() if replaced else None
    sides = (rows, columns, own)[: 2 + replaced]
    weights = torch.arange(many, dtype=torch.float64) if weighted else None  # one of them 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "_CELLS", (cells, cells))  # Blocks of one row, of some, of all
        found = mean_log_sum_exp(rows, columns, own, weights)
        grads = torch.autograd.grad(found * -1.5, sides)
    wanted = torchs(rows, columns, own, weights)
    expected = torch.autograd.grad(wanted * -1.5, sides)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for one, other in zip(grads, expected, strict=True):  # of sums of a few terms as large as scale
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12 * scale)


def test_a_row_with_nothing_but_its_own_learns_nothing():
    rows, columns = drawn(5, 1, 1, 3)
    own = torch.full((1,), 2.0, dtype=torch.float64, requires_grad=True)
    loss = mean_log_sum_exp(rows, columns, own) - own.mean()
    loss.backward()
    assert loss == 0 and not any(side.grad.any() for side in (rows, columns, own))


def test_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(mean_log_sum_exp, drawn(1, 4, 6, 3))
    sides = *drawn(1, 4, 6, 3), drawn(2, 4, 1, 1)[0].flatten()
    assert torch.autograd.gradcheck(mean_log_sum_exp, sides)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_side_that_learns_nothing_asks_for_no_gradient(which):
    own = drawn(3, 4, 1, 1)[0].flatten()
    sides = [side.detach() for side in (*drawn(2, 4, 5, 3), own)]
    sides[which].requires_grad_()
    mean_log_sum_exp(*sides).backward()
    assert [side.grad is not None for side in sides] == [at == which for at in range(3)]


def test_of_no_rows_there_is_no_mean():
    rows, columns = drawn(3, 0, 4, 3)
    assert mean_log_sum_exp(rows, columns).isnan()


@pytest.mark.parametrize("with_others", [True, False])
@given(picked=st.lists(st.integers(0, 5), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_rows_that_are_named_again_are_read_once(with_others, picked, seed):
    """What is named twice counts twice, as a row and as one of the others, in the value and in all gradients."""
    one, two = drawn(seed, 6, 6, 3)
    rows = torch.tensor(picked)
    once, counts = rows.unique(return_counts=True)
    wanted = among(one[rows], two[rows], 0.3, two if with_others else None)
    expected = torch.autograd.grad(wanted, (one, two))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "_CELLS", (12, 12))
        if with_others:
            found = of_picked(one, two, rows, 0.3, two)
        else:
            found = among(one[once], two[once], 0.3, counts=counts)
        grads = torch.autograd.grad(found, (one, two))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(grads, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
