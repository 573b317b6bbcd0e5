"""10,000 random users against RecBole's metrics, ranx, and loops written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recbole_ext.evaluator.places import joint_metrics, per_positive_metrics
from recbole_ext.evaluator.ranks import make_task, rank

USERS, ITEMS, KS = 10_000, 25, (1, 5, 20)


@pytest.fixture(scope="module")
def case():
    """(order [U, n] best first, kinds [U, n], table); no ties, 1 to about 15 positives, some histories long."""
    rng = np.random.default_rng(7)
    scores = rng.permuted(np.tile(np.arange(ITEMS, dtype=np.float32), (USERS, 1)), axis=1)
    share = rng.uniform(0.02, 0.5, (USERS, 1))
    draw = rng.random((USERS, ITEMS))
    kinds = np.where(draw < share, "+", np.where(draw > 1 - share / 2, "x", "-"))
    kinds[np.arange(USERS), rng.integers(0, ITEMS, USERS)] = "+"
    task = make_task(ITEMS, np.nonzero(kinds == "+"), np.nonzero(kinds == "x"))
    (table,) = rank(task, lambda users: [torch.from_numpy(scores[users])])
    masked = np.where(kinds == "x", -np.inf, scores)
    return np.argsort(-masked, axis=1), kinds, table


@pytest.fixture(scope="module")
def ours(case):
    return joint_metrics(case[2], KS)


def test_every_user_agrees_with_loops(case, ours):
    order, kinds, _ = case
    for u in range(USERS):
        candidates = [i for i in order[u] if kinds[u, i] != "x"]
        places = [r for r, i in enumerate(candidates, 1) if kinds[u, i] == "+"]
        for k in KS:
            inside = [r for r in places if r <= k]
            most = min(len(places), k)
            expected = {
                "recall": len(inside) / len(places),
                "recall_mink": len(inside) / most,
                "precision": len(inside) / k,
                "hr": float(bool(inside)),
                "mrr": 1 / inside[0] if inside else 0.0,
                "ndcg": sum(1 / math.log2(r + 1) for r in inside)
                / sum(1 / math.log2(r + 1) for r in range(1, most + 1)),
                "map": sum((j + 1) / r for j, r in enumerate(inside)) / most,
            }
            for name, value in expected.items():
                # Sums of at most 20 float64 terms.
                assert abs(ours[f"{name}@{k}"][u] - value) < 1e-12, (u, name, k)


def test_every_user_agrees_with_recbole(case, ours):
    from recbole_ext.recbole_compat import recbole

    recbole()
    from recbole.evaluator import metrics

    order, kinds, _ = case
    hits = np.take_along_axis(kinds, order, axis=1)[:, : max(KS)] == "+"
    positives = (kinds == "+").sum(axis=1)
    config = {"topk": list(KS), "metric_decimal_place": 12}
    spelled = {
        "recall": "Recall",
        "precision": "Precision",
        "hr": "Hit",
        "mrr": "MRR",
        "ndcg": "NDCG",
        "map": "MAP",
    }
    for name, theirs in spelled.items():
        metric = getattr(metrics, theirs)(config)
        values = (
            metric.metric_info(hits, positives)
            if name in ("recall", "ndcg", "map")
            else metric.metric_info(hits)
        )
        for k in KS:
            # RecBole sums discounts in float32 in places.
            np.testing.assert_allclose(
                ours[f"{name}@{k}"], values[:, k - 1], atol=2e-7, err_msg=name
            )


def test_every_user_agrees_with_ranx(case, ours):
    ranx = pytest.importorskip(
        "ranx", reason="ranx is in requirements.lock; this environment lacks it"
    )
    order, kinds, _ = case
    relevant = {
        f"{u:05d}": {str(i): 1 for i in np.flatnonzero(kinds[u] == "+")} for u in range(USERS)
    }
    found = {
        f"{u:05d}": {str(i): float(ITEMS - r) for r, i in enumerate(order[u]) if kinds[u, i] != "x"}
        for u in range(USERS)
    }
    run = ranx.Run(found)
    spelled = {
        "recall": "recall",
        "precision": "precision",
        "hr": "hit_rate",
        "mrr": "mrr",
        "ndcg": "ndcg",
    }
    names = [f"{name}@{k}" for name in spelled.values() for k in KS]
    ranx.evaluate(ranx.Qrels(relevant), run, names, make_comparable=True)
    for name, theirs in spelled.items():
        for k in KS:
            values = run.scores[f"{theirs}@{k}"]
            expected = np.array([values[query] for query in sorted(values)])
            np.testing.assert_allclose(ours[f"{name}@{k}"], expected, atol=1e-12, err_msg=name)


def test_every_positive_agrees_with_loops(case):
    order, kinds, table = case
    found = per_positive_metrics(table.above, table.tied, KS)
    assert not table.tied.any()
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(ITEMS), axis=1)
    for p, (u, i) in enumerate(zip(table.user, table.item, strict=True)):
        r = 1 + int((place[u][kinds[u] == "-"] < place[u, i]).sum())
        assert abs(found["mrr_pp"][p] - 1 / r) < 1e-12
        for k in KS:
            assert found[f"hit_pp@{k}"][p] == (r <= k)
            assert abs(found[f"ndcg_pp@{k}"][p] - (r <= k) / math.log2(r + 1)) < 1e-12
