"""Counted ranks against loops over the definition, whichever way a row is counted."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator import best, comparisons, counting, ranks
from recbole_ext.evaluator.ranks import RankTask, make_task, rank

WAYS = {"compared": lambda n: n, "sorted": lambda n: 0, "as measured": comparisons.sorted_from}
NEIGHBOURS = {
    kind: [x for v in (-3e38, -1.0, 0.0, 1e-40, 1.0, 7.5, 3e38) for x in (v, np.nextafter(kind(v), kind(np.inf)))]
    + [-0.0]
    for kind in (np.float32, np.float64)
}  # fmt: skip
"""Values that a comparison in another type, or one that flushes small numbers to zero, would confuse."""


@st.composite
def cases(draw):
    """(scores [U, n], kinds [U, n] of '+', 'x' and '-'): many ties, users without a positive, full histories."""
    users, items = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    values = NEIGHBOURS[draw(st.sampled_from([np.float32, np.float64]))]
    few = draw(st.lists(st.sampled_from(values), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.choice(np.array(few), (users, items))
    kinds = rng.choice(list("+x-"), (users, items), p=rng.dirichlet([1, 1, 1]))
    return scores, kinds


def listed(task: RankTask, draws: int = 2, m: int = 3) -> RankTask:
    """With lists of any items: what is in a list is not this module's business."""
    shape = (len(task.pos_items), draws, m)
    drawn = np.random.default_rng(0).integers(0, task.n_items, shape, dtype=np.int32)
    return RankTask(**{**vars(task), "lists": {"uni3": drawn}})


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=100, deadline=None)
@given(case=cases(), cached=st.sampled_from([1, 20, 1 << 16]), rows=st.integers(1, 6))
def test_counts_are_those_of_loops_over_the_definition(way, case, cached, rows):
    scores, kinds = case
    task = listed(make_task(scores.shape[1], np.nonzero(kinds == "+"), np.nonzero(kinds == "x")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparisons, "sorted_from", WAYS[way])
        patch.setattr(counting, "_CACHED", cached)
        patch.setattr(counting, "_THREADED_FROM", 1)
        tables = rank(task, lambda u: [torch.from_numpy(scores[u])], rows * 4 * task.n_items, top=3)
    if not len(task.users):
        assert tables == []
        return
    (table,) = tables
    shortest = min((kinds[u] != "x").sum() for u in task.users)
    assert (0 if table.top is None else table.top.shape[1]) == min(3, shortest)
    for p, (u, i) in enumerate(zip(table.user, table.item, strict=True)):
        own, others = scores[u, i], [scores[u, j] for j in np.flatnonzero(kinds[u] == "-")]
        assert table.above[p] == sum(x > own for x in others)
        assert table.tied[p] == sum(x == own for x in others)
        assert table.negatives[p] == len(others)
        above, tied = table.lists["uni3"]
        for d, drawn in enumerate(task.lists["uni3"][p]):
            assert above[p, d] == sum(scores[u, j] > own for j in drawn)
            assert tied[p, d] == sum(scores[u, j] == own for j in drawn)
    for row, u in enumerate(task.users):
        candidates = sorted(np.flatnonzero(kinds[u] != "x"), key=lambda j: (-scores[u, j], j))
        assert table.top is None or table.top[row].tolist() == candidates[: table.top.shape[1]]


def test_the_cheaper_way_depends_on_the_length_of_a_row():
    """Few positives are compared and many sorted; the longer the row, the more are few."""
    assert [comparisons.sorted_from(n) for n in (1, 1_700, 12_000, 50_000)] == [0, 5, 13, 27]


def test_a_block_of_scores_is_let_go_before_the_next_is_asked_for():
    held: list[weakref.ref[torch.Tensor]] = []

    def scores(users):
        assert all(block() is None for block in held)
        matrix = torch.zeros(len(users), 5)
        held.append(weakref.ref(matrix))
        return [matrix]

    task = make_task(5, (np.arange(3), np.arange(3)), (np.array([], int), np.array([], int)))
    rank(task, scores, block_bytes=1)
    assert len(held) == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_the_first_of_several_bad_scores_is_named_whichever_thread_meets_one(bad, monkeypatch):
    monkeypatch.setattr(counting, "_THREADED_FROM", 1)
    matrix = torch.zeros(400, 500)
    matrix[120, 7] = matrix[399, 3] = bad
    task = make_task(500, (np.arange(400), np.arange(400)), (np.array([], int), np.array([], int)))
    with pytest.raises(HarnessError, match=r"user index 120, item index 7 as .*: 2 scores of this"):
        rank(task, lambda u: [matrix[u]])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(24, 300), st.integers(1, 40))
def test_the_best_of_a_long_row_are_those_of_a_stable_sort(seed, top, n, values):
    rng = np.random.default_rng(seed)
    row = rng.integers(0, values, n).astype(np.float32)
    row[rng.random(n) < rng.random()] = -np.inf  # no candidates
    row[rng.permutation(n)[:top]] = rng.integers(0, values, top)
    if seed % 2:
        row.sort()  # all of the best ones in one piece
    expected = np.argsort(-row, kind="stable")[:top]
    np.testing.assert_array_equal(best._largest_of_many(row, top), expected)


def test_memory_of_a_block_is_bounded_for_any_number_of_items():
    """32 MiB; from 262,144 items on 32 users, up to 128 MiB; and one user always."""
    expected = {10: 838_860, 10_000: 838, 262_144: 32, 10**6: 32, 2 * 10**6: 16, 10**8: 1}
    for n_items, rows in expected.items():
        size = max(1, ranks._block_bytes(n_items) // (4 * n_items))
        assert size == rows and (size == 1 or size * 4 * n_items <= 128 << 20)
