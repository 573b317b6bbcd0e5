"""Labelled pairs and their scores: do those with label 1 score higher than those with 0. Formulas are in docs/protocols.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Floats, Ints, run_starts
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.counting import NotFinite
from recbole_ext.evaluator.metrics import POINTWISE
from recbole_ext.evaluator.stats import resamples
from recbole_ext.evaluator.summary import rounded

_USERS = 256
"""Whose items are all scored at a time."""
_LEAST = 1e-12
"""In place of a probability of 0 in a logarithm."""


@dataclass(frozen=True)
class LabelledPairs:
    """Rows of one part of the data; N pairs in the order of (user, item), some of them several times where those are kept."""

    user: Ints
    item: Ints
    label: Ints
    """[N] 0 or 1."""
    row: Ints | None = None
    """[N] of each pair among the interactions, for models that read what was before it."""

    @classmethod
    def of(
        cls, user: Ints, item: Ints, label: Floats | None, part: str, row: Ints | None = None
    ) -> LabelledPairs | str:
        """The rows, or why they cannot be told apart by their labels.

        Args:
            user: [N].
            item: [N].
            label: [N], None where the data has none.
            part: what they are of, for the reason.
            row: [N] of each among the interactions.
        """
        if label is None:
            return "the data has no labels"
        others = label[(label != 0) & (label != 1)]
        if len(others):
            return f"its labels are not 0 or 1, e.g. {others[0]:g}"
        if len(np.unique(label)) < 2:
            return f"the {len(label):,} labels of the {part} part are all the same"
        return cls(user, item, label.astype(np.int64), row)


@dataclass(frozen=True)
class ScoreTable:
    """One row per labelled pair; N rows, ordered by user, then item."""

    user: Ints
    item: Ints
    label: Ints
    """[N] 0 or 1."""
    score: Floats
    """[N] larger is better."""
    probabilities: bool = False
    """Whether the model says that its scores are probabilities of label 1."""

    def __len__(self) -> int:
        return len(self.user)

    def of(self, mask: npt.NDArray[np.bool_]) -> ScoreTable:
        """Some of the rows, by a mask [N]."""
        user, item, label = self.user[mask], self.item[mask], self.label[mask]
        return ScoreTable(user, item, label, self.score[mask], self.probabilities)


def scored(pairs: LabelledPairs, score: Any, probabilities: bool = False) -> ScoreTable:
    """The pairs with their scores [N].

    Raises:
        NotFinite: a score is NaN or infinite.
        HarnessError: a score is said to be a probability and is none.
    """
    score = np.asarray(score, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(score))
    if len(bad):
        row = bad[0]
        raise NotFinite(int(pairs.user[row]), int(pairs.item[row]), float(score[row]), len(bad))
    if probabilities and len(score) and not (score.min() >= 0 and score.max() <= 1):
        raise HarnessError(
            f"the model says that its scores are probabilities, but they go from {score.min():g} to {score.max():g}"
        )
    return ScoreTable(pairs.user, pairs.item, pairs.label, score, probabilities)


def picked(pairs: LabelledPairs, every: Callable[[Ints], Any]) -> Floats:
    """[N] scores of the pairs, of a model that scores every item: users [B] -> [B, n_items]."""
    users, row = np.unique(pairs.user, return_inverse=True)
    out = np.empty(len(pairs.user))
    for start in range(0, len(users), _USERS):
        inside = np.flatnonzero((row >= start) & (row < start + _USERS))
        scores = every(users[start : start + _USERS])
        out[inside] = scores[row[inside] - start, pairs.item[inside]].double().cpu().numpy()
    return out


class LabelledScores:
    """What formulas read of a table: its rows sorted by score once, for every multiplicity of its U users."""

    def __init__(self, table: ScoreTable) -> None:
        self._table = table
        self.users, self._row_user = np.unique(table.user, return_inverse=True)
        order = np.argsort(table.score, kind="stable")
        self._user, self._positive = self._row_user[order], table.label[order] == 1
        score = table.score[order]
        self._starts = run_starts(score)
        """Where groups of equal scores begin, worst first."""

    def auc(self, multiplicities: Floats) -> Floats:
        """[R] the chance that a pair with label 1 scores above one with 0, ties counting half; NaN without one of them."""
        return np.array([self._auc(weights[self._user]) for weights in multiplicities])

    def _auc(self, weight: Floats) -> float:
        ones, zeros = (
            np.add.reduceat(np.where(own, weight, 0.0), self._starts)
            for own in (self._positive, ~self._positive)
        )
        pairs = ones.sum() * zeros.sum()
        below = np.cumsum(zeros) - zeros
        # Counts and halves of them: exact in any order, and no threads of a matrix product are woken.
        won = float((ones * (below + zeros / 2)).sum())
        return float(won / pairs) if pairs else float("nan")

    @cached_property
    def auc_of_users(self) -> Floats:
        """[U] AUC of each user's own pairs, NaN for one whose labels are all the same."""
        # The same sums within (user, score) groups; within a user they ascend by score.
        table = self._table
        order = np.lexsort((table.score, self._row_user))
        user, score, one = self._row_user[order], table.score[order], table.label[order] == 1
        starts = run_starts(user, score)
        owner = user[starts]
        ones, zeros = (np.add.reduceat(own.astype(np.float64), starts) for own in (one, ~one))
        before = np.cumsum(zeros) - zeros
        below = before - before[run_starts(owner)][owner]
        count = len(self.users)
        won = np.bincount(owner, weights=ones * (below + zeros / 2), minlength=count)
        pairs = np.bincount(owner, weights=ones, minlength=count) * np.bincount(
            owner, weights=zeros, minlength=count
        )
        own: Floats = np.divide(won, pairs, out=np.full(count, np.nan), where=pairs > 0)
        return own

    def mean_over_users(self, values: Floats, multiplicities: Floats) -> Floats:
        """[R] mean of `values` [U] over the users that have one."""
        kept = np.isfinite(values)
        weights = multiplicities[:, kept]
        total = weights.sum(axis=1)
        sums = weights @ values[kept]
        means: Floats = np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
        return means

    def log_loss(self, multiplicities: Floats) -> Floats:
        """[R] mean over pairs of -ln of the probability that the label was given."""
        table = self._table
        given = np.where(table.label == 1, table.score, 1.0 - table.score)
        lost = -np.log(np.maximum(given, _LEAST))
        sums, counts = (
            np.bincount(self._row_user, weights=values, minlength=len(self.users))
            for values in (lost, np.ones(len(table)))
        )
        return np.asarray((multiplicities @ sums) / (multiplicities @ counts))


