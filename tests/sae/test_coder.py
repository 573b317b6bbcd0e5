"""The sparse coder against loops over single numbers, its three kinds, and its two targets."""

from __future__ import annotations

import pytest
import torch

from recbole_ext.sae.coder import KINDS, SparseCoder

B, D, H, K = 5, 6, 10, 3


def coder(kind="topk", seed=0, k=K, **given):
    torch.manual_seed(seed)
    made = SparseCoder(D, H, kind, k, **given).double()
    with torch.no_grad():  # biases begin at 0, where a mistake in them would not be seen
        made.encoder_bias.normal_(std=0.3)
        made.decoder_bias.normal_(std=0.3)
    return made


def vectors(seed=1, scale=2.0):
    return scale * torch.randn(B, D, generator=torch.Generator().manual_seed(seed)).double() + 0.7


def by_loops(model, z, reconstruction, target, l1):
    """The loss number by number, each a float64 that keeps its history: a batch of basic or topk in evaluation."""
    total = torch.zeros((), dtype=torch.float64)
    for row in z:
        mean = sum(row) / D
        deviation = (sum((x - mean) ** 2 for x in row) / (D - 1)) ** 0.5
        standard = [(x - mean) / (deviation + 1e-7) for x in row]
        code = []
        for j in range(H):
            total_j = model.encoder_bias[j]
            for i in range(D):
                total_j = total_j + (standard[i] - model.decoder_bias[i]) * model.encoder[i, j]
            code.append(torch.relu(total_j))
        if model.kind == "topk":
            kept = sorted(range(H), key=lambda j: -float(code[j].detach()))[: model.k]
            code = [c if j in kept else c * 0 for j, c in enumerate(code)]
        made = []
        for i in range(D):
            inner = model.decoder_bias[i]
            for j in range(H):
                inner = inner + code[j] * model.decoder[j, i]
            made.append(mean + deviation * inner)
        wanted = list(row) if target == "input" else standard
        if reconstruction == "l2":
            far = sum((a - b) ** 2 for a, b in zip(made, wanted, strict=True)) / D
        else:
            dot = sum(a * b for a, b in zip(made, wanted, strict=True))
            far = 1 - dot / (sum(a * a for a in made) * sum(b * b for b in wanted)) ** 0.5
        total = total + far + l1 * sum(code)
    return total / len(z)


@pytest.mark.parametrize("kind", ["basic", "topk"])
@pytest.mark.parametrize("reconstruction", ["cosine", "l2"])
@pytest.mark.parametrize("target", ["input", "standardised"])
def test_loss_and_gradients_equal_loops(kind, reconstruction, target):
    model, z = coder(kind), vectors()
    found, expected = [], []
    for loss, out in (
        (model.loss(z, reconstruction, target, 0.01), found),
        (by_loops(model, z, reconstruction, target, 0.01), expected),
    ):
        out.append(loss.detach())
        out += torch.autograd.grad(loss, list(model.parameters()))
    # Sums of some ten float64 terms of size 1 in another order.
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_is_left_as_it_was(kind):
    model, z = coder(kind), vectors()
    before = z.clone()
    for mode in (True, False):
        model.train(mode)
        model.loss(z, "l2", "standardised", 0.1, 0.5 if mode else 0.0)
        model(z)
        assert torch.equal(z, before)


def perfect():
    """z̃ = ReLU(z̃) - ReLU(-z̃): 2 D neurons that lose nothing."""
    model = SparseCoder(D, 2 * D, "basic", 1).double()
    eye = torch.eye(D, dtype=torch.float64)
    with torch.no_grad():
        model.encoder.copy_(torch.cat([eye, -eye], dim=1))
        model.decoder.copy_(torch.cat([eye, -eye]))
    return model


@pytest.mark.parametrize("reconstruction", ["cosine", "l2"])
def test_a_perfect_coder_has_no_loss_on_its_input_and_one_on_the_standardised_vector(
    reconstruction,
):
    model, z = perfect(), vectors()
    # σ + 1e-7 in the denominator and σ in front: the output is off by 1e-7 of its size.
    torch.testing.assert_close(model(z), z, rtol=1e-6, atol=1e-6)
    assert model.loss(z, reconstruction, "input", 0.0).item() < 1e-12
    assert model.loss(z, reconstruction, "standardised", 0.0).item() > 1e-2


def test_topk_keeps_at_most_k_and_no_negative_number():
    model = coder("topk", k=4)
    code, _, _ = model.code(vectors())
    dense = model.before_sparsity(model.standardised(vectors())[0])
    assert bool((code >= 0).all())
    assert torch.equal((code > 0).sum(1), (dense > 0).sum(1).clamp(max=4))
    assert bool((code.sum(1) <= dense.sum(1)).all())
    for kept, all_of_it in zip(code, dense, strict=True):
        assert float(kept.sum()) == pytest.approx(float(all_of_it.topk(4).values.sum()))


def test_batchtopk_keeps_k_a_row_on_average_and_scores_each_row_alone():
    model, z = coder("batchtopk", k=2), vectors()
    model.train()
    dense = model.before_sparsity(model.standardised(z)[0])
    kept = model._in_training(dense)
    assert int((kept > 0).sum()) == 2 * B
    assert float(model.threshold) == pytest.approx(float(kept[kept > 0].min()))
    model.eval()
    together, _, _ = model.code(z)
    alone = torch.cat([model.code(row[None])[0] for row in z])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    assert bool((together[together > 0] > model.threshold).all())


def test_a_resized_output_keeps_its_direction():
    model, z = coder(rescale=True), vectors()
    plain = coder()
    made, before = model(z), plain(z)
    torch.testing.assert_close(made.norm(dim=1), z.norm(dim=1))
    cosine = torch.cosine_similarity(made, before)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    assert not torch.allclose(before.norm(dim=1), z.norm(dim=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_or_zero_vector_is_no_trouble(kind):
    model = coder(kind)
    for z in (torch.zeros(2, D).double(), torch.full((2, D), 3.0).double()):
        assert bool(model(z).isfinite().all())
        loss = model.loss(z, "cosine", "input", 0.1)
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        assert bool(loss.isfinite())
        assert all(bool(g.isfinite().all()) for g in grads if g is not None)


def test_dead_neurons_get_a_gradient_from_their_help_alone():
    model, z = coder("topk", k=1), vectors()
    model.train()
    for _ in range(6):
        model.loss(z, "l2", "input", 0.0)
    dead = model.silent > 5
    dense = model.before_sparsity(model.standardised(z)[0])
    helping = dead & (dense > 0).any(0)
    assert bool(dead.any()) and bool(helping.any()) and not bool(dead.all())
    without, helped = (
        torch.autograd.grad(model.loss(z, "l2", "input", 0.0, weight), model.decoder)[0]
        for weight in (0.0, 1.0)
    )
    assert not bool(without[dead].any())
    assert bool((helped[helping].abs().sum(1) > 0).all())
