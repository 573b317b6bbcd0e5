"""Steering's measures by hand and against loops over their definitions, and their means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.sae import steering_evaluation
from recbole_ext.sae.steering_evaluation import ALPHAS, evaluated, measured
from recbole_ext.sae.steering_systems import Steered, Unsteered
from recbole_ext.sae.steering_task import steering_task
from tests.sae.steering_toys import NEURONS, evaluate_toy, problems, toy, toy_task

SECOND = 1 / np.log2(3)
"""What a hit in the second place gains; in the first it is 1, in the third 1/2."""


def test_measures_are_those_worked_out_by_hand():
    found = measured(toy_task(), Steered("steered", toy(), NEURONS), (0.0, 0.5))
    # User 0 sees 6 5 4, then 2 3 4. User 1 sees 4 6 and one of the tied 0, 1 and 5, then 4 0 1. User 2 sees 4 0 1, then 0 4 1.
    two, three = 1 + SECOND, 1.5 + SECOND
    wanted = {
        "personal_recall": [[1 / 2, 1 / 2], [(2 / 3) / 2, 1], [1, 1]],
        "personal_ndcg": [[SECOND / two, 1 / two], [(2 / 3) / 2 / two, (SECOND + 0.5) / two], [1, SECOND]],
        "segment_recall": [[1 / 3, 1], [(1 + 2 / 3) / 3, 1], [1, 1]],
        "segment_ndcg": [[0.5 / three, 1], [(1 + (2 / 3) / 2) / three, 1], [1, 1]],
        # Without 5 user 0's 2 is fourth, then first; the others want all that is held out.
        "wanted_ndcg": [[0, 1], [(2 / 3) / 2 / two, (SECOND + 0.5) / two], [1, SECOND]],
        "tagged": [[1 / 3, 1], [2 / 3, 1], [1, 1]],
        "overlap": [[1, 1 / 3], [1, 2 / 3], [1, 1]],
        "distinct_tags": [[2, 2], [2, 2], [2, 2]],
    }  # fmt: skip
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)


def looped(task, scores: np.ndarray, first: np.ndarray) -> list[dict[str, float]]:
    """Every measure of every user by sorting its candidates; scores [U, n] at a strength and at 0."""
    out = []
    for row in range(len(task.users)):
        held, segment = (
            set(t.pos_items[t.pos_indptr[row] : t.pos_indptr[row + 1]].tolist())
            for t in (task.personal, task.segment)
        )
        seen = set(np.flatnonzero(task.history(task.users[row : row + 1])[0]).tolist())
        has = task.tags[:, task.desired[row]]

        def order(values, without=frozenset(), seen=seen):
            return sorted(set(range(len(values))) - seen - without, key=lambda i: -values[i])[: task.k]  # fmt: skip

        def ndcg(places, hits):
            gained = sum(1 / np.log2(p + 2) for p, item in enumerate(places) if item in hits)
            return gained / sum(1 / np.log2(p + 2) for p in range(min(task.k, len(hits))))

        top, wanted = order(scores[row]), {item for item in held if has[item]}
        out.append(
            {
                "personal_recall": len(held & set(top)) / min(task.k, len(held)),
                "personal_ndcg": ndcg(top, held),
                "segment_recall": len(segment & set(top)) / min(task.k, len(segment)),
                "segment_ndcg": ndcg(top, segment),
                "wanted_ndcg": ndcg(order(scores[row], held - wanted), wanted)
                if wanted
                else np.nan,
                "tagged": np.mean([has[item] for item in top]),
                "overlap": len(set(top) & set(order(first[row]))) / task.k,
                "distinct_tags": task.tags[top].any(axis=0).sum(),
            }
        )
    return out


@settings(max_examples=60, deadline=None)
@given(case=problems(), rows=st.integers(1, 4))
def test_measures_are_those_of_loops_over_their_definitions(case, rows):
    task, model, neurons = case
    system = Steered("steered", model, neurons)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steering_evaluation, "_BLOCK_BYTES", rows * 4 * task.personal.n_items)
        found = measured(task, system, (0.0, 0.3, 1.0))
    matrices = [m.numpy() for m in system.at(task.users, task.desired, (0.0, 0.3, 1.0))]
    for i, matrix in enumerate(matrices):
        for row, values in enumerate(looped(task, matrix, matrices[0])):
            for name, value in values.items():
                np.testing.assert_allclose(found[name][row, i], value, rtol=1e-12, err_msg=name)


def test_points_hold_means_intervals_and_differences_to_strength_0():
    table = evaluate_toy()
    assert list(table.systems) == ["without the autoencoder", "map, 1", "random, 1"]
    assert [p.alpha for p in table.systems["without the autoencoder"]] == [0.0]
    points = table.systems["map, 1"]
    assert [p.alpha for p in points] == list(ALPHAS)
    assert (table.users, table.left_out, table.k, table.tag_from) == (3, 1, 3, "targets")
    values = measured(toy_task(), Steered("s", toy(), NEURONS), ALPHAS)
    for i, point in enumerate(points):
        for name, value in point.values.items():
            column, start = values[name][:, i], values[name][:, 0]
            assert value.mean == pytest.approx(column.mean()) and value.users == 3
            assert value.low <= value.mean + 1e-12 and value.high >= value.mean - 1e-12
            # Three users: the interval lies within their values.
            assert column.min() - 1e-12 <= value.low and value.high <= column.max() + 1e-12
            if i == 0:
                assert value.change is None
            else:
                assert value.change.difference == pytest.approx((column - start).mean())
        assert point.lift == pytest.approx((values["tagged"][:, i] - values["tagged"][:, 0]).mean())


def test_a_measure_that_some_users_lack_is_the_mean_of_the_others():
    tags = np.array([[1, 0], [0, 1], [0, 1], [1, 1], [0, 0]], dtype=bool)
    held, seen = (np.array([0, 1]), np.array([0, 4])), (np.array([0, 1]), np.array([4, 0]))
    task = steering_task(tags, held, seen, ["x", "y"], ["a", "b"], "random", np.array([True, False]), k=2)  # fmt: skip
    scores = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]] * 2)
    (point,) = evaluated(task, [Unsteered("flat", lambda users: scores[: len(users)])]).points
    # User 0 wants item 0, which is first; user 1 holds nothing of tag a out.
    assert point.values["wanted_ndcg"].users == 1 and point.values["wanted_ndcg"].mean == 1.0
    assert point.values["personal_ndcg"].users == 2 and point.values["personal_ndcg"].mean == 0.5
    only = steering_task(tags, (held[0][1:], held[1][1:]), seen, ["x", "y"], ["a", "b"], "random", np.array([True, False]), k=2)  # fmt: skip
    (point,) = evaluated(only, [Unsteered("flat", lambda users: scores[: len(users)])]).points
    assert "wanted_ndcg" not in point.values


def test_a_curve_of_strengths_can_be_chosen_and_must_ascend_from_0():
    system = Steered("s", toy(), NEURONS, "add")
    points = evaluated(toy_task(), [system], (0, 3, 100)).points
    assert [p.alpha for p in points] == [0.0, 3.0, 100.0]
    for alphas in ((), (0.1, 0.2), (0.0, 0.2, 0.2), (0.0, 0.3, 0.1)):
        with pytest.raises(HarnessError, match="strengths must ascend from 0"):
            evaluated(toy_task(), [system], alphas)
    with pytest.raises(HarnessError, match="two systems are called 's'"):
        evaluated(toy_task(), [system, system])


def test_a_system_that_gives_too_few_matrices_is_caught():
    class Short:
        name, steers = "short", True

        def at(self, users, tags, alphas):
            yield torch.rand(len(users), 7)

    with pytest.raises(ValueError, match="'short' gave 1 matrices for 2 strengths"):
        measured(toy_task(), Short(), (0.0, 0.1))
