"""Corrections of sampled metrics: exact where that is possible, §-by-§ where it is known what they can and cannot do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from recbole_ext.evaluator.corrected import (
    Correction,
    corrected,
    metric_at,
    sampled_ranks,
)
from recbole_ext.evaluator.findings import effective_k, kendall_tau_b
from recbole_ext.evaluator.sampled import hypergeometric
from recbole_ext.evaluator.stats import resamples

NAMES = ("hit_pp@10", "ndcg_pp@10", "mrr_pp")


def drawn(rng, above, negatives, m, draws=1):
    """Sampled ranks of positives with so many negatives above them, one positive a user."""
    x = rng.hypergeometric(above[:, None], (negatives - above)[:, None], m, (len(above), draws))
    return sampled_ranks(x, np.zeros_like(x), np.arange(len(above)), negatives, m)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.data())
def test_the_law_of_a_sampled_rank(population, data):
    m = data.draw(st.integers(1, population))
    above = np.arange(population + 1)
    table = hypergeometric(above, population, m)
    np.testing.assert_allclose(table.sum(1), 1.0, atol=1e-10)
    np.testing.assert_allclose(table @ np.arange(m + 1), m * above / population, atol=1e-9)
    expected = scipy_stats.hypergeom(population, above[:, None], m).pmf(np.arange(m + 1))
    np.testing.assert_allclose(table, expected, atol=1e-9)


def test_the_rank_plug_in_is_unbiased_for_the_rank():
    n, m = 500, 19
    above = np.array([0, 3, 70, 499])
    table = hypergeometric(above, n, m)
    np.testing.assert_allclose(table @ (n * np.arange(m + 1) / m), above, atol=1e-8)


def test_with_every_negative_drawn_each_correction_is_the_full_metric():
    n = 40
    above = np.random.default_rng(0).integers(0, n + 1, 300)
    seen = drawn(np.random.default_rng(1), above, np.full(300, n), n)
    correction = Correction(seen)
    for name in NAMES:
        full = metric_at(name, above).mean()
        found = corrected(seen, [name])[name]
        assert found.naive == pytest.approx(full, abs=1e-12)
        assert found.plug_in == pytest.approx(full, abs=1e-12)
        assert found.mle == pytest.approx(full, abs=1e-9)
        best = correction.bv([name], correction.uniform[None], gamma=0)[name][0]
        assert (seen.weight * best).sum() == pytest.approx(full, abs=1e-9)
        assert found.low <= full <= found.high


def test_a_planted_distribution_is_recovered_where_it_is_identifiable():
    """n <= 2m: 40 negatives, 25 drawn, 20,000 positives."""
    rng = np.random.default_rng(2)
    n, m, p = 40, 25, 20_000
    planted = rng.dirichlet(np.ones(n + 1) * 0.5)
    above = rng.choice(n + 1, p, p=planted)
    found = corrected(drawn(rng, above, np.full(p, n), m), NAMES)
    for name in NAMES:
        full = metric_at(name, above).mean()
        # 100 EM steps from uniform leave some smoothing; the sampling error at 20,000 is 0.004.
        assert found[name].mle == pytest.approx(full, abs=0.02)
        assert found[name].low - 1e-6 <= full <= found[name].high + 1e-6
        assert abs(found[name].mle - full) < abs(found[name].naive - full)


def two_systems(rng, positives=5000, n=1999):
    """A: a tenth within the first five ranks, the others uniform over the upper 55%. B: uniform over the first 112."""
    a = np.where(
        rng.random(positives) < 0.1, rng.integers(0, 5, positives), rng.integers(0, 1100, positives)
    )
    return a, rng.integers(0, 112, positives), np.full(positives, n)


def test_nineteen_negatives_turn_two_systems_around_and_the_mle_turns_them_back():
    rng = np.random.default_rng(3)
    a, b, negatives = two_systems(rng)
    name = "hit_pp@10"
    full_a, full_b = (metric_at(name, x).mean() for x in (a, b))
    assert full_a > full_b + 0.01
    one, two = (corrected(drawn(rng, x, negatives, 19), [name])[name] for x in (a, b))
    assert one.naive < two.naive and one.plug_in < two.plug_in and one.bv < two.bv  # all inverted
    assert one.mle > two.mle and one.bv_mle > two.bv_mle  # restored
    for found, full in ((one, full_a), (two, full_b)):
        assert found.low <= full <= found.high
        assert found.high - found.low > 0.1  # what nineteen negatives cannot tell


def test_the_identified_interval_covers_at_its_level():
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(40):
        above = (1500 * rng.beta(0.4, 3, 800)).astype(int)
        seen = drawn(rng, above, np.full(800, 1500), 19)
        found = corrected(seen, ["hit_pp@10"])["hit_pp@10"]
        inside += found.low <= metric_at("hit_pp@10", above).mean() <= found.high
    assert inside >= 38  # simultaneous 95% bounds, and the extremes are wider still


def test_users_with_other_numbers_of_negatives_have_tables_of_their_own():
    rng = np.random.default_rng(5)
    negatives = rng.choice([300, 900, 2500, 2501], 4000)
    above = (negatives * rng.beta(0.5, 4, 4000)).astype(int)
    seen = drawn(rng, above, negatives, 60, draws=3)
    assert len(seen.negatives) == 3 and seen.weight.sum() == pytest.approx(1.0)
    found = corrected(seen, ["hit_pp@10", "mrr_pp"])
    for name, value in found.items():
        full = metric_at(name, above).mean()
        assert abs(value.mle - full) < abs(value.naive - full) / 3
        assert value.low <= full <= value.high


def test_ties_take_every_place_with_equal_weight():
    seen = sampled_ranks(
        np.array([[0], [2]]), np.array([[3], [0]]), np.array([0, 1]), np.array([50, 50]), 5
    )
    np.testing.assert_allclose(seen.weight, [[0.125, 0.125, 0.125 + 0.5, 0.125, 0, 0]])
    several = sampled_ranks(
        np.zeros((3, 1), int), np.zeros((3, 1), int), np.array([0, 0, 1]), np.full(3, 9), 2
    )
    assert several.effective == pytest.approx(1 / (0.25**2 * 2 + 0.5**2))


def test_the_effective_cut_off():
    assert effective_k(1, 6499, 19) == pytest.approx(233, abs=1.5)
    assert effective_k(10, 1999, 19) == pytest.approx(1 + 9 * 1999 / 19)
    assert (1 - (effective_k(1, 6499, 19) - 1) / 6499) ** 19 == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9))
def test_kendalls_tau_b_is_scipys(pairs):
    a, b = zip(*pairs, strict=True)
    expected = scipy_stats.kendalltau(a, b).statistic
    found = kendall_tau_b(a, b)
    assert found is None if np.isnan(expected) else found == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_an_estimate_covers_its_expectation():
    """The rank plug-in is linear in what was seen, so that its expectation is known; 95% of 100 is 95 with deviation 2.2."""
    rng = np.random.default_rng(6)
    n, m, users = 300, 10, 250
    name = "hit_pp@50"
    inside = 0
    table = hypergeometric(np.arange(n + 1), n, m)
    law = scipy_stats.betabinom(n, 0.5, 4).pmf(np.arange(n + 1))
    expected = law @ table @ metric_at(name, n * np.arange(m + 1) // m)
    for seed in range(100):
        above = scipy_stats.betabinom(n, 0.5, 4).rvs(users, random_state=rng)
        seen = drawn(rng, above, np.full(users, n), m)
        weights = np.concatenate(list(resamples(users, 200, seed)))
        correction = Correction(seen)
        again = np.einsum("rbx,bx->r", seen.weights(weights), correction.plug_in(name))
        low, high = np.quantile(again, [0.025, 0.975])
        inside += low <= expected <= high
    assert 87 <= inside <= 100


def test_resampled_estimates_are_the_estimates_of_resampled_users():
    rng = np.random.default_rng(8)
    users, n, m = 40, 60, 12
    above = rng.integers(0, n, users)
    x = rng.hypergeometric(above[:, None], (n - above)[:, None], m, (users, 2))
    count = rng.multinomial(users, np.ones(users) / users)
    again = np.repeat(np.arange(users), count)
    direct = sampled_ranks(x[again], 0 * x[again], np.arange(users), np.full(users, n), m)
    seen = sampled_ranks(x, 0 * x, np.arange(users), np.full(users, n), m)
    estimates = Correction(seen).estimates(seen.weights(count[None].astype(float)), NAMES)
    for name, value in corrected(direct, NAMES).items():
        for kind, found in estimates[name].items():
            assert found[0] == pytest.approx(getattr(value, kind), abs=1e-10), (name, kind)


def test_sampled_ranks_that_no_distribution_gives_widen_the_errors():
    """Every positive above nine of ten negatives or below all: no mixture of hypergeometric laws is that sharp."""
    x = np.repeat([[0], [10]], 4000, axis=0)
    x[::3] = 9
    seen = sampled_ranks(x, 0 * x, np.arange(8000), np.full(8000, 500), 10)
    found = corrected(seen, ["hit_pp@10"])["hit_pp@10"]
    assert found.widened > 1.5 and 0 <= found.low <= found.high <= 1
    fair = drawn(np.random.default_rng(0), np.full(50, 100), np.full(50, 500), 10)
    assert corrected(fair, ["hit_pp@10"])["hit_pp@10"].widened == 1
