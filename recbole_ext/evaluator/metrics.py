"""Metrics, as a registry: key, heading, formula, and where docs/protocols.md writes it down. A new metric is one entry here.

Two families that are never mixed:

* joint-list: the user's whole list, all its positives in it. A formula reads the expectations of `places.Lists`;
* per-positive: one positive among the user's negatives, the other positives left out, each positive weighted 1/|T_u|. A
  formula is the gain of a rank, from which full, sampled, expected and corrected values follow alike. Only this family can
  be compared between full and sampled candidates.

Nothing heavy is imported: a board reads headings from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recbole_ext.core.errors import HarnessError, nearest

if TYPE_CHECKING:
    from recbole_ext.core.arrays import Floats
    from recbole_ext.evaluator.places import Lists


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


def names(metric: JointMetric | RankMetric, ks: Any) -> dict[str, int | None]:
    """`metric@k` -> k for each cut-off, or the metric alone -> None where it has none."""
    if isinstance(metric, RankMetric) and not metric.cut:
        return {metric.key: None}
    return {f"{metric.key}@{k}": int(k) for k in ks}


def metric_of(name: str) -> tuple[JointMetric | RankMetric, int | None]:
    """The metric and the cut-off of `ndcg@20` or `mrr_pp`.

    Raises:
        HarnessError: no such metric.
    """
    key, at, k = name.partition("@")
    found = JOINT.get(key) or PER_POSITIVE.get(key)
    if found is None or (at and not k.isdigit()):
        known = [*JOINT, *PER_POSITIVE]
        raise HarnessError(f"metric '{name}' is unknown ({', '.join(known)}){nearest(key, known)}")
    return found, int(k) if at else None


def heading_of(name: str) -> str:
    """`NDCG@10 per positive` of `ndcg_pp@10`, `NDCG@10` of `ndcg@10`."""
    metric, k = metric_of(name)
    cut = "" if k is None else f"@{k}"
    return f"{metric.heading}{cut}{' per positive' if isinstance(metric, RankMetric) else ''}"


def selection_cut_off(name: str) -> int:
    """The cut-off of a joint-list `metric@k`, which is what selection and early stopping may read.

    Raises:
        HarnessError: another metric.
    """
    key, _, k = name.partition("@")
    if key not in JOINT or not k.isdigit() or int(k) < 1:
        known = [f"{metric}@{k or 20}" for metric in JOINT]
        raise HarnessError(
            f"valid_metric '{name}' must be metric@k with metric one of {', '.join(JOINT)}{nearest(name, known)}"
        )
    return int(k)
