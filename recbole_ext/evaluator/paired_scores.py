"""Two models' scores of the same labelled pairs: how their metrics differ, on the same draws of users.

AUC is no mean over users, so that no value of a user's own can be swapped or tested: users are drawn with replacement, as for
the intervals of `pointwise.summarise_scores`, and both models are looked at in each draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.evaluator.metrics import POINTWISE
from recbole_ext.evaluator.pointwise import LabelledScores, ScoreTable
from recbole_ext.evaluator.stats import resamples

Drawn = dict[str, Floats]
"""Metric -> its value [1 + R], that of all users first, then of R draws; NaN where a draw has none."""


@dataclass(frozen=True)
class Gap:
    """How one metric of two models differs."""

    difference: float
    """Of all users, the first minus the second."""
    low: float
    high: float
    """95% percentile bootstrap interval over users."""
    p: float
    """Two-sided, of the same draws: twice the share of them on the other side of 0, so that it is below 0.05 about where the interval
    leaves 0 out. Ours; the draw that was observed counts as one, hence p > 0."""


def drawn_metrics(table: ScoreTable, count: int = 1000, seed: int = 0) -> Drawn:
    """Every metric that the pairs have, of all users and of `count` draws; tables of one set of users see the same draws."""
    scores = LabelledScores(table)
    users = len(scores.users)
    blocks = [np.ones((1, users)), *resamples(users, count, seed)]
    return {
        key: np.concatenate([metric.over(scores, block) for block in blocks])
        for key, metric in POINTWISE.items()
        if table.probabilities or not metric.of_probabilities
    }


def gap(one: Floats, other: Floats) -> Gap:
    """The difference of two metrics on the same draws, [1 + R] each; draws in which one is undefined are left out."""
    every = one - other
    draws = every[1:][np.isfinite(every[1:])]
    if not len(draws):
        return Gap(float(every[0]), float("nan"), float("nan"), 1.0)
    low, high = np.quantile(draws, [0.025, 0.975])
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    p = min(1.0, 2.0 * (beyond + 1) / (len(draws) + 1))
    return Gap(float(every[0]), float(low), float(high), p)
