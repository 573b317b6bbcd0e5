"""The paired test against exhaustive enumeration and SciPy, its size under the null, and Holm's adjustment."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from recbole_ext.evaluator.findings import holm
from recbole_ext.evaluator.stats import (
    bootstrap_intervals,
    bootstrap_means,
    paired_tests,
    tau_interval,
)


def compared(*systems):
    return paired_tests(np.column_stack(systems))


def test_it_agrees_with_all_sign_vectors():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 11), rng.normal(0, 1, 11)
    sums = [abs(np.dot(signs, a - b)) for signs in itertools.product((-1, 1), repeat=11)]
    exact = np.mean([s >= abs((a - b).sum()) - 1e-12 for s in sums])
    # 10,000 draws of a probability near 0.1 to 0.5: standard error at most 0.005.
    assert compared(a, b)[0, 1].p == pytest.approx(exact, abs=0.02)


def test_every_pair_agrees_with_scipy():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(60, 4)) + np.array([0, 0.1, 0.3, 0.35])
    for (i, j), found in paired_tests(values).items():
        oracle = scipy_stats.permutation_test(
            (values[:, i], values[:, j]), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples",
            n_resamples=5000, vectorized=True, rng=1,
        )  # fmt: skip
        # Two Monte Carlo estimates: standard errors 0.005 and 0.007 at the worst.
        assert found.p == pytest.approx(oracle.pvalue, abs=0.04)
        difference = values[:, i] - values[:, j]
        assert found.difference == pytest.approx(difference.mean(), abs=1e-12)
        assert found.effect == pytest.approx(difference.mean() / difference.std(ddof=1), abs=1e-12)
        low, high = bootstrap_intervals(difference[:, None])
        assert (found.low, found.high) == pytest.approx((low[0], high[0]), abs=1e-12)


def test_its_size_is_its_level():
    rng = np.random.default_rng(1)
    p = [paired_tests(rng.normal(size=(40, 2)), resamples=400, seed=i)[0, 1].p for i in range(300)]
    # 5% of 300: standard deviation 3.8
    assert 4 <= sum(x <= 0.05 for x in p) <= 28


def test_what_no_draw_reaches_has_a_bound_above_the_exact_p():
    rng = np.random.default_rng(2)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=18)))
    for least in (0.5, 0.9, 1.0):
        difference = rng.uniform(least, 1.0, 18)
        exact = np.mean(np.abs(signs @ difference) >= difference.sum() - 1e-9)
        p = paired_tests(np.column_stack([difference, np.zeros(18)]), resamples=1000)[0, 1].p
        assert exact <= p < 1 / 1001
    far = paired_tests(np.column_stack([np.ones(5000), np.zeros(5000)]))[0, 1].p
    assert 0 < far < 1e-200


def test_equal_systems_and_extremes():
    a = np.arange(50.0)
    found = compared(a, a, a + 1)
    assert found[0, 1].p == 1.0 and found[0, 1].effect == 0.0
    assert found[0, 2].p < 1e-3 and found[0, 2].difference == -1.0
    assert compared(np.ones(1), np.zeros(1))[0, 1].p == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_the_interval_of_a_difference_covers_at_about_its_level():
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        shared = rng.exponential(size=100)
        found = compared(shared + rng.exponential(0.5, 100), shared + rng.exponential(0.3, 100))
        inside += found[0, 1].low <= 0.2 <= found[0, 1].high
    # 95% of 200 with standard deviation 3.1; percentile intervals of skewed means run a little short.
    assert 178 <= inside <= 200


def test_the_interval_of_tau_covers_the_populations():
    """Five systems, a second metric that turns one well separated pair around: τ of the population is 0.8."""
    rng = np.random.default_rng(5)
    first, second = np.arange(5) * 0.5, np.array([0.0, 0.5, 1.0, 2.0, 1.5])
    inside = 0
    for seed in range(60):
        user = rng.normal(size=(150, 1))
        one, two = (means + user + rng.normal(size=(150, 5)) for means in (first, second))
        low, high = tau_interval(bootstrap_means(one, 200, seed), bootstrap_means(two, 200, seed))
        inside += low - 1e-12 <= 0.8 <= high + 1e-12
    assert inside >= 54
    assert tau_interval(np.zeros((3, 4)), np.ones((3, 4))) is None
