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


def paired_randomisation(a: Floats, b: Floats, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of the mean difference of two systems over the same users.

    Under the null each user's two values may be swapped (Fisher 1935; Smucker, Allan, Carterette, CIKM 2007): the
    signs of the differences are drawn at random. The observed assignment counts as one of the draws, so p > 0.

    Args:
        a: [U] per-user values of one system.
        b: [U] of the other, the same users in the same order.
        resamples: sign vectors drawn.
        seed: of the drawing.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(
            f"paired values must be two vectors of one length, not {a.shape} and {b.shape}"
        )
    difference = a - b
    observed = abs(difference.sum())
    generator = np.random.default_rng(seed)
    block = max(1, (8 << 20) // max(len(difference), 1))
    extreme = 0
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        signs = generator.integers(0, 2, size=(count, len(difference)), dtype=np.int8) * 2 - 1
        # 1e-12 relative: a sum in another order must not count as smaller than itself.
        extreme += int((np.abs(signs @ difference) >= observed * (1 - 1e-12)).sum())
    return (extreme + 1) / (resamples + 1)
