"""Steered codes against loops over the formulas, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.sae.steering import MODES, live_neurons, random_neurons, steered


@st.composite
def cases(draw):
    """(codes [B, h] with many zeros, neurons [N] or [B, N], α in [0, 1])."""
    batch, h = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    e = rng.gamma(1.0, draw(st.sampled_from([1e-6, 1.0, 1e4])), (batch, h))
    e *= rng.random((batch, h)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    count = draw(st.integers(1, h))
    sets = np.stack([rng.permutation(h)[:count] for _ in range(batch)])
    neurons = sets if draw(st.booleans()) else sets[0]
    kind = draw(st.sampled_from([torch.float32, torch.float64]))
    return torch.from_numpy(e).to(kind), torch.from_numpy(neurons), draw(st.floats(0, 1))


def looped(e: torch.Tensor, neurons: torch.Tensor, alpha: float, mode: str) -> torch.Tensor:
    """The formulas, an entry at a time in float64."""
    out = e.double().clone()
    for row in range(len(e)):
        own = e[row].double()
        chosen = (neurons[row] if neurons.ndim == 2 else neurons).tolist()
        for n in range(e.shape[1]):
            value = float(own[n])
            if mode == "redistribute":
                out[row, n] = (1 - alpha) * value
                if n in chosen:
                    out[row, n] += alpha * float(own.sum()) / len(chosen)
            elif n in chosen:
                most = max(value, alpha * float(own.max()))
                out[row, n] = value + alpha if mode == "add" else most
    return out


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_a_steered_code_is_that_of_a_loop_over_its_formula(mode, case):
    e, neurons, alpha = case
    before = e.clone()
    found = steered(e, neurons, alpha, mode)
    assert found.dtype == e.dtype
    # A handful of float32 roundings of the row's sum; below 1e-40 a float32 may be 0.
    slack = 1e-6 * (float(e.sum()) + alpha) + 1e-40
    np.testing.assert_allclose(found.double(), looped(e, neurons, alpha, mode), rtol=0, atol=slack)
    assert torch.equal(e, before)


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_redistribution_keeps_the_whole_activation(case):
    e, neurons, alpha = case
    after = steered(e, neurons, alpha).double().sum(1)
    # 12 float32 entries of one sign: the sum is off by less than 12 roundings of 6e-8.
    np.testing.assert_allclose(after, e.double().sum(1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_strength_0_is_the_code_itself_to_the_bit(mode, case):
    e, neurons, _ = case
    assert torch.equal(steered(e, neurons, 0.0, mode), e)


def test_at_strength_1_redistribution_leaves_the_concept_alone():
    e = torch.tensor([[1.0, 2.0, 0.0, 5.0]])
    assert steered(e, torch.tensor([2, 0]), 1.0).tolist() == [[4.0, 0.0, 4.0, 0.0]]


def test_strengths_above_1_are_for_adding_and_setting():
    e = torch.tensor([[1.0, 2.0, 0.0]])
    assert steered(e, torch.tensor([0]), 100.0, "add").tolist() == [[101.0, 2.0, 0.0]]
    assert steered(e, torch.tensor([2]), 3.0, "set").tolist() == [[1.0, 2.0, 6.0]]
    # Setting never lowers.
    assert steered(e, torch.tensor([1]), 0.5, "set").tolist() == e.tolist()


def test_a_set_for_all_is_each_rows_own_set_repeated():
    e, neurons = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([5, 1])
    assert torch.equal(steered(e, neurons, 0.3), steered(e, neurons.repeat(4, 1), 0.3))


CODE = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("neurons", "alpha", "mode", "says"),
    [
        ([0], 1.1, "redistribute", "alpha=1.1: steering by 'redistribute' takes a share from 0 to 1"),
        ([0], -0.1, "redistribute", "alpha=-0.1"),
        ([0], float("nan"), "redistribute", "alpha=nan"),
        ([0], -1.0, "add", "alpha=-1: steering by 'add' takes a number from 0 on"),
        ([0], float("inf"), "set", "alpha=inf"),
        ([0], 0.1, "redistribut", "did you mean redistribute?"),
        ([], 0.1, "redistribute", "give at least one"),
        ([[], []], 0.1, "redistribute", "give at least one"),
        ([3], 0.1, "redistribute", "neuron 3 is not among the 3 of the code"),
        ([-1, 0], 0.1, "redistribute", "neuron -1 is not among"),
        ([[0, 1], [0, 9]], 0.1, "redistribute", "neuron 9 is not among"),
        ([[0, 1]], 0.1, "redistribute", "neurons of 1 rows do not fit 2 codes"),
        ([[0, 1], [2, 2]], 0.1, "redistribute", "neuron 2 is given twice for one user"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(neurons, alpha, mode, says):
    with pytest.raises(HarnessError) as refused:
        steered(CODE, torch.tensor(neurons), alpha, mode)
    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [-1e-9, float("nan")])
def test_a_signed_code_is_refused_by_its_row(value):
    e = CODE.clone()
    e[1, 2] = value
    with pytest.raises(HarnessError, match="the code in row 1 has a negative entry"):
        steered(e, torch.tensor([0]), 0.1)


def test_dead_neurons_are_refused_by_number():
    dead = torch.tensor([True, False, True])
    with pytest.raises(HarnessError, match="neuron 0, 2 is dead"):
        steered(CODE, torch.tensor([2, 1, 0]), 0.1, dead=dead)
    steered(CODE, torch.tensor([1]), 0.1, dead=dead)


def test_many_numbers_in_a_message_are_cut_short():
    with pytest.raises(HarnessError, match="neuron 3, 4, 5, 6, 7 and 2 more is not"):
        steered(CODE, torch.arange(3, 10), 0.1)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 99), alive=st.integers(1, 9), count=st.integers(1, 9))
def test_random_neurons_are_live_different_and_repeatable(seed, alive, count):
    live = torch.zeros(20, dtype=torch.bool)
    live[torch.randperm(20, generator=torch.Generator().manual_seed(seed))[:alive]] = True
    if count > alive:
        with pytest.raises(HarnessError, match=f"and {alive} of 20 neurons are live"):
            random_neurons(live, 30, count, seed)
        return
    drawn = random_neurons(live, 30, count, seed)
    assert drawn.shape == (30, count) and live[drawn].all()
    assert all(len(set(row)) == count for row in drawn.tolist())
    assert torch.equal(drawn, random_neurons(live, 30, count, seed))


def test_every_live_neuron_is_drawn_sometimes():
    live = torch.tensor([True, False, True, True])
    drawn = random_neurons(live, 400, 1, seed=0).flatten()
    counts = torch.bincount(drawn, minlength=4)
    assert counts[1] == 0
    # 400 draws of 1/3: 133 expected with s.d. 9.4; five of them either way.
    assert all(86 < counts[n] < 180 for n in (0, 2, 3))


def test_a_neuron_is_live_that_fires_for_any_item():
    codes = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    assert live_neurons(codes).tolist() == [False, True, True]
