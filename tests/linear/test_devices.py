"""The same code on CPU and GPU."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_ext.evaluator.candidates import draw_lists
from recbole_ext.evaluator.ranks import RankTask, make_task, rank
from recbole_ext.linear.filters import Filter, LowPass
from recbole_ext.linear.graph import Graph
from recbole_ext.linear.responses import Responses
from recbole_ext.linear.ridge import gram, ridge_inverse_
from recbole_ext.linear.semantics import Semantics, ease_teacher
from recbole_ext.linear.solution import Distillation

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def solve(device: str, dtype: torch.dtype) -> torch.Tensor:
    """L3AE's B on made-up data, on the CPU in the end."""
    rng = np.random.default_rng(0)
    x = sp.csr_matrix((rng.random((4000, 1500)) < 0.01).astype(np.float32))
    f = torch.from_numpy(rng.normal(size=(64, 1500))).to(device)
    f = f / f.norm(dim=0)
    p = ridge_inverse_(gram(x, device).to(dtype), 100.0)
    assert p.device.type == device
    semantics = Semantics.of(f)
    pf = p @ semantics.f.T.to(dtype)
    line = Distillation.of(p.diagonal().clone(), pf, ease_teacher(semantics, 5.0))
    return line.at(80.0).into_(p).double().cpu()


def small_task() -> RankTask:
    rng = np.random.default_rng(1)
    users, items = np.nonzero(rng.random((300, 700)) < 0.02)
    test = rng.random(len(users)) < 0.3
    task = make_task(700, (users[test], items[test]), (users[~test], items[~test]))
    names = [f"{i:03d}" for i in range(700)]
    lists = {"uni50": draw_lists(task, names, names, 50, 2, "key")}
    return RankTask(**{**task.__dict__, "lists": lists})


@needs_gpu
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_closed_form_is_the_same_on_the_gpu(dtype, close):
    # Entries are below 1; float32 products of 1,500 terms in another order.
    assert float((solve("cuda", dtype) - solve("cpu", dtype)).abs().max()) < close


def filtered(device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Scores by two filters, on the CPU in the end."""
    x = sp.csr_matrix((np.random.default_rng(3).random((600, 400)) < 0.03).astype(np.float32))
    v = Graph.of(x, dtype=torch.float64, device=device).factor(20).vectors.to(dtype)
    assert v.device.type == device
    both = [Filter((0.5, -0.3, 0.2), 0.4, LowPass(20, (0.3,), 0.4)), Filter((0.5, -0.5), 0.0, LowPass(9, (0.3, 0.1)))]  # fmt: skip
    made = Responses(Graph.of(x, dtype=dtype, device=device), v, both).of(x[:70])
    return [scores.double().cpu().clone() for scores in made]  # one memory for all


@needs_gpu
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-8)])
def test_filters_are_the_same_on_the_gpu(dtype, close):
    # Scores of order 1; the factor has converged to 1e-8.
    for one, two in zip(filtered("cuda", dtype), filtered("cpu", dtype), strict=True):
        assert float((one - two).abs().max()) < close


def test_filters_in_float32_are_near_those_in_float64():
    for one, two in zip(filtered("cpu", torch.float32), filtered("cpu", torch.float64), strict=True):  # fmt: skip
        assert float((one - two).abs().max()) < 1e-5


@needs_gpu
def test_ranks_are_the_same_on_the_gpu():
    task = small_task()
    matrix = torch.randint(0, 40, (300, 700), generator=torch.Generator().manual_seed(0)).float()
    (here,) = rank(task, lambda users: [matrix[users]])
    (there,) = rank(task, lambda users: [matrix.cuda()[users]])
    np.testing.assert_array_equal(here.above, there.above)
    np.testing.assert_array_equal(here.tied, there.tied)
    for mine, other in zip(here.lists["uni50"], there.lists["uni50"], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_float32_and_float64_agree_on_a_well_conditioned_problem():
    assert float((solve("cpu", torch.float32) - solve("cpu", torch.float64)).abs().max()) < 1e-5
