"""Lists that are scored or answered, against a reference that sorts each of them, and against ranks of every item."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.candidates import draw_lists
from recbole_ext.evaluator.counting import NotFinite
from recbole_ext.evaluator.lists import Answers, rank_lists, rule_measures
from recbole_ext.evaluator.ranks import make_task, rank
from tests.problems import pairs_of, random_mask

USERS, ITEMS, M, DRAWS = 30, 25, 6, 3


@pytest.fixture
def task():
    positives = random_mask(1, USERS, ITEMS, 0.15)
    seen = random_mask(2, USERS, ITEMS, 0.1) & ~positives
    plain = make_task(ITEMS, pairs_of(positives), pairs_of(seen))
    users, items = ([f"{i:02d}" for i in range(n)] for n in (USERS, ITEMS))
    return dataclasses.replace(plain, lists={"uni6": draw_lists(plain, users, items, M, DRAWS, "k")})  # fmt: skip


@pytest.fixture
def scores():
    """With many ties."""
    return np.random.default_rng(3).integers(0, 6, (USERS, ITEMS)).astype(np.float32)


def picking(scores):
    return lambda users, candidates: scores[users[:, None], candidates]


def test_a_model_that_scores_lists_ranks_as_one_that_scores_every_item(task, scores):
    (full,) = rank(task, lambda users: [torch.from_numpy(scores[users])])
    table = rank_lists(task, picking(scores))
    for mine, theirs in zip(table.lists["uni6"], full.lists["uni6"], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(table.user, full.user)
    np.testing.assert_array_equal(table.item, full.item)
    assert table.valid["uni6"].all() and table.depth is None
    ours, others = (summary.per_user(t, "uni6", [1, 3]) for t in (table, full))
    assert ours.keys() == others.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, others[name])


def test_candidates_ascend_and_hold_the_positive_once(task):
    handed = []

    def look(users, candidates):
        handed.append((users, candidates))
        return np.zeros(candidates.shape)

    table = rank_lists(task, look)
    users = np.concatenate([u for u, _ in handed])
    candidates = np.concatenate([c for _, c in handed])
    assert (np.diff(candidates, axis=1) > 0).all() and candidates.shape == (len(table) * DRAWS, M + 1)  # fmt: skip
    positives = np.tile(table.item, DRAWS)
    assert ((candidates == positives[:, None]).sum(axis=1) == 1).all()
    np.testing.assert_array_equal(users, np.tile(table.user, DRAWS))
    # Its place says nothing: it is nowhere always.
    assert len(np.unique((candidates < positives[:, None]).sum(axis=1))) == M + 1


def answering(task, kinds):
    """Of each list in its order: 0 the positive, 1 another candidate, 2 no candidate at all."""
    at = [0]

    def answer(users, candidates):
        here = kinds[at[0] : at[0] + len(users)]
        positives = np.tile(task.pos_items, DRAWS)[at[0] : at[0] + len(users)]
        at[0] += len(users)
        place = (candidates < positives[:, None]).sum(axis=1)
        return Answers(np.choose(here, [place, (place + 1) % (M + 1), np.full(len(place), -1)]))

    return answer


def reference_hits(task, kinds):
    """Mean over all users of the mean over its positives and draws of 'the answer was the positive'."""
    by_user = {}
    users = np.tile(task.users[task.row_of_positive], DRAWS)
    for user, kind in zip(users.tolist(), kinds.tolist(), strict=True):
        by_user.setdefault(user, []).append(float(kind == 0))
    return sum(sum(v) / len(v) for v in by_user.values()) / len(by_user)


def test_an_invalid_answer_is_a_miss_counted_over_all_users(task):
    kinds = np.random.default_rng(5).integers(0, 3, len(task.pos_items) * DRAWS)
    # Users who never get a valid answer count as much as the others.
    mute = np.isin(np.tile(task.users[task.row_of_positive], DRAWS), task.users[:4])
    kinds[mute] = 2
    table = rank_lists(task, answering(task, kinds))
    found = summary.summarise(table, ["uni6"], [1, 3, 10])["uni6"]
    # One answer says nothing of the third place, or of the mean reciprocal rank.
    assert found.keys() == {"hit_pp@1", "ndcg_pp@1", "valid_pp"}
    assert found["hit_pp@1"]["mean"] == pytest.approx(reference_hits(task, kinds), abs=1e-8)
    assert found["valid_pp"]["mean"] == pytest.approx(
        reference_hits(task, np.where(kinds == 2, 1, 0)), abs=1e-8
    )
    assert len(summary.per_user(table, "uni6", [1])["hit_pp@1"]) == len(task.users)
    only_valid = kinds[kinds < 2]
    assert found["hit_pp@1"]["mean"] < (only_valid == 0).mean()  # what is invalid is not left out


def test_scores_that_are_no_numbers_name_their_pair(task, scores):
    scores = scores.astype(np.float64)
    user, item = int(task.users[0]), int(task.pos_items[0])
    scores[user, item] = np.nan
    with pytest.raises(NotFinite) as error:
        rank_lists(task, picking(scores))
    assert (error.value.user, error.value.item) == (user, item)


@pytest.mark.parametrize("place", [-2, M + 1])
def test_an_answer_outside_its_list_is_refused(task, place):
    with pytest.raises(HarnessError, match=f"places from 0 to {M}, or -1"):
        rank_lists(task, lambda users, candidates: Answers(np.full(len(users), place)))


def test_candidates_that_are_named_alike_are_a_tie():
    """Of m + 1 = 4: the positive in column 1; alike {1, 2}, {0, 2}, none."""
    positives = np.zeros((3, 5), bool)
    positives[:, 2] = True
    plain = make_task(5, pairs_of(positives), pairs_of(np.zeros_like(positives)))
    task = dataclasses.replace(plain, lists={"uni3": np.tile(np.array([1, 3, 4], np.int32), (3, 1, 1))})  # fmt: skip
    task.lists["uni3"].sort(axis=2)
    alike = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]], bool)
    right = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
    table = rank_lists(task, lambda users, _: Answers(np.array([1, 0, -1]), alike, {"rule": right}))
    above, tied = table.lists["uni3"]
    assert above[:, 0].tolist() == [0, 2, 3] and tied[:, 0].tolist() == [1, 1, 0]
    assert table.valid["uni3"][:, 0].tolist() == [True, True, False]
    values = summary.per_user(table, "uni3", [1])
    np.testing.assert_allclose(values["hit_pp@1"][:, 0], [0.5, 0, 0])
    assert rule_measures(table) == {
        "uni3 hit1_rule": pytest.approx(1 / 3),
        "uni3 valid_rule": pytest.approx(2 / 3),
        "uni3 hit1_rule_of_valid": pytest.approx(1 / 2),
    }
