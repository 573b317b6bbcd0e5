"""Lists, what they are like, and parts of the positives, against loops and against RecBole's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.evaluator.beyond import beyond_accuracy, head_items
from recbole_ext.evaluator.places import joint_metrics
from recbole_ext.evaluator.ranks import make_task, rank
from recbole_ext.evaluator.strata import strata, summarise_strata


def ranked(scores, positives, excluded, top, block_bytes=1 << 20):
    task = make_task(scores.shape[1], positives, excluded)
    (table,) = rank(
        task, lambda users: [torch.from_numpy(scores[users])], block_bytes=block_bytes, top=top
    )
    return table


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_the_kept_list_is_a_stable_sort_of_the_candidates(seed, top, ties):
    rng = np.random.default_rng(seed)
    users, items = 7, 12
    scores = (
        rng.integers(0, 3, (users, items)) if ties else rng.normal(size=(users, items))
    ).astype(np.float32)
    kind = rng.integers(0, 4, (users, items))  # 0 positive, 1 excluded, else neither
    kind[:, :2] = [0, 2]
    table = ranked(
        scores, np.nonzero(kind == 0), np.nonzero(kind == 1), top, block_bytes=4 * items * 3
    )
    fewest = int((kind != 1).sum(1).min())
    assert table.top is not None and table.top.shape == (users, min(top, fewest))
    for user in range(users):
        candidates = [i for i in range(items) if kind[user, i] != 1]
        candidates.sort(key=lambda i: (-scores[user, i], i))
        assert table.top[user].tolist() == candidates[: min(top, fewest)]


def test_no_list_is_kept_unless_asked_for():
    scores = np.zeros((1, 3), np.float32)
    assert ranked(scores, ([0], [1]), ([], []), 0).top is None


def loops(top, popularity, users, k):
    n = len(popularity)
    counts = [sum(int(i in row[:k]) for row in top.tolist()) for i in range(n)]
    shown = [i for row in top.tolist() for i in row[:k]]
    order = sorted(range(n), key=lambda i: (-popularity[i], i))
    head = set(order[: -(-n // 5)])
    total = sum(counts)
    gaps = sum(abs(a - b) for a in counts for b in counts)
    return {
        f"coverage@{k}": sum(c > 0 for c in counts) / n,
        f"gini@{k}": gaps / (2 * n * total),  # mean absolute difference over twice the mean
        f"popularity@{k}": sum(popularity[i] for i in shown) / len(shown),
        f"tail@{k}": sum(i not in head for i in shown) / len(shown),
        f"novelty@{k}": sum(-np.log2((popularity[i] + 1) / (users + 1)) for i in shown)
        / len(shown),
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_what_lists_are_like_against_loops(seed):
    rng = np.random.default_rng(seed)
    n, users = int(rng.integers(6, 20)), 9
    top = np.stack([rng.permutation(n)[:6] for _ in range(5)])
    popularity = rng.integers(0, users + 1, n)
    found = beyond_accuracy(top, popularity, users, [2, 6, 7])
    expected = loops(top, popularity, users, 2) | loops(top, popularity, users, 6)
    assert found.keys() == expected.keys()  # k = 7 is deeper than the lists
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


def test_coverage_gini_and_popularity_are_recboles():
    from recbole_ext.recbole_compat import recbole

    recbole()
    from recbole.evaluator import metrics
    from recbole.evaluator.collector import DataStruct

    rng = np.random.default_rng(1)
    n, users, k = 40, 30, 5
    top = np.stack([rng.permutation(n)[:k] for _ in range(users)])
    popularity = rng.integers(1, 20, n)
    data = DataStruct()
    data.set("rec.items", torch.from_numpy(top))
    data.set("data.num_items", n)
    data.set("data.count_items", dict(enumerate(popularity.tolist())))
    config = {"topk": [k], "metric_decimal_place": 12}
    found = beyond_accuracy(top, popularity, users, [k])
    for name, theirs in (
        ("coverage", "ItemCoverage"),
        ("gini", "GiniIndex"),
        ("popularity", "AveragePopularity"),
    ):
        (value,) = getattr(metrics, theirs)(config).calculate_metric(data).values()
        assert found[f"{name}@{k}"] == pytest.approx(float(value), abs=1e-9), name


def test_the_head_is_a_fifth_and_ties_go_by_index():
    assert head_items(np.array([3, 9, 9, 9, 1, 0])).tolist() == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert head_items(np.array([1])).tolist() == [True]


def test_parts_of_the_positives_by_hand():
    scores = np.array([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [3, 3, 3, 3, 3]], np.float32)
    positives = (np.array([0, 0, 1, 2]), np.array([0, 4, 4, 1]))
    table = ranked(scores, positives, (np.array([], int), np.array([], int)), 2)
    popularity, activity = np.array([9, 1, 1, 1, 1]), np.array([1, 2, 3])
    text = np.array([True, True, True, True, False])
    masks = strata(table, popularity, activity, text)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "head items": [True, False, False, False],
        "tail items": [False, True, True, True],
        "low activity": [True, True, False, False],
        "middle activity": [False, False, True, False],
        "high activity": [False, False, False, True],
        "items with text": [True, False, False, True],
        "items without text": [False, True, True, False],
    }
    found = summarise_strata(table, masks, [1])
    assert found["tail items"]["users"] == 3 and found["tail items"]["positives"] == 3
    # Alone, user 0's second positive stands below three negatives, user 1's first of all, user 2's tied with four.
    assert found["tail items"]["metrics"]["recall@1"]["mean"] == pytest.approx(
        (0 + 1 + 1 / 5) / 3, abs=1e-8
    )
    whole = table.of(np.ones(4, bool))
    np.testing.assert_array_equal(
        joint_metrics(whole, [1])["recall@1"], joint_metrics(table, [1])["recall@1"]
    )
    assert "items with text" not in strata(table, popularity, activity, None)
    assert "items with text" not in strata(table, popularity, activity, np.ones(5, bool))
