"""Ranks down to a cut-off: every metric up to it is that of the full ranking, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator import comparisons, counting, summary
from recbole_ext.evaluator.comparisons import pieces_of
from recbole_ext.evaluator.metrics import JOINT
from recbole_ext.evaluator.places import Lists, joint_metrics
from recbole_ext.evaluator.ranks import make_task, rank

LARGE = float(np.finfo(np.float32).max)
NOBODY = np.array([], int), np.array([], int)


@st.composite
def cases(draw):
    """(scores [U, n], kinds [U, n] of '+', 'x' and '-', k): from all tied to hardly any, and as many candidates or none."""
    users, n = draw(st.integers(1, 6)), draw(st.integers(1, 120))
    k = draw(st.sampled_from([1, 2, 5, 8, 20, n, 150]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.integers(0, draw(st.sampled_from([1, 2, 30, 10**6])), (users, n)).astype(float)
    scores = scores.astype(draw(st.sampled_from([np.float32, np.float64])))
    scores[rng.random((users, n)) < draw(st.sampled_from([0.0, 0.01]))] = rng.choice(
        [-LARGE, LARGE]
    )
    chance = draw(st.sampled_from([(0.1, 0.2), (0.02, 0.9), (0.4, 0.1), (0.0, 0.5), (0.8, 0.1)]))
    kinds = rng.choice(list("+x-"), (users, n), p=[*chance, 1 - sum(chance)])
    if draw(st.booleans()):  # a model knows what it was trained on best
        scores = np.where(kinds == "x", np.float32(2e6), scores)
    return scores, kinds, k


def task_of(kinds):
    return make_task(kinds.shape[1], np.nonzero(kinds == "+"), np.nonzero(kinds == "x"))


@settings(max_examples=200, deadline=None)
@given(
    case=cases(),
    cached=st.sampled_from([1, 400, 1 << 16]),
    rows=st.integers(1, 6),
    name=st.sampled_from(list(JOINT)),
    pieces=st.sampled_from([1, 3, 8, 20, 40]),
    worth=st.sampled_from([0, 2]),
)
def test_metrics_up_to_the_depth_are_those_of_the_full_ranking(
    case, cached, rows, name, pieces, worth
):
    scores, kinds, k = case
    task = task_of(kinds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_CACHED", cached)
        # Short rows would be counted whole.
        patch.setattr(counting, "pieces_of", lambda n, k: pieces if k <= pieces <= n else None)
        patch.setattr(comparisons, "_WORTH", worth)

        def ranked(depth, top=0):
            # Several matrices of one block share what is made once: the second has nothing left of the first.
            both = lambda u: (torch.from_numpy(s) for s in (-scores[u], scores[u]))  # noqa: E731
            return rank(task, both, rows * 4 * task.n_items, top, depth)

        full, found = ranked(None), ranked(k, top=3)
        values = summary.validated(task, lambda u: [torch.from_numpy(scores[u])], f"{name}@{k}")
    if not len(task.users):
        assert found == [] and values == []
        return
    for whole, cut in zip(full, found, strict=True):
        near = whole.above < k
        np.testing.assert_array_equal(cut.above[near], whole.above[near])
        np.testing.assert_array_equal(cut.tied[near], whole.tied[near])
        assert (cut.above[~near] >= k).all()
        for at in {1, -(-k // 2), k}:
            one = JOINT[name].per_user
            np.testing.assert_array_equal(one(Lists(cut, k), at), one(Lists(whole, 10**6), at))
    assert values == [summary.mean_of(full[1], f"{name}@{k}")]


@settings(max_examples=100, deadline=None)
@given(case=cases(), paired=st.sampled_from([1, 300, 1 << 24]))
def test_a_gpu_counts_the_same(case, paired):
    """Its way, on this machine's processor."""
    scores, kinds, k = case
    task, matrix = task_of(kinds), torch.from_numpy(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_PAIRED", paired)
        patch.setattr(counting.Block, "_count_on_cpu", counting.count_on_gpu)
        found = rank(task, lambda u: [matrix[u]], depth=k)
    full = rank(task, lambda u: [matrix[u]])
    for whole, cut in zip(full, found, strict=True):
        near = whole.above < k
        np.testing.assert_array_equal(cut.above[near], whole.above[near])
        np.testing.assert_array_equal(cut.tied[near], whole.tied[near])
        assert (cut.above[~near] >= k).all()


def test_a_row_is_cut_where_it_is_long_against_the_depth():
    """Into pieces that are long enough to spare work, and more than places."""
    found = {(n, k): pieces_of(n, k) for n in (50, 1_000, 40_000) for k in (1, 20, 1_000, 20_000)}
    assert found[50, 1] is found[1_000, 1_000] is found[40_000, 20_000] is None
    assert found[1_000, 20] == 128 and found[40_000, 20] == 800 and found[40_000, 1_000] == 2_000


def test_only_thresholds_that_matter_are_compared_with_more_than_a_bound(monkeypatch):
    """What makes it cheap: no row is sorted, and a positive below the depth is not compared with its row."""

    def never(*_):
        raise AssertionError("a whole row was counted")

    monkeypatch.setattr(comparisons, "above_and_tied", never)
    scores = np.random.default_rng(0).permutation(3_000).astype(np.float32)[None]
    positives = np.argsort(-scores[0])[[3, 40, 2_000]]
    task = make_task(3_000, (np.zeros(3, int), positives), NOBODY)
    (table,) = rank(task, lambda u: [torch.from_numpy(scores)], depth=20)
    assert sorted(table.above.tolist()) == [3, 20, 20]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", "+x-")
def test_a_bad_score_is_refused_wherever_it_is(bad, kind):
    kinds = np.full((3, 100), "-")
    kinds[:, 0], kinds[:, 1] = "+", "x"
    scores = torch.ones(3, 100)
    scores[1, int(np.flatnonzero(kinds[1] == kind)[-1])] = bad
    with pytest.raises(HarnessError, match=r"user index 1, item index .*: 1 scores of this block"):
        rank(task_of(kinds), lambda u: [scores], depth=5)


def test_large_scores_whose_sum_is_infinite_are_no_bad_ones():
    scores = torch.full((1, 100), LARGE)
    scores[0, 7] = -LARGE
    task = make_task(100, (np.array([0]), np.array([7])), NOBODY)
    (table,) = rank(task, lambda u: [scores], depth=5)
    assert table.above.item() >= 5


def test_nothing_below_the_depth_is_read():
    task = make_task(100, (np.array([0]), np.array([7])), NOBODY)
    (table,) = rank(task, lambda u: [torch.zeros(1, 100)], depth=5)
    with pytest.raises(ValueError, match="counted down to 5, not 6"):
        joint_metrics(table, [2, 6])
    with pytest.raises(ValueError, match="counted down to 5 has no ranks below"):
        summary.per_user(table, "full", [5])
