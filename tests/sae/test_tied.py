"""The tied coder against loops in double precision, and on degenerate input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.sae import tied
from recbole_ext.sae.tied import TiedCoder, uniformity


def made(tied=True, standardise=True, k=3, width=7, latents=12, seed=0):
    torch.manual_seed(seed)
    coder = TiedCoder(width, latents, k, tied, standardise).double()
    with torch.no_grad():
        for parameter in coder.parameters():
            parameter.normal_()
    return coder


def slow(coder, x):
    """(h, x̂, labels) of one vector."""
    d, numbers = len(x), x.tolist()
    mean = sum(numbers) / d
    deviation = math.sqrt(sum((v - mean) ** 2 for v in numbers) / (d - 1))
    if not coder.standardise:
        mean, deviation = 0.0, 1.0
    standard = [(v - mean) / (deviation + (1e-7 if coder.standardise else 0)) for v in numbers]
    w, b, c = coder.encoder.tolist(), coder.bias.tolist(), coder.encoder_bias.tolist()
    dense = [c[j] + sum((standard[i] - b[i]) * w[j][i] for i in range(d)) for j in range(len(w))]
    kept = sorted(range(len(w)), key=lambda j: -dense[j])[: coder.k]
    code = [dense[j] if j in kept else 0.0 for j in range(len(w))]
    out = w if coder.decoder is None else coder.decoder.tolist()
    rebuilt = [
        mean + deviation * (b[i] + sum(code[j] * out[j][i] for j in range(len(w))))
        for i in range(d)
    ]
    return code, rebuilt, kept


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_the_loss_is_that_of_a_loop(tied, standardise, beta):
    coder = made(tied, standardise)
    x = torch.randn(5, 7, dtype=torch.float64) * 3 + 1
    codes, error = [], 0.0
    for number, row in enumerate(x):
        code, rebuilt, kept = slow(coder, row)
        codes.append(code)
        error += sum((a - b) ** 2 for a, b in zip(row.tolist(), rebuilt, strict=True)) / 5
        assert coder.labels(row[None])[0].tolist() == kept
        torch.testing.assert_close(coder(x)[number].tolist(), rebuilt, rtol=1e-9, atol=1e-9)
    pairs = 0.0
    for a in codes:
        for b in codes:
            na, nb = math.dist(a, [0] * 12), math.dist(b, [0] * 12)
            pairs += math.exp(-2 * sum((p / na - q / nb) ** 2 for p, q in zip(a, b, strict=True)))
    assert float(coder.loss(x, beta).detach()) == pytest.approx(error + beta * pairs / 25, rel=1e-8)


def test_a_tied_coder_has_no_weight_of_a_decoder_and_its_encoder_takes_both_gradients():
    coder, free = made(tied=True), made(tied=False)
    assert "decoder" not in dict(coder.named_parameters())
    with torch.no_grad():
        for name in ("encoder", "encoder_bias", "bias"):
            getattr(free, name).copy_(getattr(coder, name))
        free.decoder.copy_(coder.encoder)
    x = torch.randn(5, 7, dtype=torch.float64)
    for one in (coder, free):
        one.loss(x, 0.0).backward()
    torch.testing.assert_close(coder.encoder.grad, free.encoder.grad + free.decoder.grad)


@settings(deadline=None, max_examples=30)
@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10), seed=st.integers(0, 99))
def test_a_standardised_code_does_not_move_with_scale_and_shift_of_its_vector(scale, shift, seed):
    coder = made(seed=seed)
    x = torch.randn(4, 7, dtype=torch.float64)
    torch.testing.assert_close(coder.code(scale * x + shift), coder.code(x), rtol=1e-3, atol=1e-3)
    moved = scale * coder(x) + shift
    torch.testing.assert_close(coder(scale * x + shift), moved, rtol=1e-3, atol=1e-3 * scale)


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 6), seed=st.integers(0, 99))
def test_uniformity_lies_between_its_bounds(rows, seed):
    """Between rows at opposite ends, exp(-8) a pair, and all alike, 1."""
    code = torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    places = torch.arange(5).expand(rows, -1)
    found = float(uniformity(code, places, 5))
    assert (rows + rows * (rows - 1) * math.exp(-8)) / rows**2 <= found * (1 + 1e-12)
    assert found <= 1 + 1e-12
    assert float(uniformity(code[:1].expand(rows, -1), places, 5)) == pytest.approx(1)
    assert float(uniformity(3 * code, places, 5)) == pytest.approx(found)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 30),
    k=st.integers(1, 5),
    spread=st.integers(0, 500),
    seed=st.integers(0, 99),
)
def test_what_rows_have_in_common_is_the_same_summed_by_latents_and_by_dense_rows(
    rows, k, spread, seed
):
    draw = torch.Generator().manual_seed(seed)
    latents = k + spread
    places = torch.rand(rows, latents, generator=draw).argsort(1)[:, :k]
    values = torch.randn(rows, k, generator=draw, dtype=torch.float64)
    values[0] = 0  # an empty code
    found, expected = [], []
    weight = torch.randn(rows, rows, generator=draw, dtype=torch.float64)
    for kept, dearer in ((found, 0), (expected, 10**9)):
        given = values.clone().requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tied, "_DEARER", dearer)
            product = tied._products(given, places, latents)
        (product * weight).sum().backward()
        kept += [product.detach(), given.grad]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_constant_vector_and_an_empty_code_are_finite_with_finite_gradients():
    coder = made()
    loss = coder.loss(torch.ones(3, 7, dtype=torch.float64), 1.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(coder.encoder.grad).all()
    zeros = torch.zeros(2, 5, requires_grad=True)
    uniformity(zeros, torch.arange(5).expand(2, -1), 5).backward()
    assert torch.isfinite(zeros.grad).all()


def test_with_every_latent_a_tied_orthogonal_code_gives_back_its_vector():
    coder = made(k=7, latents=7)
    with torch.no_grad():
        coder.encoder.copy_(torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64))[0])
        coder.encoder_bias.zero_()
    x = torch.randn(4, 7, dtype=torch.float64)
    torch.testing.assert_close(coder(x), x, rtol=1e-5, atol=1e-5)  # σ + 1e-7
