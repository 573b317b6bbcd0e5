"""Which labelled pairs are warm, cold or neither, by hand; and what is said of each part."""

from __future__ import annotations

import numpy as np

from recbole_ext.evaluator.metrics import COLD, SEEN, UNSEEN, WARM
from recbole_ext.evaluator.pointwise import ScoreTable, summarise_scores
from recbole_ext.evaluator.warmth import summarise_parts, warmth

OF_USER, OF_ITEM = np.array([4, 3, 0]), np.array([9, 4, 1, 0])


def test_each_rule_by_hand():
    user = np.array([0, 0, 0, 1, 1, 2, 2])
    item = np.array([0, 1, 2, 0, 3, 0, 3])
    found = warmth(user, item, OF_USER, OF_ITEM)
    wanted = {WARM: "1100000", SEEN: "1111000", COLD: "0000111", UNSEEN: "0000001"}
    assert {name: "".join(map(str, mask.astype(int))) for name, mask in found.items()} == wanted


def test_a_part_is_judged_as_if_its_rows_were_the_only_ones():
    rng = np.random.default_rng(0)
    user, item = np.sort(rng.integers(0, 3, 200)), rng.integers(0, 4, 200)
    table = ScoreTable(user, item, rng.integers(0, 2, 200), rng.random(200), probabilities=True)
    found = summarise_parts(table, OF_USER, OF_ITEM)
    assert list(found) == [WARM, SEEN, COLD, UNSEEN]
    warm = np.isin(user, [0]) & np.isin(item, [0, 1])
    assert found[WARM] == {
        "rows": warm.sum(),
        "users": 1,
        "metrics": summarise_scores(
            ScoreTable(user[warm], item[warm], table.label[warm], table.score[warm], True)
        ),
    }
    assert found[SEEN]["rows"] + found[COLD]["rows"] == 200
    assert "log_loss" in found[COLD]["metrics"]


def test_a_part_of_no_row_or_of_one_class_without_probabilities_is_left_out():
    table = ScoreTable(
        np.array([0, 0, 2]), np.array([0, 1, 0]), np.array([1, 0, 1]), np.arange(3.0)
    )
    assert list(summarise_parts(table, OF_USER, OF_ITEM)) == [WARM, SEEN]
