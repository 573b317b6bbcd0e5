"""ranx, an independent library, as a second oracle for joint-list and per-positive metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.evaluator.places import joint_metrics, per_positive_metrics
from recbole_ext.evaluator.ranks import make_task, rank

ranx = pytest.importorskip("ranx", reason="ranx is in requirements.lock; this environment lacks it")

USERS, ITEMS, KS = 300, 60, (1, 5, 20, 100)  # the last k lies past the catalogue


@pytest.fixture(scope="module")
def case():
    """Scores without ties, positives, excluded items; users without a positive and one-positive users are among them."""
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.permuted(np.tile(np.arange(ITEMS), (USERS, 1)), axis=1)).float()
    kinds = rng.choice(["+", "-", "x"], p=[0.05, 0.8, 0.15], size=(USERS, ITEMS))
    kinds[0], kinds[1, 3:] = "-", "x"  # nobody to find; three candidates only
    kinds[1, :3] = ["-", "+", "-"]
    task = make_task(ITEMS, np.nonzero(kinds == "+"), np.nonzero(kinds == "x"))
    (table,) = rank(task, lambda users: [scores[users]])
    return scores.numpy(), kinds, table


def theirs(relevant: dict, found: dict, names: list[str]) -> dict[str, np.ndarray]:
    """Values per query, queries sorted."""
    run = ranx.Run(found)
    ranx.evaluate(ranx.Qrels(relevant), run, names, make_comparable=True)
    return {
        name: np.array([values[query] for query in sorted(values)])
        for name, values in run.scores.items()
    }


def test_joint_metrics_equal_ranx(case):
    scores, kinds, table = case
    relevant = {
        f"{u:04d}": {str(i): 1 for i in np.flatnonzero(kinds[u] == "+")}
        for u in range(USERS)
        if (kinds[u] == "+").any()
    }
    found = {
        user: {str(i): float(scores[int(user), i]) for i in np.flatnonzero(kinds[int(user)] != "x")}
        for user in relevant
    }
    spelled = {"recall": "recall", "precision": "precision", "hr": "hit_rate", "mrr": "mrr", "ndcg": "ndcg",
               "map": "map"}  # fmt: skip
    ours = joint_metrics(table, KS)
    oracle = theirs(relevant, found, [f"{name}@{k}" for name in spelled.values() for k in KS])
    positives = np.array([len(relevant[user]) for user in sorted(relevant)])
    assert len(positives) < USERS and positives.min() == 1
    for name, spelling in spelled.items():
        for k in KS:
            other = oracle[f"{spelling}@{k}"]
            if name == "map":  # theirs divides by all positives, ours by those that fit into k
                other = other * positives / np.minimum(positives, k)
            # Sums of at most 100 float64 terms.
            np.testing.assert_allclose(ours[f"{name}@{k}"], other, atol=1e-12, err_msg=name)


def test_per_positive_metrics_equal_ranx_on_one_query_per_positive(case):
    scores, kinds, table = case
    relevant, found = {}, {}
    for row, (user, item) in enumerate(zip(table.user, table.item, strict=True)):
        candidates = [*np.flatnonzero(kinds[user] == "-"), item]
        relevant[f"{row:05d}"] = {str(item): 1}
        found[f"{row:05d}"] = {str(i): float(scores[user, i]) for i in candidates}
    ours = per_positive_metrics(table.above, table.tied, KS)
    oracle = theirs(
        relevant, found, [f"{name}@{k}" for name in ("hit_rate", "ndcg") for k in KS] + ["mrr"]
    )
    for k in KS:
        np.testing.assert_allclose(ours[f"hit_pp@{k}"], oracle[f"hit_rate@{k}"], atol=1e-12)
        np.testing.assert_allclose(ours[f"ndcg_pp@{k}"], oracle[f"ndcg@{k}"], atol=1e-12)
    np.testing.assert_allclose(ours["mrr_pp"], oracle["mrr"], atol=1e-12)
