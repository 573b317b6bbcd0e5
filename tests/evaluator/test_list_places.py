"""Hits by the place at which a model was told of the right item, against a loop over lists, and through a file."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.candidates import draw_lists
from recbole_ext.evaluator.list_places import by_place, wilson
from recbole_ext.evaluator.lists import Answers, Scores, rank_lists
from recbole_ext.evaluator.ranks import make_task
from recbole_ext.evaluator.ranks_file import read_lists, write_lists
from tests.problems import pairs_of, random_mask

USERS, ITEMS, M, DRAWS = 40, 25, 4, 2
TOKENS = [[f"{i:02d}" for i in range(n)] for n in (USERS, ITEMS)]


@pytest.fixture
def task():
    positives = random_mask(1, USERS, ITEMS, 0.15)
    seen = random_mask(2, USERS, ITEMS, 0.1) & ~positives
    plain = make_task(ITEMS, pairs_of(positives), pairs_of(seen))
    return dataclasses.replace(plain, lists={"uni4": draw_lists(plain, *TOKENS, M, DRAWS, "k")})


class Reader:
    """Tells candidates in an order of its own, and answers with what it read at a place, or with nothing; keeps all in lists."""

    def __init__(self, task, choose, scored=False):
        self.choose, self.scored, self.seen = choose, scored, []
        self.positive = np.tile(task.pos_items, DRAWS)
        self.generator = np.random.default_rng(8)

    def __call__(self, users, candidates):
        order = np.stack([self.generator.permutation(M + 1) for _ in users])
        named_at, place, alike, scores = [], [], [], []
        for row, own in zip(candidates, order, strict=True):
            at = [list(own).index(column) + 1 for column in range(M + 1)]
            right = self.positive[len(self.seen)]
            said = self.choose(at[list(row).index(right)], len(self.seen))
            self.seen.append((at[list(row).index(right)], said))
            named_at.append(at)
            place.append(int(own[said - 1]) if said else -1)
            alike.append([a == said for a in at])
            scores.append([1.0 if a == said else 0.0 for a in at])
        if self.scored:
            return Scores(np.array(scores), np.array(named_at))
        return Answers(np.array(place), np.array(alike), named_at=np.array(named_at))


def at_random(right, number):
    return [0, right, 1 + number % (M + 1)][number % 3]


def test_hits_of_each_place_are_those_of_a_loop_over_lists(task):
    reader = Reader(task, at_random)
    found = by_place(rank_lists(task, reader), "uni4", resamples=50)
    for one in found.places:
        here = [said == right for right, said in reader.seen if right == one.place]
        assert one.lists == len(here) and one.hit == pytest.approx(sum(here) / len(here))
        assert one.low < one.hit < one.high
        chosen = [said == one.place for _, said in reader.seen]
        assert one.chosen == pytest.approx(sum(chosen) / len(chosen))
    assert sum(one.lists for one in found.places) == len(reader.seen)
    assert found.hit == pytest.approx(np.mean([right == said for right, said in reader.seen]))


def test_a_model_that_always_takes_the_second_is_found_out_and_a_fair_one_is_not(task):
    second = by_place(rank_lists(task, Reader(task, lambda right, _: 2)), "uni4", resamples=200)
    assert [one.hit for one in second.places] == [0, 1, 0, 0, 0] and second.p == 1 / 201
    assert [one.chosen for one in second.places] == [0, 1, 0, 0, 0]
    fair = Reader(task, lambda right, number: right if number % 2 else right % (M + 1) + 1)
    assert by_place(rank_lists(task, fair), "uni4", resamples=200).p > 0.05


def test_scores_are_chosen_from_by_the_largest(task):
    def always(right, number):
        return right if number % 4 else right % (M + 1) + 1

    scores, answers = (rank_lists(task, Reader(task, always, scored)) for scored in (True, False))
    for mine, other in zip(scores.placed["uni4"], answers.placed["uni4"], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert scores.depth is None and answers.depth == 1


def test_places_and_rules_survive_the_file_and_older_files_have_none(task, tmp_path):
    rng = np.random.default_rng(4)

    def scorer(users, candidates):
        answers = Reader(task, at_random)(users, candidates)
        return dataclasses.replace(answers, rules={"part": rng.random(candidates.shape) < 0.5})

    table = rank_lists(task, scorer)
    write_lists(table, *TOKENS, tmp_path / "lists.parquet")
    read, _, _ = read_lists(tmp_path / "lists.parquet")
    for mine, other in [
        *zip(table.placed["uni4"], read.placed["uni4"], strict=True),
        *zip(table.rules["uni4"]["part"], read.rules["uni4"]["part"], strict=True),
    ]:
        np.testing.assert_array_equal(mine, other)
    write_lists(dataclasses.replace(table, placed={}, rules={}), *TOKENS, tmp_path / "old.parquet")
    old, _, _ = read_lists(tmp_path / "old.parquet")
    assert old.placed == {} and old.rules == {}
    with pytest.raises(HarnessError, match=r"did not keep where its candidates stood.* --force"):
        by_place(old, "uni4")


def test_an_interval_of_a_share_is_wilsons():
    low, high = wilson(0.5, 10)
    assert (low, high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert wilson(0.0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4)) and wilson(0.3, 0) == (0, 1)
