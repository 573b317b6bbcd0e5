"""Sums over all columns without the products of all rows, against torch's own steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.model import contrastive
from recbole_ext.model.contrastive import log_sum_exp


def drawn(seed, many, n, width, scale=1.0):
    made = torch.Generator().manual_seed(seed)
    shapes = (many, width), (n, width)
    return [
        (scale * torch.randn(*shape, generator=made, dtype=torch.float64)).requires_grad_()
        for shape in shapes
    ]


@settings(deadline=None)
@given(
    st.integers(0, 9),
    st.integers(1, 9),
    st.integers(1, 7),
    st.sampled_from([1, 5, 20, 10**6]),
    st.sampled_from([0.1, 1.0, 300.0]),
)
def test_values_and_gradients_are_those_of_torch(seed, many, n, cells, scale):
    rows, columns = drawn(seed, many, n, 3, scale)
    weights = torch.linspace(-1, 2, many, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "_CELLS", (cells, cells))  # Blocks of one row, of some, of all
        found = log_sum_exp(rows, columns)
        grads = torch.autograd.grad((found * weights).sum(), (rows, columns))
    wanted = torch.logsumexp(rows @ columns.T, 1)
    expected = torch.autograd.grad((wanted * weights).sum(), (rows, columns))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for one, other in zip(grads, expected, strict=True):  # of sums of a few terms as large as scale
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("cells", [1, 12, 10**6])
def test_each_rows_own_column_may_be_left_out(cells, monkeypatch):
    monkeypatch.setattr(contrastive, "_CELLS", (cells, cells))
    rows, columns = drawn(4, 5, 5, 3)
    found = log_sum_exp(rows, columns, but_own=True)
    products = (rows @ columns.T).masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf)
    wanted = torch.logsumexp(products, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for grads in zip(
        *(torch.autograd.grad(x.sum(), (rows, columns)) for x in (found, wanted)), strict=True
    ):
        torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)


def test_a_batch_of_one_has_nothing_else_and_learns_nothing():
    rows, columns = drawn(5, 1, 1, 3)
    loss = torch.nn.functional.softplus(log_sum_exp(rows, columns, but_own=True) - 0.5).mean()
    loss.backward()
    assert loss == 0 and not rows.grad.any() and not columns.grad.any()


def test_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(log_sum_exp, drawn(1, 4, 6, 3))


@pytest.mark.parametrize("which", [0, 1])
def test_a_side_that_learns_nothing_asks_for_no_gradient(which):
    sides = drawn(2, 5, 4, 3)
    sides[1 - which].requires_grad_(False)
    log_sum_exp(*sides).sum().backward()
    assert sides[which].grad is not None and sides[1 - which].grad is None


def test_there_may_be_no_rows():
    rows, columns = drawn(3, 0, 4, 3)
    found = log_sum_exp(rows, columns)
    found.sum().backward()
    assert found.shape == (0,) and rows.grad.shape == (0, 3) and not columns.grad.any()
