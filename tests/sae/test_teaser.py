"""TEASER's encoder against a dense float64 solution of its own objective, and against gradient descent."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.sae import teaser
from recbole_ext.sae.teaser import Teaser, fit

WEIGHTS = [(0.01, 1e-4), (0.5, 0.02), (0.0, 0.1)]


def problem(seed: int = 0, users: int = 30, items: int = 9, tags: int = 4):
    rng = np.random.default_rng(seed)
    x = (rng.random((users, items)) < 0.35).astype(np.float64)
    has = rng.random((items, tags)) < 0.4
    return sp.csr_matrix(x), has


def objective(e: torch.Tensor, x: sp.csr_matrix, has, off_diagonal: float, ridge: float):
    """The docstring's, written out."""
    dense, d = torch.from_numpy(x.toarray()), torch.from_numpy(has.astype(np.float64))
    b = e @ d.T
    b = b - torch.diag(b.diagonal())
    return ((dense @ b - dense) ** 2).mean() + off_diagonal * (b**2).mean() + ridge * (e**2).mean()


@pytest.mark.parametrize(("off_diagonal", "ridge"), WEIGHTS)
@pytest.mark.parametrize("seed", range(3))
def test_the_encoder_is_the_dense_solution_of_the_objective(seed, off_diagonal, ridge):
    x, has = problem(seed)
    shape = has.shape

    def flat(e):
        return objective(e.reshape(shape), x, has, off_diagonal, ridge)

    zero = torch.zeros(has.size, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(flat, zero)
    gradient = torch.autograd.functional.jacobian(flat, zero)
    wanted = torch.linalg.solve(hessian, -gradient).reshape(shape)
    found = fit(x, has, off_diagonal, ridge, tolerance=1e-12)
    # Condition numbers of the Hessians stay below 1e5 here: 1e-12 of residual times that.
    np.testing.assert_allclose(found.encoder, wanted, rtol=0, atol=1e-7)
    assert found.residual <= 1e-12 and found.steps > 0


def test_gradient_descent_ends_where_the_encoder_is():
    x, has = problem(5)
    e = torch.zeros(has.shape, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [e], max_iter=2000, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = objective(e, x, has, 0.01, 1e-2)
        loss.backward()
        return loss

    optimiser.step(closure)
    found = fit(x, has, 0.01, 1e-2, tolerance=1e-12)
    # The descent ends where gradients of 1e-13 meet curvatures of 1e-4 and more.
    np.testing.assert_allclose(found.encoder, e.detach(), rtol=0, atol=1e-6)


def test_no_change_of_the_encoder_lowers_the_objective():
    x, has = problem(7)
    best = fit(x, has, tolerance=1e-12).encoder
    least = objective(best, x, has, 0.01, 1e-4)
    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 1e-1, 10.0):
        for _ in range(20):
            moved = best + size * torch.randn(best.shape, generator=generator, dtype=best.dtype)
            assert objective(moved, x, has, 0.01, 1e-4) > least


def test_the_usual_tolerance_moves_no_score_of_a_candidate():
    x, has = problem(3, users=80, items=40, tags=12)
    rough, fine = fit(x, has), fit(x, has, tolerance=1e-13)
    histories = torch.from_numpy(x.toarray())
    tags = torch.zeros(len(histories), dtype=torch.long)
    ways = [t.scores(t.profiles(histories), tags, 0.3)[histories == 0] for t in (rough, fine)]
    assert rough.steps < fine.steps
    # Scores are about 1: three digits more than a metric of lists could see.
    np.testing.assert_allclose(*ways, rtol=0, atol=1e-4)


def test_duplicates_and_counts_are_binary_interactions():
    x, has = problem()
    coo = x.tocoo()
    twice = sp.csr_matrix(
        (np.full(2 * coo.nnz, 3.0), (np.tile(coo.row, 2), np.tile(coo.col, 2))), shape=x.shape
    )
    assert torch.equal(fit(twice, has).encoder, fit(x, has).encoder)


def test_scores_are_profiles_with_the_tag_raised_by_hand():
    encoder = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]], dtype=torch.float64)
    decoder = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    model = Teaser(encoder, decoder, 0, 0.0)
    profiles = model.profiles(torch.tensor([[True, True, False], [False, False, True]]))
    assert profiles.tolist() == [[1.5, 2.0], [0.0, 0.0]]
    scores = model.scores(profiles, torch.tensor([1, 0]), 0.5)
    assert scores.tolist() == [[1.5, 4.0, 2.5], [0.5, 0.5, 0.0]]
    assert profiles.tolist() == [[1.5, 2.0], [0.0, 0.0]]


@pytest.mark.parametrize("nothing", ["tags", "interactions"])
def test_without_tags_or_interactions_the_encoder_is_zero(nothing):
    x, has = problem()
    found = fit(x * 0 if nothing == "interactions" else x, has & (nothing != "tags"))
    assert not found.encoder.any() and found.steps == 0


def test_a_tag_of_no_item_gets_no_weight():
    x, has = problem()
    has[:, 2] = False
    assert fit(x, has, tolerance=1e-10).encoder[:, 2].abs().max() < 1e-12


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ridge": 0.0}, "ridge=0 must be above 0"),
        ({"off_diagonal": -1.0}, "off_diagonal=-1 not below"),
        ({"most_steps": 1, "tolerance": 1e-12}, "after 1 steps the residual is"),
    ],
)
def test_weights_and_steps_that_cannot_be_are_refused(change, says):
    with pytest.raises(HarnessError) as refused:
        fit(*problem(), **change)
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_tags_of_other_items_and_too_many_items_are_refused(monkeypatch):
    x, has = problem()
    with pytest.raises(HarnessError, match="tags of 8 items beside 9 items"):
        fit(x, has[:8])
    monkeypatch.setattr(teaser, "MOST_ITEMS", 8)
    with pytest.raises(HarnessError, match="9 items need dense matrices of 9 x 9; it goes up to 8"):
        fit(x, has)


def test_a_negative_strength_is_refused():
    found = fit(*problem())
    with pytest.raises(HarnessError, match=r"alpha=-0\.1: TEASER takes"):
        found.scores(found.profiles(torch.zeros(1, 9)), torch.tensor([0]), -0.1)
