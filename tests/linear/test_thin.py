"""Sums over the short side of thin products, by blocks."""

from __future__ import annotations

import pytest
import torch

from recbole_ext.linear import thin


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 63, 1000])
def test_in_blocks_they_are_those_of_the_whole_product_to_the_bit(n, dtype, monkeypatch):
    of = torch.Generator().manual_seed(n)
    a, b = (torch.randn(37, n, dtype=dtype, generator=of) for _ in range(2))
    by_rows = a.T.contiguous()
    columns, rows, strided = (a * b).sum(0), (by_rows * b.T).sum(1), (a.T * b.T).sum(1)
    monkeypatch.setattr(thin, "_BLOCK", 128)
    assert torch.equal(thin.column_products(a, b), columns)
    assert torch.equal(thin.row_products(by_rows, b), rows)
    assert torch.equal(thin.row_products(a.T, b), strided)


def test_of_no_items_there_are_no_sums():
    assert thin.column_products(torch.ones(3, 0), torch.ones(3, 0)).shape == (0,)
    assert thin.row_products(torch.ones(0, 3), torch.ones(3, 0)).shape == (0,)
