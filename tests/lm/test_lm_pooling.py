from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.lm.pooling import pool


def _slow(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> np.ndarray:
    out = np.zeros((hidden.shape[0], hidden.shape[2]))
    for row in range(hidden.shape[0]):
        tokens = [hidden[row, t].double().numpy() for t in range(hidden.shape[1]) if mask[row, t]]
        if tokens:
            out[row] = tokens[-1] if how == "last" else sum(tokens) / len(tokens)
    return out


@st.composite
def _batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of 0 to T tokens, padded on the left or on the right, NaN at padding."""
    rows, width, dim = (draw(st.integers(1, most)) for most in (4, 6, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    hidden = torch.randn(rows, width, dim, generator=generator)
    mask = torch.zeros(rows, width, dtype=torch.long)
    for row in range(rows):
        length = draw(st.integers(0, width))
        start = draw(st.sampled_from([0, width - length]))
        mask[row, start : start + length] = 1
    hidden[mask == 0] = draw(st.sampled_from([float("nan"), float("inf"), 1e30]))
    return hidden, mask


@settings(max_examples=150, deadline=None)
@given(_batches(), st.sampled_from(["mean", "last"]), st.sampled_from([torch.long, torch.bool]))
def test_equals_a_loop(
    batch: tuple[torch.Tensor, torch.Tensor], how: str, kind: torch.dtype
) -> None:
    hidden, mask = batch
    got = pool(hidden, mask.to(kind), how)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), _slow(hidden, mask, how), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["mean", "last"])
def test_the_side_of_the_padding_does_not_matter(how: str) -> None:
    tokens = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1))
    waste = torch.full((1, 2, 4), 99.0)
    left = pool(torch.cat([waste, tokens], 1), torch.tensor([[0, 0, 1, 1, 1]]), how)
    right = pool(torch.cat([tokens, waste], 1), torch.tensor([[1, 1, 1, 0, 0]]), how)
    assert torch.allclose(left, right, atol=1e-6)
    assert torch.allclose(left, tokens[:, -1] if how == "last" else tokens.mean(1), atol=1e-6)


def test_sums_of_half_precision_are_accumulated_in_float32() -> None:
    # In bfloat16 a running sum of ones stops at 256.
    hidden = torch.ones(1, 5000, 1, dtype=torch.bfloat16)
    mask = torch.ones(1, 5000, dtype=torch.long)
    assert pool(hidden, mask, "mean").item() == 1.0
    assert pool(torch.full((1, 4096, 1), 60000.0).half(), mask[:, :4096], "mean").item() == 60000.0


@pytest.mark.parametrize("how", ["mean", "last"])
def test_a_row_of_padding_is_zero(how: str) -> None:
    hidden = torch.full((2, 3, 2), float("nan"))
    hidden[1] = 1.0
    got = pool(hidden, torch.tensor([[0, 0, 0], [1, 1, 0]]), how)
    assert got.tolist() == [[0, 0], [1, 1]]
    assert pool(torch.zeros(2, 0, 3), torch.zeros(2, 0), how).tolist() == [[0, 0, 0]] * 2


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="mean, last"):
        pool(torch.zeros(1, 1, 1), torch.ones(1, 1), "max")
    with pytest.raises(ValueError, match="do not fit"):
        pool(torch.zeros(2, 3, 1), torch.ones(3, 2), "mean")
