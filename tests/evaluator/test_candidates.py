"""Frozen lists: uniform, without replacement, among the negatives only, and independent of row order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.hashing import token_hashes
from recbole_ext.evaluator.candidates import draw_lists, draw_popular_lists, lists_sha256
from recbole_ext.evaluator.ranks import make_task

NAMES = [f"t{i:03d}" for i in range(400)]


def random_task(seed: int, users: int = 12, items: int = 30):
    rng = np.random.default_rng(seed)
    u, i = np.nonzero(rng.random((users, items)) < 0.3)
    test = rng.random(len(u)) < 0.4
    order = rng.permutation(len(u))
    u, i, test = u[order], i[order], test[order]
    return make_task(items, (u[test], i[test]), (u[~test], i[~test])), (u, i, test)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 3))
def test_lists_hold_distinct_negatives_only(seed, m, draws):
    task, (u, i, _) = random_task(seed)
    lists = draw_lists(task, NAMES, NAMES[:30], m, draws, "key")
    assert lists.shape == (len(task.pos_items), draws, m)
    taken = set(zip(u.tolist(), i.tolist(), strict=True))
    for p, row in enumerate(task.row_of_positive):
        for drawn in lists[p]:
            assert len(set(drawn.tolist())) == m
            assert not any((int(task.users[row]), int(item)) in taken for item in drawn)


def test_lists_with_every_negative_are_the_negatives():
    task, _ = random_task(7)
    m = int(task.negatives.min())
    lists = draw_lists(task, NAMES, NAMES[:30], m, 1, "key")
    row = int(task.negatives.argmin())
    first = lists[task.pos_indptr[row], 0]
    taken = set(task.pos_items[task.pos_indptr[row] : task.pos_indptr[row + 1]].tolist())
    taken |= set(task.exc_items[task.exc_indptr[row] : task.exc_indptr[row + 1]].tolist())
    assert set(first.tolist()) == set(range(30)) - taken


def test_lists_do_not_depend_on_row_order_or_on_other_users():
    task, (u, i, test) = random_task(3)
    lists = draw_lists(task, NAMES, NAMES[:30], 4, 2, "key")
    kept = u != task.users[0]
    fewer = make_task(
        30, (u[test & kept][::-1], i[test & kept][::-1]), (u[~test & kept], i[~test & kept])
    )
    again = draw_lists(fewer, NAMES, NAMES[:30], 4, 2, "key")
    np.testing.assert_array_equal(lists[task.pos_indptr[1] :], again)


def test_draws_m_and_key_all_change_the_lists():
    task, _ = random_task(3)
    base = draw_lists(task, NAMES, NAMES[:30], 4, 2, "key")
    assert not np.array_equal(base[:, 0], base[:, 1])
    assert lists_sha256(base) != lists_sha256(draw_lists(task, NAMES, NAMES[:30], 4, 2, "other"))
    np.testing.assert_array_equal(base[:, :1], draw_lists(task, NAMES, NAMES[:30], 4, 1, "key"))


def test_drawing_is_uniform_over_the_negatives():
    """Chi-square over 4,000 draws of 5 of 20 negatives; one fixed key, so the test cannot flicker."""
    task = make_task(
        24, (np.array([0]), np.array([2])), (np.array([0, 0, 0]), np.array([5, 6, 23]))
    )
    counts = np.bincount(draw_lists(task, NAMES, NAMES[:24], 5, 4000, "key").ravel(), minlength=24)
    negatives = np.setdiff1d(np.arange(24), [2, 5, 6, 23])
    assert counts[[2, 5, 6, 23]].sum() == 0
    # Without replacement the counts vary less than multinomial ones: scale by (N - 1) / (N - m).
    statistic = ((counts[negatives] - 1000.0) ** 2 / 1000.0).sum() * 19 / 15
    assert scipy_stats.chi2(19).sf(statistic) > 0.001
    # Pairs too: every unordered pair is equally likely under uniform subsets.
    lists = draw_lists(task, NAMES, NAMES[:24], 2, 8000, "pairs")[0]
    pairs = np.unique(lists[:, 0] * 24 + lists[:, 1], return_counts=True)[1]
    assert len(pairs) == 190
    assert scipy_stats.chisquare(pairs).pvalue > 0.001


def test_too_many_negatives_asked_for_says_what_fits():
    task, _ = random_task(3)
    most = int(task.negatives.min())
    with pytest.raises(HarnessError, match=f"has {most}; choose m up to that"):
        draw_lists(task, NAMES, NAMES[:30], most + 1, 1, "key")


def test_token_hashes_are_pinned():
    assert [hex(x) for x in token_hashes(["196", "ü"], "key")] == [
        "0xd2fecd385c267004",
        "0x89115787ba5663b8",
    ]


def test_a_rank_table_survives_its_file_and_damage_is_named(tmp_path):
    import dataclasses

    import torch

    from recbole_ext.evaluator.ranks import rank
    from recbole_ext.evaluator.ranks_file import read_ranks, write_ranks
    from recbole_ext.evaluator.summary import summarise

    task, _ = random_task(5)
    task = dataclasses.replace(
        task, lists={"uni4": draw_lists(task, NAMES, NAMES[:30], 4, 3, "key")}
    )
    matrix = torch.from_numpy(np.random.default_rng(0).integers(0, 9, (12, 30)).astype(np.float32))
    (table,) = rank(task, lambda users: [matrix[users]])
    path = tmp_path / "ranks.parquet"
    write_ranks(table, NAMES, NAMES[:30], path)
    again, users, _ = read_ranks(path)
    assert [users[u] for u in again.user] == [NAMES[u] for u in table.user]
    protocols = ["full", "uni4", "expected@4"]
    assert summarise(again, protocols, [1, 5]) == summarise(table, protocols, [1, 5])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(HarnessError, match="not a readable rank table"):
        read_ranks(path)


def popular(task, popularity, m, draws=1, key="key"):
    items = task.n_items
    return draw_popular_lists(task, NAMES, NAMES[:items], popularity, m, draws, key)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_popular_lists_hold_distinct_negatives_that_were_trained_on(seed, draws):
    task, (u, i, _) = random_task(seed)
    popularity = np.random.default_rng(seed).integers(0, 50, 30)
    taken = set(zip(u.tolist(), i.tolist(), strict=True))
    left = [
        {j for j in range(30) if popularity[j] and (int(user), j) not in taken}
        for user in task.users
    ]
    m = min(map(len, left))
    if m == 0:
        return
    lists = popular(task, popularity, m, draws)
    for p, row in enumerate(task.row_of_positive):
        for drawn in lists[p]:
            assert len(set(drawn.tolist())) == m and set(drawn.tolist()) <= left[row]
            assert drawn.tolist() == sorted(drawn.tolist())
    np.testing.assert_array_equal(lists, popular(task, popularity, m, draws))


def test_popular_drawing_is_in_proportion():
    """4,000 draws of one item each: chi-square against the popularity of the negatives."""
    task = make_task(6, (np.array([0]), np.array([2])), (np.array([0]), np.array([5])))
    popularity = np.array([1, 2, 40, 3, 4, 90])
    counts = np.bincount(popular(task, popularity, 1, 4000).ravel(), minlength=6)
    assert counts[[2, 5]].sum() == 0
    expected = 4000 * np.array([1, 2, 3, 4]) / 10
    statistic = ((counts[[0, 1, 3, 4]] - expected) ** 2 / expected).sum()
    assert statistic < scipy_stats.chi2(3).ppf(0.999)


def test_the_second_of_two_is_drawn_from_what_is_left():
    """Successive sampling without replacement: P(first i, then j) = p_i p_j / (1 - p_i)."""
    task = make_task(4, (np.array([0]), np.array([3])), (np.array([], int), np.array([], int)))
    popularity = np.array([6, 3, 1, 5])
    lists = popular(task, popularity, 2, 6000)[0]
    p = np.array([0.6, 0.3, 0.1])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        expected = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
        share = ((lists[:, 0] == i) & (lists[:, 1] == j)).mean()
        # 6,000 draws: standard error at most 0.0065
        assert share == pytest.approx(expected, abs=0.025)


def test_popular_lists_do_not_depend_on_other_users_and_too_few_negatives_are_said():
    task, (u, i, test) = random_task(3)
    popularity = np.arange(1, 31)
    lists = popular(task, popularity, 4, 2)
    kept = u != task.users[0]
    fewer = make_task(30, (u[test & kept], i[test & kept]), (u[~test & kept], i[~test & kept]))
    np.testing.assert_array_equal(lists[task.pos_indptr[1] :], popular(fewer, popularity, 4, 2))
    with pytest.raises(HarnessError, match="pop29 needs 29 negatives that occur in training"):
        popular(task, popularity, 29)
