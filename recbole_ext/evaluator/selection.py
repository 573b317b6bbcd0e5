"""What validation reads: a metric, and the protocol that it is of. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recbole_ext.core.errors import HarnessError, either, nearest
from recbole_ext.evaluator.metrics import JOINT, PER_POSITIVE, POINTWISE, names
from recbole_ext.evaluator.protocols import SCORES, Protocol, Scoring, protocol_of

AUTO = "auto"
USUAL: dict[Scoring, str] = {"full": "recall@20", "candidates": "hit_pp@1", "pointwise": "auc"}
"""Scoring -> what `valid_metric: auto` stands for."""


@dataclass(frozen=True)
class Selection:
    """By what a model is selected, and its training stopped."""

    metric: str
    protocol: Protocol
    rows: str = "all"
    """Of labelled rows of the validation part, those that are read: `all` or `small`."""

    def __str__(self) -> str:
        told = f" of {self.protocol.name}" if self.protocol.drawn else ""
        return f"{self.metric}{told}{'' if self.rows == 'all' else f' of {self.rows} rows'}"


def usual(metric: str, scoring: Scoring) -> str:
    """`valid_metric` with `auto` in the words of what a model scores."""
    return USUAL[scoring] if metric == AUTO else metric


def selection(metric: str, scoring: Scoring, protocols: Sequence[str]) -> Selection:
    """What a model is selected by.

    Args:
        metric: `metric@k`, or a metric without a cut-off.
        scoring: what the model scores.
        protocols: of the test, one at least that the model serves; a model of lists is selected on lists of the first,
            one of pairs on labelled pairs, whatever it is tested by.

    Raises:
        HarnessError: a metric that the model cannot be selected by, with those that it can be.
    """
    served = (protocol_of(name) for name in protocols)
    protocol = {"full": protocol_of("full"), "pointwise": protocol_of("ctr")}.get(scoring) or next(
        one for one in served if one.unserved(scoring) is None
    )
    given = metric.partition("@")[2]
    k = int(given) if given.isdigit() and int(given) else 20 if scoring == "full" else 1
    known = {
        "full": [name for of in JOINT.values() for name in names(of, [k])],
        "candidates": [name for of in PER_POSITIVE.values() for name in names(of, [k])],
        "pointwise": [name for name, of in POINTWISE.items() if of.selects],
    }[scoring]
    if metric not in known:
        why = "" if scoring == "full" else f", as the model {SCORES[scoring]}"
        raise HarnessError(
            f"valid_metric '{metric}' must be {either(known)}{why}{nearest(metric, known)}"
        )
    return Selection(metric, protocol)
