"""The paired test against exhaustive enumeration, and its size under the null."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from recbole_ext.evaluator.stats import paired_randomisation


def test_it_agrees_with_all_sign_vectors():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 11), rng.normal(0, 1, 11)
    sums = [abs(np.dot(signs, a - b)) for signs in itertools.product((-1, 1), repeat=11)]
    exact = np.mean([s >= abs((a - b).sum()) - 1e-12 for s in sums])
    # 10,000 draws of a probability near 0.1 to 0.5: standard error at most 0.005.
    assert paired_randomisation(a, b) == pytest.approx(exact, abs=0.02)


def test_its_size_is_its_level():
    rng = np.random.default_rng(1)
    p = [paired_randomisation(*rng.normal(size=(2, 40)), resamples=400, seed=i) for i in range(300)]
    # 5% of 300: standard deviation 3.8
    assert 4 <= sum(x <= 0.05 for x in p) <= 28


def test_equal_systems_and_extremes():
    a = np.arange(50.0)
    assert paired_randomisation(a, a) == 1.0
    assert paired_randomisation(a + 1, a) < 1e-3
    with pytest.raises(ValueError, match="one length"):
        paired_randomisation(a, a[:-1])
