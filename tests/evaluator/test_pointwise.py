"""AUC, UAUC and log loss against references that go pair by pair, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as theirs

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.counting import NotFinite
from recbole_ext.evaluator.pointwise import (
    LabelledPairs,
    LabelledScores,
    ScoreTable,
    picked,
    scored,
    scores_per_user,
    summarise_scores,
    value_of,
)
from recbole_ext.evaluator.stats import resamples


def slow_auc(label, score):
    """Of all pairs of a one and a zero, the share in which the one scores higher; equal ones count half."""
    won = [
        (a > b) + (a == b) / 2
        for a, one in zip(score, label, strict=True)
        if one
        for b, other in zip(score, label, strict=True)
        if not other
    ]
    return sum(won) / len(won) if won else None


def slow_uauc(table):
    """(The unweighted mean of the users' own AUC, how many have one.)"""
    own = [
        slow_auc(table.label[table.user == user], table.score[table.user == user])
        for user in sorted(set(table.user.tolist()))
    ]
    kept = [value for value in own if value is not None]
    return sum(kept) / len(kept), len(kept)


def slow_log_loss(table):
    return -sum(
        math.log(p if one else 1 - p) for p, one in zip(table.score, table.label, strict=True)
    ) / len(table)


def made(seed, users=12, rows=90, levels=7):
    """Scores with ties; users 0 and 1 have one label only, user 2 a single pair."""
    rng = np.random.default_rng(seed)
    user = np.sort(np.append(rng.integers(3, users, rows), [0, 0, 0, 1, 1, 2]))
    label = rng.integers(0, 2, len(user))
    label[user == 0], label[user == 1] = 1, 0
    score = (rng.integers(0, levels, len(user)) + 0.5) / levels
    return ScoreTable(user, np.arange(len(user)), label, score, probabilities=True)


@pytest.mark.parametrize("seed", range(5))
def test_values_are_those_of_the_references_and_of_scikit_learn(seed):
    table = made(seed)
    found = summarise_scores(table)
    assert found["auc"]["mean"] == pytest.approx(slow_auc(table.label, table.score), abs=1e-8)
    assert found["auc"]["mean"] == pytest.approx(
        theirs.roc_auc_score(table.label, table.score), abs=1e-8
    )
    mean, kept = slow_uauc(table)
    assert found["uauc"]["mean"] == pytest.approx(mean, abs=1e-8)
    assert found["uauc"]["users"] == kept <= 9 and "users" not in found["auc"]
    assert found["log_loss"]["mean"] == pytest.approx(slow_log_loss(table), abs=1e-8)
    assert found["log_loss"]["mean"] == pytest.approx(
        theirs.log_loss(table.label, table.score), abs=1e-8
    )
    assert value_of(table, "uauc") == pytest.approx(mean)
    own = scores_per_user(table)["uauc"]
    assert np.isnan(own[:3]).all() and np.nanmean(own) == pytest.approx(mean)


def test_an_interval_is_that_of_users_drawn_with_replacement():
    """Each resample again by the slow references, on rows that are really repeated."""
    table = made(9, users=8, rows=40)
    scores = LabelledScores(table)
    drawn = np.concatenate(list(resamples(len(scores.users), 30)))
    fast = scores.auc(drawn), scores.mean_over_users(scores.auc_of_users, drawn), scores.log_loss(drawn)  # fmt: skip
    place = np.searchsorted(scores.users, table.user)
    for r, counts in enumerate(drawn.astype(int)):
        rows = np.repeat(np.arange(len(table)), counts[place])
        assert fast[0][r] == pytest.approx(slow_auc(table.label[rows], table.score[rows]))
        again = ScoreTable(table.user[rows], rows, table.label[rows], table.score[rows])
        assert fast[2][r] == pytest.approx(slow_log_loss(again))
        own = scores.auc_of_users
        kept = [u for u in range(len(own)) for _ in range(counts[u]) if not np.isnan(own[u])]
        assert fast[1][r] == pytest.approx(np.mean(own[kept]))
    found = summarise_scores(table)["auc"]
    every = scores.auc(np.concatenate(list(resamples(len(scores.users)))))
    assert found["low"] == pytest.approx(np.quantile(every, 0.025), abs=1e-8)
    assert found["low"] < found["mean"] < found["high"]


def test_where_no_user_has_both_labels_there_is_no_uauc():
    table = ScoreTable(*(np.array(x) for x in ([0, 0, 1], [0, 1, 2], [1, 1, 0], [0.9, 0.8, 0.1])))
    assert summarise_scores(table).keys() == {"auc"}


def test_scores_that_are_no_probabilities_have_no_log_loss():
    table = made(0)
    plain = ScoreTable(table.user, table.item, table.label, table.score)
    assert summarise_scores(plain).keys() == {"auc", "uauc"}
    pairs = LabelledPairs(table.user, table.item, table.label)
    with pytest.raises(HarnessError, match=r"probabilities, but they go from .* to 3"):
        scored(pairs, table.score * 0 + 3.0, probabilities=True)
    with pytest.raises(NotFinite):
        scored(pairs, np.where(table.item == 4, np.inf, table.score))


def test_scores_of_every_item_are_picked_for_the_pairs():
    rng = np.random.default_rng(1)
    every = rng.normal(size=(700, 9))
    pairs = LabelledPairs(rng.integers(0, 700, 2000), rng.integers(0, 9, 2000), np.zeros(2000, int))
    found = picked(pairs, lambda users: torch.from_numpy(every[users]))
    np.testing.assert_array_equal(found, every[pairs.user, pairs.item])


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (None, "the data has no labels"),
        ([1.0, 1.0], "the 2 labels of the test part are all the same"),
        ([], "the 0 labels of the test part are all the same"),
        ([0.0, np.nan], "its labels are not 0 or 1, e.g. nan"),
        ([0.0, 4.0], "its labels are not 0 or 1, e.g. 4"),
    ],
)
def test_rows_that_labels_do_not_tell_apart_say_why(label, why):
    user = np.arange(2 if label is None else len(label))
    label = None if label is None else np.array(label)
    assert LabelledPairs.of(user, user, label, "test") == why
