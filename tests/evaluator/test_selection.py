"""What validation may read follows from what a model scores."""

from __future__ import annotations

import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.protocols import SCORINGS, protocol_of
from recbole_ext.evaluator.selection import selection, usual

PROTOCOLS = ("full", "expected@19", "pop5", "uni19", "ctr")


@pytest.mark.parametrize(
    ("scoring", "metric", "told"),
    [
        ("full", "recall@20", "recall@20"),
        ("candidates", "hit_pp@1", "hit_pp@1 of pop5"),
        ("pointwise", "auc", "auc"),
    ],
)
def test_auto_is_a_metric_that_fits(scoring, metric, told):
    assert usual("auto", scoring) == metric and usual("ndcg@3", scoring) == "ndcg@3"
    assert str(selection(metric, scoring, PROTOCOLS)) == told


@pytest.mark.parametrize(
    ("scoring", "metric", "line"),
    [
        ("full", "hit_pp@1", "must be recall@1, ndcg@1"),
        ("full", "recall", "must be recall@20"),
        ("full", "auc", "must be recall@20"),
        ("candidates", "recall@20", "must be hit_pp@20, ndcg_pp@20 or mrr_pp, as the model scores given lists only"),
        ("candidates", "hit_pp@0", "must be hit_pp@1"),
        ("candidates", "mrr_pp@3", "must be hit_pp@3, ndcg_pp@3 or mrr_pp"),
        ("pointwise", "aucc", "must be auc or uauc, as the model scores single pairs only, did you mean auc"),
        ("pointwise", "log_loss", "must be auc or uauc"),
    ],
)  # fmt: skip
def test_one_that_does_not_fit_is_a_line_with_those_that_do(scoring, metric, line):
    with pytest.raises(HarnessError) as error:
        selection(metric, scoring, PROTOCOLS)
    told = str(error.value)
    assert told.startswith(f"valid_metric '{metric}'") and "\n" not in told
    assert all(part in told for part in line.split(", did you mean")), told


def test_every_protocol_is_served_by_a_model_of_every_item_and_says_what_else_serves_it():
    served = {
        scoring: {name for name in PROTOCOLS if protocol_of(name).unserved(scoring) is None}
        for scoring in SCORINGS
    }
    assert served == {
        "full": set(PROTOCOLS),
        "candidates": {"pop5", "uni19"},
        "pointwise": {"ctr", "pop5", "uni19"},
    }
    # Pairs are what it learns from: lists are for the test alone.
    assert selection("auc", "pointwise", ["uni19"]).protocol.name == "ctr"
