"""What analyses of rank tables find, and what can be said of findings alone. Imports nothing heavy: a board reads these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Paired:
    """How two systems differ over the same users."""

    difference: float
    """Mean of the first minus the second."""
    low: float
    high: float
    """95% percentile bootstrap interval of the difference over users."""
    effect: float
    """Cohen's d of paired values: the mean difference over its standard deviation, 0 for equal systems."""
    p: float
    """Two-sided, of the randomisation test."""


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): adjusted p-values in the order given, valid whatever their dependence."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, largest = [0.0] * len(p), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[i]))
        adjusted[i] = largest
    return adjusted


@dataclass(frozen=True)
class Corrected:
    """Estimates of one full metric from sampled ranks."""

    naive: float
    plug_in: float
    bv: float
    mle: float
    bv_mle: float
    low: float
    """Smallest value of the metric over all rank distributions that give the observed sampled ranks within their error."""
    high: float
    """Largest."""
    widened: float
    """Factor by which the errors had to grow before any distribution fitted; 1 where one fitted at once."""
    ends: Mapping[str, tuple[float, float]]
    """Estimator -> 95% bootstrap interval over users."""


def effective_k(k: int, negatives: int, m: int) -> float:
    """The rank in full ranking at which a sampled Hit@k really looks.

    1 + (k - 1) N / m for k > 1; at k = 1, where that says 1, the full rank with a 50% chance of a sampled hit.
    """
    if k == 1:
        return float(1 + (1 - 2 ** (-1 / m)) * negatives)
    return 1 + (k - 1) * negatives / m


def kendall_tau_b(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Kendall's rank correlation with ties taken into account (τ-b, 1945); None where one side is all ties.

    Pair by pair: boards have tens of rows.
    """
    agree = ties_a = ties_b = pairs = 0
    for i in range(len(a)):
        for j in range(i):
            x, y = (a[i] > a[j]) - (a[i] < a[j]), (b[i] > b[j]) - (b[i] < b[j])
            agree += x * y
            ties_a += x == 0
            ties_b += y == 0
            pairs += 1
    scale = ((pairs - ties_a) * (pairs - ties_b)) ** 0.5
    return agree / scale if scale else None
