"""What a paired comparison is, and what many of them do to each other. Imports nothing heavy: a board reads these."""

from __future__ import annotations

from collections.abc import Sequence
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
