"""Who is turned towards what: by hand, and against a loop over tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.sae.steering_task import steering_task
from tests.sae.steering_toys import HELD_OUT, HISTORY, TAGS, USERS, toy_task


def test_the_desired_tag_is_what_held_out_items_have_more_of_than_input_items():
    task = toy_task()
    # 0: a 0 - 1, b 1 - 0. 1: a 2 - 0, b 0 - 2. 2: one of each, the lower index. 3: item 5 has no tag. 4: nothing held out.
    assert task.users.tolist() == [0, 1, 2]
    assert task.desired.tolist() == [1, 0, 0]
    assert task.left_out == 1 and task.tag_from == "targets"
    assert task.personal.pos_items.tolist() == [2, 5, 0, 1, 4]
    # All items with the tag that are not in the history.
    assert task.segment.pos_items.tolist() == [2, 3, 4, 0, 1, 4, 0, 1, 4]
    assert task.segment.users.tolist() == [0, 1, 2]
    assert task.history(np.array([2, 0])).nonzero()[1].tolist() == [5, 0]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_desired_tag_is_that_of_a_loop_over_tags(seed):
    rng = np.random.default_rng(seed)
    tags = rng.random((15, 4)) < 0.5
    tags[0] = [True, False, False, False]
    kinds = rng.choice(list("+x-"), (5, 15), p=[0.3, 0.2, 0.5])
    kinds[0] = ["+", *"-" * 14]
    wanted = {}
    for user, row in enumerate(kinds):
        gains = [int(tags[row == "+", t].sum()) - int(tags[row == "x", t].sum()) for t in range(4)]
        if max(gains) > 0:
            wanted[user] = gains.index(max(gains))
    task = steering_task(tags, np.nonzero(kinds == "+"), np.nonzero(kinds == "x"), list("uvwxy"), list("abcd"), k=3)  # fmt: skip
    assert dict(zip(task.users.tolist(), task.desired.tolist(), strict=True)) == wanted
    assert task.left_out == (kinds == "+").any(axis=1).sum() - len(wanted)


def test_a_held_out_item_of_the_history_counts_nowhere():
    extra = (np.append(HELD_OUT[0], [3, 0]), np.append(HELD_OUT[1], [0, 0]))
    again = toy_task(held_out=extra)
    assert again.desired.tolist() == [1, 0, 0] and again.left_out == 1
    assert again.personal.pos_items.tolist() == toy_task().personal.pos_items.tolist()


def test_a_tag_that_is_not_usable_is_nobodys():
    task = toy_task(usable=np.array([False, True]))
    # User 1 wants nothing of b, user 2 takes b in place of a.
    assert task.users.tolist() == [0, 2] and task.desired.tolist() == [1, 1]
    assert task.left_out == 2


def test_random_tags_are_drawn_among_those_of_candidates_and_depend_on_nothing_else():
    rng = np.random.default_rng(2)
    tags = rng.random((30, 6)) < 0.3
    tags[:, 5] = False
    tags[0] = [True, False, False, False, False, False]
    users = [f"user {i}" for i in range(40)]
    kinds = rng.choice(list("+x-"), (40, 30), p=[0.2, 0.3, 0.5])
    kinds[:, 0] = "+"
    # User 7 has every item of tag 1 in its history.
    kinds[7, tags[:, 1]] = "x"

    def desired(order, names=tuple("abcdef"), columns=slice(None), held="+"):
        of = kinds[order]
        task = steering_task(
            tags[:, columns], np.nonzero(of == held), np.nonzero(of == "x"), [users[i] for i in order],
            names, "random", k=2,
        )  # fmt: skip
        return dict(zip([users[order[u]] for u in task.users], task.desired.tolist(), strict=True))

    order = list(range(40))
    found = desired(order)
    assert len(found) == 40 and 5 not in found.values() and found["user 7"] != 1
    assert set(found.values()) == {0, 1, 2, 3, 4}
    assert desired(order[::-1]) == found == desired(order)
    few = desired(order[5:9])
    assert few == {user: found[user] for user in few}
    # Without tag 4 those who have another keep it.
    fewer = desired(order, "abcdf", [0, 1, 2, 3, 5])
    assert all(fewer[user] == tag for user, tag in found.items() if tag < 4)
    # Another held-out part moves no draw.
    assert desired(order, held="-") == found


def test_a_task_that_cannot_be_says_so_in_one_line():
    cases = [
        ({"tag_from": "target"}, "tag_from=target must be targets or random, did you mean targets?"),
        ({"held_out": (np.array([3]), np.array([5]))}, "of 1 users with held-out items none has a tag"),
        ({"held_out": (np.zeros(0, int), np.zeros(0, int))}, "of 0 users with held-out items none"),
        ({"usable": np.array([False, False]), "tag_from": "random"}, "none has a tag"),
        ({"k": 6}, "user index 1 has 5 candidates, fewer than the 6 of a list"),
    ]  # fmt: skip
    for changes, says in cases:
        with pytest.raises(HarnessError) as refused:
            toy_task(**changes)
        assert says in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(HarnessError, match="1 names for 2 tags"):
        steering_task(TAGS, HELD_OUT, HISTORY, USERS, ["a"])
