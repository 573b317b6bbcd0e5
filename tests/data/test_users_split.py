"""The split of users: who is held out, what of theirs is asked for, and what does not move when it is not asked for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.card import card
from recbole_ext.data.interactions import canonical
from recbole_ext.data.splits import HISTORY, TENTHS, TEST, TRAIN, VALID, make_split
from tests.problems import make_experiment

SPEC = {"split": "users", "split_seed": 1, "split_held_out": 0.2, "fold": 0}


def interactions(lengths, seed=0):
    """A user for each length, items drawn from 12."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{u}", f"i{i}", float(t))
        for u, n in enumerate(lengths)
        for t, i in enumerate(rng.choice(12, n, replace=False))
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def users_of(data, split, *parts):
    return set(split.pairs(data, *parts)[0].tolist())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 12), min_size=10, max_size=45), st.integers(0, 99))
def test_folds_are_disjoint_and_together_everybody(lengths, seed):
    data = canonical("x", interactions(lengths), None, {})
    everybody = set(range(len(lengths)))
    tenths = []
    for fold in range(TENTHS):
        split = make_split(data, {**SPEC, "split_seed": seed, "fold": fold})
        parts = [users_of(data, split, part) for part in (TRAIN, VALID, TEST)]
        assert set.union(*parts) == everybody and sum(map(len, parts)) == len(everybody)
        assert users_of(data, split, HISTORY) == parts[1] | parts[2]
        assert not (split.part[np.isin(data.user, list(parts[0]))] != TRAIN).any()
        tenths.append(parts)
    for fold, (_, valid, _) in enumerate(tenths):
        assert valid == tenths[(fold + 1) % TENTHS][2]
    tested = [test for _, _, test in tenths]
    assert set.union(*tested) == everybody and sum(map(len, tested)) == len(everybody)
    assert max(map(len, tested)) - min(map(len, tested)) <= 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(2, 12), min_size=10, max_size=30),
    st.sampled_from(["0.1", "0.2", "0.25", "0.3", "0.5", "0.9", "1"]),
    st.integers(0, 9),
)
def test_what_is_held_out_is_the_share_rounded_up_and_never_all(lengths, share, fold):
    data = canonical("x", interactions(lengths), None, {})
    split = make_split(data, {**SPEC, "split_held_out": float(share), "fold": fold})
    for user in users_of(data, split, HISTORY):
        part = split.part[data.user == user]
        asked = int(np.isin(part, (VALID, TEST)).sum())
        assert asked == min(math.ceil(Fraction(share) * len(part)), len(part) - 1)
        assert asked + int((part == HISTORY).sum()) == len(part)


def test_the_order_of_rows_changes_nothing_and_the_seed_does():
    rows = interactions([5] * 40)
    one, two = (canonical("x", r, None, {}) for r in (rows, rows.sample(frac=1, random_state=3)))
    assert make_split(one, SPEC).fingerprint == make_split(two, SPEC).fingerprint
    assert (
        make_split(one, SPEC).fingerprint != make_split(one, {**SPEC, "split_seed": 2}).fingerprint
    )


def test_who_is_held_out_depends_on_nobodys_items():
    one, two = (canonical("x", interactions([6] * 40, seed), None, {}) for seed in (0, 1))
    for part in (TRAIN, VALID, TEST):
        assert users_of(one, make_split(one, SPEC), part) == users_of(
            two, make_split(two, SPEC), part
        )


def test_a_held_out_user_with_one_item_is_asked_for_nothing():
    rows = interactions([1, 5] * 30)
    data = canonical("x", rows, None, {})
    split = make_split(data, SPEC)
    length = np.bincount(data.user)
    held_out = users_of(data, split, HISTORY)
    single = {user for user in held_out if length[user] == 1}
    assert single and held_out - single == users_of(data, split, VALID, TEST)


def test_fewer_than_ten_users_are_one_line():
    data = canonical("x", interactions([4] * 9), None, {})
    with pytest.raises(
        HarnessError, match=r"^x: split 'users' puts users in tenths, but there are 9; "
    ):
        make_split(data, SPEC)


def test_what_is_folded_in_is_no_candidate_and_is_counted(tiny_path):
    given = {"split": "users", "fold": 3, "protocols": "full"}
    problem = make_experiment("Pop", "tiny", tiny_path, **given).problem
    data, split = problem.data, problem.split
    for task, part in ((problem.validations[0].task, VALID), (problem.test_task, TEST)):
        assert task.users.tolist() == sorted(users_of(data, split, part))
        for place, user in enumerate(task.users):
            mine = data.user == user
            items = task.exc_items[task.exc_indptr[place] : task.exc_indptr[place + 1]]
            assert items.tolist() == data.item[mine & (split.part == HISTORY)].tolist()
    assert (problem.activity > 0).all() and problem.training_users == 32
    assert problem.popularity.sum() == (split.part == TRAIN).sum()
    sizes = problem.sizes()
    assert sum(sizes[key] for key in ("train", "valid", "test", "history")) == len(data)
    assert "folded in" in "\n".join(card(data, split, "users"))
    plain = make_experiment("Pop", "tiny", tiny_path, protocols="full").problem
    assert "history" not in plain.sizes()
    assert "folded in" not in "\n".join(card(plain.data, plain.split, "ratio"))


def test_only_this_split_is_described_by_its_keys(tiny_path):
    plain, users = (
        make_experiment("EASE", "tiny", tiny_path, **given).describe()["dataset"]
        for given in ({}, {"split": "users", "fold": 3})
    )
    assert plain == {
        "name": "tiny",
        "filters": {"min_rating": None, "min_user": 0, "min_item": 0},
        "split": {"split": "ratio", "split_ratio": [0.8, 0.1, 0.1], "split_seed": 2026},
    }
    assert users["filters"] == plain["filters"]
    assert users["split"] == {
        "split": "users",
        "split_seed": 2026,
        "split_held_out": 0.2,
        "fold": 3,
    }


@pytest.mark.parametrize(
    ("model", "keys", "said"),
    [
        ("BPR", {"split": "users"}, "--split=users: BPR has parameters of users, and none of one that training has not seen; take Pop, RandomPop, EASE"),
        ("ItemKNN", {"split": "users", "knn_method": "user"}, "ItemKNN with knn_method=user keeps who is like whom in training: --knn_method=item"),
        ("EASE", {"split": "users", "protocols": "full,recbole-uni5"}, "recbole-uni5 asks RecBole's own evaluator, which knows no user but those of training"),
        ("EASE", {"fold": 3}, "--fold=3 is one of split=users, not of split=ratio"),
        ("EASE", {"split": "users", "fold": 10}, "--fold=10: must be a whole number from 0 to 9"),
        ("EASE", {"split": "users", "split_held_out": 0}, "--split_held_out=0.0: must be a number above 0 to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_one_line_before_any_work(model, keys, said, tiny_path):
    with pytest.raises(HarnessError) as caught:
        make_experiment(model, "tiny", tiny_path, **keys)
    assert said in str(caught.value) and "\n" not in str(caught.value)
