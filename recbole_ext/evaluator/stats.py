"""Intervals over users."""

from __future__ import annotations

import numpy as np

from recbole_ext.evaluator.metrics import Floats


def bootstrap_intervals(
    values: Floats, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of the mean over users (Efron 1979).

    Args:
        values: [U, M] one column per metric; all columns see the same resampled users.
        resamples: bootstrap samples.
        seed: of the resampling, fixed so that a number can be repeated.
        level: coverage.

    Returns:
        (low [M], high [M]); equal to the value itself for a single user.
    """
    users = len(values)
    generator = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    block = max(1, (8 << 20) // max(users, 1))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = generator.integers(0, users, size=(count, users))
        drawn += (np.arange(count) * users)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * users).reshape(count, users)
        means[start : start + count] = weights @ values / users
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return low, high
