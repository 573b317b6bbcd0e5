"""Ranks and metrics against definitions written as loops over every tie-breaking order."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.places import joint_metrics, per_positive_metrics, user_means
from recbole_ext.evaluator.ranks import make_task, rank
from recbole_ext.evaluator.sampled import expected_metrics
from recbole_ext.evaluator.stats import bootstrap_intervals

KS = (1, 2, 3, 5, 9)  # the last lies past the catalogue of six


def orders(scores: list[int]) -> list[tuple[int, ...]]:
    """Every ranking of the candidates that is consistent with the scores."""
    levels = [
        [i for i, s in enumerate(scores) if s == level]
        for level in sorted(set(scores), reverse=True)
    ]
    parts = [list(itertools.permutations(level)) for level in levels]
    return [tuple(itertools.chain(*choice)) for choice in itertools.product(*parts)]


def slow_joint(scores: list[int], positives: set[int], k: int) -> dict[str, float]:
    """Mean over all orders of the textbook definitions."""
    sums = dict.fromkeys(("recall", "recall_mink", "ndcg", "hr", "precision", "mrr", "map"), 0.0)
    every = orders(scores)
    for order in every:
        relevant = [item in positives for item in order[:k]]
        hits = sum(relevant)
        sums["recall"] += hits / len(positives)
        sums["recall_mink"] += hits / min(len(positives), k)
        sums["precision"] += hits / k
        sums["hr"] += hits > 0
        ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(positives))))
        sums["ndcg"] += sum(r / math.log2(i + 2) for i, r in enumerate(relevant)) / ideal
        sums["mrr"] += next((1 / (i + 1) for i, r in enumerate(relevant) if r), 0.0)
        precisions = [sum(relevant[: i + 1]) / (i + 1) for i, r in enumerate(relevant) if r]
        sums["map"] += sum(precisions) / min(k, len(positives))
    return {name: value / len(every) for name, value in sums.items()}


users_strategy = st.lists(
    st.tuples(
        st.lists(st.integers(0, 3), min_size=6, max_size=6),  # scores with many ties
        st.lists(st.sampled_from("+-x"), min_size=6, max_size=6),  # positive, negative, excluded
    ),
    min_size=1,
    max_size=4,
)


def build(users):
    kinds = np.array([list(kind) for _, kind in users])
    task = make_task(6, np.nonzero(kinds == "+"), np.nonzero(kinds == "x"))
    matrix = torch.tensor([scores for scores, _ in users], dtype=torch.float32)
    return task, matrix


@settings(max_examples=60, deadline=None)
@given(users_strategy)
def test_joint_metrics_equal_the_mean_over_all_orders(users):
    task, matrix = build(users)
    # A user without positives is not there, whatever its scores.
    assert task.users.tolist() == [u for u, (_, kinds) in enumerate(users) if "+" in kinds]
    if not len(task.users):
        return
    (table,) = rank(task, lambda u: [matrix[u]], block_bytes=6 * 4 * 2)
    found = joint_metrics(table, KS)
    for row, user in enumerate(task.users):
        scores, kinds = users[user]
        kept = [i for i in range(6) if kinds[i] != "x"]
        positives = {kept.index(i) for i in range(6) if kinds[i] == "+"}
        for k in KS:
            slow = slow_joint([scores[i] for i in kept], positives, k)
            for name, value in slow.items():
                # Sums of at most 720 terms in another order: 1e-12 is a thousand ulp.
                assert found[f"{name}@{k}"][row] == pytest.approx(value, abs=1e-12), (name, k)


@settings(max_examples=60, deadline=None)
@given(users_strategy)
def test_per_positive_metrics_leave_the_other_positives_out(users):
    task, matrix = build(users)
    if not len(task.users):
        return
    (table,) = rank(task, lambda u: [matrix[u]])
    found = per_positive_metrics(table.above, table.tied, KS)
    for p in range(len(table)):
        scores, kinds = users[table.user[p]]
        kept = [i for i in range(6) if kinds[i] == "-"] + [int(table.item[p])]
        every = orders([scores[i] for i in kept])
        places = [order.index(len(kept) - 1) + 1 for order in every]
        assert table.negatives[p] == len(kept) - 1
        for k in KS:
            hit = np.mean([place <= k for place in places])
            gain = np.mean([(place <= k) / math.log2(place + 1) for place in places])
            assert found[f"hit_pp@{k}"][p] == pytest.approx(hit, abs=1e-12)
            assert found[f"ndcg_pp@{k}"][p] == pytest.approx(gain, abs=1e-12)
        assert found["mrr_pp"][p] == pytest.approx(np.mean([1 / x for x in places]), abs=1e-12)


@pytest.mark.parametrize("m", [1, 3, 7, 12])
def test_expected_metric_equals_the_hypergeometric_law(m):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, size=(5, 16)).astype(np.float32)
    matrix = torch.from_numpy(scores)
    positives = (np.array([0, 0, 1, 2, 3, 4]), np.array([3, 9, 1, 0, 15, 7]))
    task = make_task(16, positives, (np.array([0, 3]), np.array([1, 2])))
    (table,) = rank(task, lambda u: [matrix[u]])
    found = expected_metrics(table, m, KS)
    for p in range(len(table)):
        values = {f"hit_pp@{k}": [] for k in KS} | {f"ndcg_pp@{k}": [] for k in KS} | {"mrr_pp": []}
        for above in range(table.above[p], table.above[p] + table.tied[p] + 1):
            x = np.arange(m + 1)
            law = scipy_stats.hypergeom(int(table.negatives[p]), int(above), m).pmf(x)
            for k in KS:
                values[f"hit_pp@{k}"].append((law * (x < k)).sum())
                values[f"ndcg_pp@{k}"].append((law * (x < k) / np.log2(x + 2)).sum())
            values["mrr_pp"].append((law / (x + 1)).sum())
        for name, parts in values.items():
            assert found[name][p] == pytest.approx(np.mean(parts), abs=1e-12), name


def test_expected_metric_of_few_and_of_many_ties_among_many_negatives():
    rng = np.random.default_rng(2)
    n, m = 2_000, 50
    scores = np.zeros((6, n), dtype=np.float32)  # most of a catalogue at 0, as sparse scores are
    for row, others in zip(scores, (0, 40, 500, 1_900, 1_940, 1_970), strict=True):
        row[rng.choice(n, others, replace=False)] = rng.normal(size=others)
    users = np.repeat(np.arange(6), 30)
    items = np.concatenate([rng.choice(n, 30, replace=False) for _ in range(6)])
    items[-20:] = rng.choice(np.flatnonzero(scores[5] == 0), 20, replace=False)
    items[-30:-20] = rng.choice(np.flatnonzero(scores[5] != 0), 10, replace=False)
    task = make_task(n, (users, items), (np.array([1]), np.array([(items[30] + 1) % n])))
    (table,) = rank(task, lambda u: [torch.from_numpy(scores[u])])
    among = (table.tied + 1) * (m + 1)
    assert (among > table.negatives).any() and (among <= table.negatives).any()
    assert table.tied[among <= table.negatives].max() > 0  # both ways have ties
    found = expected_metrics(table, m, (10,))
    x = np.arange(m + 1)

    @functools.cache
    def reference(above, tied, negatives):  # SciPy takes microseconds for each probability
        every = np.arange(above, above + tied + 1)[:, None]
        return scipy_stats.hypergeom(negatives, every, m).pmf(x).mean(axis=0)

    for p in range(len(table)):
        law = reference(int(table.above[p]), int(table.tied[p]), int(table.negatives[p]))
        # Log-factorials of 2,000 are 1e4, an ulp of which is 2e-12 of a probability; some hundred such terms.
        assert found["hit_pp@10"][p] == pytest.approx(law[:10].sum(), abs=1e-9)
        assert found["ndcg_pp@10"][p] == pytest.approx((law / np.log2(x + 2))[:10].sum(), abs=1e-9)
        assert found["mrr_pp"][p] == pytest.approx((law / (x + 1)).sum(), abs=1e-9)


def test_expected_metric_with_every_negative_is_the_full_metric():
    rng = np.random.default_rng(1)
    matrix = torch.from_numpy(rng.normal(size=(20, 30)).astype(np.float32))
    task = make_task(
        30, (np.arange(20), rng.integers(0, 30, 20)), (np.array([], int), np.array([], int))
    )
    (table,) = rank(task, lambda u: [matrix[u]])
    full = per_positive_metrics(table.above, table.tied, KS)
    for name, values in expected_metrics(table, 29, KS).items():
        np.testing.assert_allclose(values, full[name], atol=1e-12)


def test_expected_metric_refuses_more_than_the_negatives():
    task = make_task(5, (np.array([0]), np.array([1])), (np.array([0]), np.array([0])))
    (table,) = rank(task, lambda u: [torch.zeros(len(u), 5)])
    with pytest.raises(HarnessError, match="has 3; choose m up to that"):
        expected_metrics(table, 4, KS)
    with pytest.raises(HarnessError, match="expected@0"):
        expected_metrics(table, 0, KS)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_not_finite_are_an_error_that_names_the_place(bad):
    matrix = torch.zeros(3, 5)
    matrix[2, 4] = bad
    task = make_task(5, (np.arange(3), np.arange(3)), (np.array([], int), np.array([], int)))
    with pytest.raises(HarnessError, match="user index 2, item index 4"):
        rank(task, lambda u: [matrix[u]])


def test_a_sum_that_overflows_is_not_mistaken_for_a_bad_score():
    matrix = torch.full((2, 5), 3e38)
    task = make_task(5, (np.arange(2), np.arange(2)), (np.array([], int), np.array([], int)))
    (table,) = rank(task, lambda u: [matrix[u]])
    assert table.tied.tolist() == [4, 4]


def test_ranking_does_not_write_into_the_scores_and_blocks_do_not_matter():
    rng = np.random.default_rng(2)
    matrix = torch.from_numpy(rng.normal(size=(50, 40)).astype(np.float32))
    before = matrix.clone()
    users, items = np.nonzero(rng.random((50, 40)) < 0.2)
    test = rng.random(len(users)) < 0.4
    task = make_task(40, (users[test], items[test]), (users[~test], items[~test]))
    (whole,) = rank(task, lambda u: [matrix[u]])
    (pieces,) = rank(task, lambda u: [matrix[u]], block_bytes=1)
    np.testing.assert_array_equal(whole.above, pieces.above)
    np.testing.assert_array_equal(whole.tied, pieces.tied)
    assert torch.equal(matrix, before)


def test_sorting_and_comparing_count_alike():
    """Users on both sides of the number of positives from which rows are sorted, with ties, on several threads."""
    rng = np.random.default_rng(5)
    matrix = torch.from_numpy(rng.integers(0, 50, size=(600, 2000)).astype(np.float32))
    share = np.where(np.arange(600) % 2, 0.002, 0.02)[:, None]
    users, items = np.nonzero(rng.random((600, 2000)) < share)
    held = rng.random((600, 2000)) < 0.05
    held[users, items] = False
    task = make_task(2000, (users, items), np.nonzero(held))
    (table,) = rank(task, lambda u: [matrix[u]])
    sizes = np.diff(task.pos_indptr)
    assert (sizes > 8).any() and (sizes <= 8).any()
    negative = ~held
    negative[users, items] = False
    scores = matrix.numpy()
    own = scores[table.user, table.item][:, None]
    rows = np.where(negative, scores, -np.inf)[table.user]
    np.testing.assert_array_equal(table.above, (rows > own).sum(1))
    np.testing.assert_array_equal(table.tied, (rows == own).sum(1))
    np.testing.assert_array_equal(table.negatives, negative.sum(1)[table.user])


def test_a_family_is_ranked_point_by_point():
    rng = np.random.default_rng(3)
    matrices = [torch.from_numpy(rng.normal(size=(9, 12)).astype(np.float32)) for _ in range(3)]
    task = make_task(12, (np.arange(9), np.arange(9)), (np.array([0]), np.array([5])))
    tables = rank(task, lambda u: (m[u] for m in matrices), block_bytes=100)
    for matrix, table in zip(matrices, tables, strict=True):
        (alone,) = rank(task, lambda u, matrix=matrix: [matrix[u]])
        np.testing.assert_array_equal(alone.above, table.above)


def test_user_means_weight_each_positive_by_one_over_the_users_positives():
    user = np.array([0, 0, 0, 2, 5, 5])
    values = np.array([[1.0], [2.0], [6.0], [4.0], [0.0], [1.0]])
    np.testing.assert_allclose(user_means(user, values)[:, 0], [3.0, 4.0, 0.5])


def test_bootstrap_interval_covers_the_true_mean_at_about_its_level():
    rng = np.random.default_rng(4)
    inside = 0
    for trial in range(200):
        low, high = bootstrap_intervals(rng.exponential(size=(80, 1)), count=300, seed=trial)
        inside += low[0] <= 1.0 <= high[0]
    # 95% nominal; the percentile interval of 80 skewed values undercovers a little. 200 trials: sd 2 points.
    assert 0.86 <= inside / 200 <= 0.99
