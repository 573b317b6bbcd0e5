"""Intervals over users, and tests of systems that are paired by them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.evaluator.findings import Paired, kendall_tau_b

_LEAST_P = 1e-300
"""Instead of an exponential that is 0 in floating point."""


def bootstrap_intervals(
    values: Floats, count: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of the mean over users (Efron 1979).

    Args:
        values: [U, M] one column per metric; all columns see the same resampled users.
        count: bootstrap samples.
        seed: of the resampling, fixed so that a number can be repeated.
        level: coverage.

    Returns:
        (low [M], high [M]); equal to the value itself for a single user.
    """
    means = bootstrap_means(values, count, seed)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return low, high


def resamples(users: int, count: int = 1000, seed: int = 0) -> Iterator[Floats]:
    """Blocks [c, users] of how often each user stands in a bootstrap sample; `count` samples in all."""
    generator = np.random.default_rng(seed)
    block = max(1, (8 << 20) // max(users, 1))
    for start in range(0, count, block):
        size = min(block, count - start)
        drawn = generator.integers(0, users, size=(size, users))
        drawn += (np.arange(size) * users)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=size * users)
        yield counted.reshape(size, users).astype(np.float64)


def bootstrap_means(values: Floats, count: int = 1000, seed: int = 0) -> Floats:
    """[count, M] means of the columns of `values` [U, M] over users drawn with replacement."""
    users = len(values)
    return np.concatenate([block @ values / users for block in resamples(users, count, seed)])


def tau_interval(one: Floats, other: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of Kendall's τ-b between two orders of S systems, from resampled means [R, S] of each.

    Resamples in which one side is all ties have no τ and are left out; None where no resample has one.
    """
    found = [
        tau
        for a, b in zip(one.tolist(), other.tolist(), strict=True)
        if (tau := kendall_tau_b(a, b)) is not None
    ]
    if not found:
        return None
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(found, [tail, 1.0 - tail])
    return float(low), float(high)


def paired_tests(
    values: Floats,
    pairs: Iterable[tuple[int, int]] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[tuple[int, int], Paired]:
    """Pairs of systems, compared over the same users.

    Under the null each user's two values may be swapped (Fisher 1935; Smucker, Allan, Carterette, CIKM 2007): the
    signs of the differences are drawn at random, the same ones for all pairs. The observed assignment counts as one of
    the draws, so p > 0. Where no draw is as extreme, p is at most 2 exp(-(Σd)² / 2Σd²) too (Hoeffding 1963, over all 2^U
    signs): without it no difference, however large, would survive Holm's adjustment over many pairs.

    Args:
        values: [U, S] per-user values of S systems.
        pairs: columns to compare; None for all, i < j.
        resamples: sign vectors drawn.
        seed: of the drawing.

    Returns:
        (i, j) -> the comparison of i with j.
    """
    users, systems = values.shape
    generator = np.random.default_rng(seed)
    sums = np.empty((resamples, systems))
    block = max(1, (8 << 20) // max(users, 1))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        signs = generator.integers(0, 2, size=(count, users), dtype=np.int8) * 2.0 - 1.0
        # The signs of a difference's sum are those of its two parts: one product serves all pairs.
        sums[start : start + count] = signs @ values
    means = bootstrap_means(values)
    found = {}
    for i, j in itertools.combinations(range(systems), 2) if pairs is None else pairs:
        difference = values[:, i] - values[:, j]
        observed, spread = abs(difference.sum()), difference.std(ddof=1) if users > 1 else 0.0
        # 1e-12 of the values' sum: one in another order must not count as smaller than itself.
        slack = 1e-12 * (np.abs(values[:, i]).sum() + np.abs(values[:, j]).sum())
        extreme = int((np.abs(sums[:, i] - sums[:, j]) >= observed - slack).sum())
        low, high = np.quantile(means[:, i] - means[:, j], [0.025, 0.975])
        p = (extreme + 1) / (resamples + 1)
        if not extreme:
            bound = 2.0 * math.exp(-(observed**2) / (2.0 * float(difference @ difference)))
            p = min(p, max(bound, _LEAST_P))
        found[i, j] = Paired(
            difference=float(difference.mean()),
            low=float(low),
            high=float(high),
            effect=float(difference.mean() / spread) if spread > 0 else 0.0,
            p=p,
        )
    return found
