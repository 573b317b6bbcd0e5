"""Metrics, as a registry: key, heading, formula, and where docs/protocols.md writes it down. A new metric is one entry here.

Four families that are never mixed:

* joint-list: the user's whole list, all its positives in it. A formula reads the expectations of `places.Lists`;
* per-positive: one positive among the user's negatives, the other positives left out, each positive weighted 1/|T_u|. A
  formula is the gain of a rank, from which full, sampled, expected and corrected values follow alike. Only this family can
  be compared between full and sampled candidates;
* output: of a model that answers with one candidate in words, how often the answer is one;
* pointwise: labelled pairs by their scores, in no list at all. A formula reads `pointwise.LabelledScores`.

Nothing heavy is imported: a board reads headings from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recbole_ext.core.errors import HarnessError, nearest

if TYPE_CHECKING:
    from recbole_ext.core.arrays import Bools, Floats
    from recbole_ext.evaluator.places import Lists
    from recbole_ext.evaluator.pointwise import LabelledScores


@dataclass(frozen=True)
class JointMetric:
    """A metric of whole lists, cut off at k."""

    key: str
    heading: str
    per_user: Callable[[Lists, int], Floats]
    """[U] values at a cut-off."""
    recbole: str | None
    """Its name in RecBole, None where RecBole has none."""

    anchor = "joint-list-metrics-full-only"


@dataclass(frozen=True)
class RankMetric:
    """A metric of one positive's rank among negatives; zero beyond the cut-off where it has one."""

    key: str
    heading: str
    gain: Callable[[Any], Floats]
    """Of ranks 1, 2, .. in an array."""
    cut: bool = True

    anchor = "per-positive-metrics-every-protocol"


@dataclass(frozen=True)
class OutputMetric:
    """A metric of what a model answers to a list, averaged like a per-positive one."""

    key: str
    heading: str
    per_answer: Callable[[Bools], Floats]
    """Of whether answers name a candidate, in an array."""

    anchor = "lists-that-are-scored-or-generated"


@dataclass(frozen=True)
class PointwiseMetric:
    """A metric of labelled pairs."""

    key: str
    heading: str
    over: Callable[[LabelledScores, Floats], Floats]
    """[R] values where users count as often as `multiplicities` [R, U] says; NaN where there is none."""
    per_user: Callable[[LabelledScores], Floats] | None = None
    """[U] values that tests pair users by, NaN for those that it leaves out; None where it is no mean over users."""
    selects: bool = True
    """Larger is better: validation may read it."""
    of_probabilities: bool = False
    """Defined where scores are probabilities only."""

    anchor = "labelled-pairs-ctr"


JOINT: Mapping[str, JointMetric] = {
    metric.key: metric
    for metric in (
        JointMetric("recall", "Recall", lambda lists, k: lists.hits(k) / lists.total, "Recall"),
        JointMetric("ndcg", "NDCG", lambda lists, k: lists.gain(k) / lists.ideal_gain(k), "NDCG"),
        JointMetric("hr", "HR", lambda lists, k: lists.any_hit(k), "Hit"),
        JointMetric("precision", "Precision", lambda lists, k: lists.hits(k) / k, "Precision"),
        JointMetric("mrr", "MRR", lambda lists, k: lists.reciprocal_rank(k), "MRR"),
        JointMetric("map", "MAP", lambda lists, k: lists.precisions(k) / lists.most(k), "MAP"),
        JointMetric(
            "recall_mink", "Recall/min(T,k)", lambda lists, k: lists.hits(k) / lists.most(k), None
        ),
    )
}


def _discount(rank: Any) -> Any:
    import numpy as np

    return 1.0 / np.log2(rank + 1.0)


PER_POSITIVE: Mapping[str, RankMetric] = {
    metric.key: metric
    for metric in (
        RankMetric("hit_pp", "Hit", lambda rank: 0.0 * rank + 1.0),
        RankMetric("ndcg_pp", "NDCG", _discount),
        RankMetric("mrr_pp", "MRR", lambda rank: 1.0 / rank, cut=False),
    )
}


OUTPUT: Mapping[str, OutputMetric] = {
    metric.key: metric
    for metric in (OutputMetric("valid_pp", "Valid answers", lambda valid: valid.astype(float)),)
}

POINTWISE: Mapping[str, PointwiseMetric] = {
    metric.key: metric
    for metric in (
        PointwiseMetric("auc", "AUC", lambda scores, users: scores.auc(users)),
        PointwiseMetric(
            "uauc",
            "UAUC",
            lambda scores, users: scores.mean_over_users(scores.auc_of_users, users),
            per_user=lambda scores: scores.auc_of_users,
        ),
        PointwiseMetric(
            "log_loss",
            "Log loss",
            lambda scores, users: scores.log_loss(users),
            selects=False,
            of_probabilities=True,
        ),
    )
}

MORE_THAN = 3
"""Training rows of a warm user and of a warm item (CoLLM's files of MovieLens-1M)."""
WARM, SEEN, COLD, UNSEEN = "warm", "seen", "cold", "both unseen"
PARTS = {
    WARM: f"user and item have more than {MORE_THAN} training rows each",
    SEEN: "user and item are both in training",
    COLD: "user or item is not in training",
    UNSEEN: "neither user nor item is in training",
}
"""Part of the labelled pairs -> whose rows it holds. `warm` is the rule for MovieLens-1M, `seen` that for Amazon-Book and of the flag
`not_cold`; `cold` is what `seen` leaves, and some rows are neither warm nor cold. `both unseen` is what one of CoLLM's scripts
calls cold."""

Metric = JointMetric | RankMetric | OutputMetric | PointwiseMetric
_METRICS: Mapping[str, Metric] = {**JOINT, **PER_POSITIVE, **OUTPUT, **POINTWISE}


def names(metric: JointMetric | RankMetric, ks: Any) -> dict[str, int | None]:
    """`metric@k` -> k for each cut-off, or the metric alone -> None where it has none."""
    if isinstance(metric, RankMetric) and not metric.cut:
        return {metric.key: None}
    return {f"{metric.key}@{k}": int(k) for k in ks}


def metric_of(name: str) -> tuple[Metric, int | None]:
    """The metric and the cut-off of `ndcg@20` or `mrr_pp`.

    Raises:
        HarnessError: no such metric.
    """
    key, at, k = name.partition("@")
    found = _METRICS.get(key)
    if found is None or (at and not k.isdigit()):
        raise HarnessError(
            f"metric '{name}' is unknown ({', '.join(_METRICS)}){nearest(key, _METRICS)}"
        )
    return found, int(k) if at else None


def heading_of(name: str) -> str:
    """`NDCG@10 per positive` of `ndcg_pp@10`, `NDCG@10` of `ndcg@10`."""
    metric, k = metric_of(name)
    cut = "" if k is None else f"@{k}"
    return f"{metric.heading}{cut}{' per positive' if isinstance(metric, RankMetric) else ''}"
