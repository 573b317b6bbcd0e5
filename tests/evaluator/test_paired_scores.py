"""Two models on the same labelled pairs: differences against draws that go user by user."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from recbole_ext.evaluator.paired_scores import drawn_metrics, gap
from recbole_ext.evaluator.pointwise import ScoreTable, summarise_scores
from recbole_ext.evaluator.stats import resamples
from tests.evaluator.test_pointwise import made, slow_auc


def repeated(table, counts):
    """(labels, scores) with a user's rows as often as it was drawn."""
    users = np.unique(table.user)
    rows = [
        row
        for user, count in zip(users, counts.astype(int), strict=True)
        for row in np.flatnonzero(table.user == user).tolist() * count
    ]
    return table.label[rows], table.score[rows]


@pytest.mark.parametrize("seed", range(3))
def test_each_draw_is_the_metric_of_the_users_that_it_drew(seed):
    table = made(seed)
    found = drawn_metrics(table, count=20)
    (counts,) = resamples(len(np.unique(table.user)), 20)
    # Both sum a few hundred products of small whole numbers in float64.
    assert found["auc"][0] == pytest.approx(slow_auc(table.label, table.score), abs=1e-12)
    for draw, own in zip(found["auc"][1:], counts, strict=True):
        assert draw == pytest.approx(slow_auc(*repeated(table, own)), abs=1e-12)


def test_the_draws_are_those_of_the_intervals_on_the_board():
    table = made(1)
    told, found = summarise_scores(table), drawn_metrics(table)
    for key in ("auc", "uauc"):
        low, high = np.quantile(found[key][1:], [0.025, 0.975])
        assert [told[key][name] for name in ("mean", "low", "high")] == pytest.approx(
            [found[key][0], low, high], abs=1e-8
        )  # eight decimals are kept


def test_a_gap_turns_round_with_its_two_sides_and_is_nothing_beside_itself():
    one, other = made(1), made(1)
    other = dataclasses.replace(other, score=np.roll(other.score, 5))
    a, b = (drawn_metrics(table, 200)["auc"] for table in (one, other))
    there, back = gap(a, b), gap(b, a)
    assert there.difference == -back.difference and there.p == back.p
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    same = gap(a, a)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_p_is_small_where_the_interval_leaves_nothing_out_and_never_nothing():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(50), 8)
    label = np.tile([0, 1], 200)
    good = ScoreTable(user, np.tile(np.arange(8), 50), label, label + rng.normal(0, 0.3, 400))
    poor = dataclasses.replace(good, score=rng.normal(0, 1, 400))
    found = gap(*(drawn_metrics(table)["auc"] for table in (good, poor)))
    assert found.low > 0.3 and found.p == pytest.approx(2 / 1001)
    mid = gap(np.append(0.1, np.linspace(-1, 3, 1000)), np.zeros(1001))
    assert mid.p == pytest.approx(2 * 251 / 1001, abs=2 / 1001) and mid.low < 0 < mid.high


def test_draws_without_a_metric_are_left_out():
    values = np.array([0.5, 0.4, np.nan, 0.6])
    assert gap(values, np.zeros(4)).low == pytest.approx(np.quantile([0.4, 0.6], 0.025))
    nothing = gap(np.array([0.5, np.nan]), np.zeros(2))
    assert np.isnan(nothing.low) and nothing.p == 1


def test_log_loss_is_there_for_probabilities_alone():
    table = made(2)
    assert table.probabilities and set(drawn_metrics(table, 2)) == {"auc", "uauc", "log_loss"}
    scores = dataclasses.replace(table, probabilities=False)
    assert set(drawn_metrics(scores, 2)) == {"auc", "uauc"}
