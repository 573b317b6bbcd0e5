"""Sums over the short side of products of thin matrices, without a third matrix of their size.

In blocks the numbers are those of the whole product, to the bit: rows are summed one by one, and columns in groups of which a block
holds a whole number.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

_BLOCK = 1 << 16
"""Rows or columns multiplied at a time, a multiple of what PyTorch sums side by side."""


def column_products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """[n] sum over i of a_ij b_ij, a and b [d, n]."""
    n = a.shape[1]
    return _joined([(a[:, some] * b[:, some]).sum(0) for some in _blocks(n)])


def row_products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """[n] diagonal of left right: left [n, d], right [d, n]."""
    return _joined([(left[some] * right[:, some].T).sum(1) for some in _blocks(len(left))])


def _blocks(n: int) -> Iterator[slice]:
    for first in range(0, max(n, 1), _BLOCK):
        yield slice(first, first + _BLOCK)


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