def value_of(table: ScoreTable, metric: str) -> float:
    """A metric of the pairs; NaN where it is not defined."""
    scores = LabelledScores(table)
    return float(POINTWISE[metric].over(scores, np.ones((1, len(scores.users))))[0])


def summarise_scores(table: ScoreTable) -> dict[str, dict[str, Any]]:
    """Metric -> `mean`, ends of its 95% bootstrap interval over users, and, of a mean over users, how many `users` have one.

    A metric that is not defined here is left out.
    """
    scores = LabelledScores(table)
    every = np.ones((1, len(scores.users)))
    out: dict[str, dict[str, Any]] = {}
    for metric in POINTWISE.values():
        if metric.of_probabilities and not table.probabilities:
            continue
        value = float(metric.over(scores, every)[0])
        if np.isnan(value):
            continue
        drawn = np.concatenate(
            [metric.over(scores, block) for block in resamples(len(scores.users))]
        )
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        out[metric.key] = {"mean": rounded(value), "low": rounded(low), "high": rounded(high)}
        if metric.per_user is not None:
            out[metric.key]["users"] = int(np.isfinite(metric.per_user(scores)).sum())
    return out


def scores_per_user(table: ScoreTable) -> dict[str, Floats]:
    """Metric that is a mean over users -> [U] values, users ascending, NaN for those that it leaves out."""
    scores = LabelledScores(table)
    return {
        key: metric.per_user(scores)
        for key, metric in POINTWISE.items()
        if metric.per_user is not None
    }
