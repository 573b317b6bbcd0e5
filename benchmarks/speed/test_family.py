"""A grid at the price of a fit: 42 points of L3AE, solved and validated in full, against one, on real data: amazon-toys-2014 beside the checkout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.speed.measure import FULL, now
from recbole_ext.pipeline.training import Training
from recbole_ext.trainer.closed_form import evaluate_family
from tests.conftest import SHARED
from tests.problems import make_experiment

GRID = [
    {"reg_f": f, "reg_kd": k}
    for f in (0.05, 0.5, 1, 5, 10, 50)
    for k in (10, 20, 50, 80, 100, 150, 200)
]


def experiment(**given):
    if not (SHARED / "amazon-toys-2014").is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    small = {} if FULL else {"min_user": 9, "min_item": 9, "encoder": "hash"}
    return make_experiment("L3AE", "amazon-toys-2014", SHARED, reg_x=100, **small, **given)


def test_forty_two_points_against_one_fit(figure, tmp_path):
    asked = experiment()
    problem, training = asked.problem, Training(asked, asked.embeddings(), tmp_path)
    _ = problem.validations[0].task
    begun = now()
    training.fit(asked.settings.params, "one")
    one = now() - begun
    begun = now()
    built = training.build(asked.settings.params)
    found = list(evaluate_family(*built, GRID, problem.validations[0].task, "recall@20"))
    grid = now() - begun
    users, items = len(problem.data.user_tokens), len(problem.data.item_tokens)
    assert len(found) == 42
    figure(
        f"42 points of L3AE on {users:,} users, {items:,} items, in fits with their validation",
        grid / one,
        below=6 if FULL else 10,  # a fit of 959 items is a small price
    )


def test_the_chosen_point_is_that_of_separate_fits(tmp_path):
    """About 3,000 items: every score within 1e-4 of the scores' range, and the same choice."""
    asked = experiment(**({"min_user": 5, "min_item": 9} if FULL else {}), precision="float64")
    problem, training = asked.problem, Training(asked, asked.embeddings(), tmp_path)
    params = asked.settings.params
    shared, bench = training.build(params)
    points = GRID if FULL else GRID[::9]
    values = dict.fromkeys(range(len(points)), 0.0)
    family = {
        points.index(point): value
        for point, value in evaluate_family(
            shared, bench, points, problem.validations[0].task, "recall@20"
        )
    }
    users = torch.arange(1, 1 + min(500, len(problem.data.user_tokens)))
    ours: dict[int, torch.Tensor] = {}
    for group, scorer in shared.families(points):
        for point, scores in zip(group, scorer(users), strict=True):
            ours[points.index(point)] = scores.clone()
    for i, point in enumerate(points):
        fitted = training.fit({**params, **point}, "alone")
        values[i] = fitted.value
        alone = fitted.model.scores_of(users.numpy())
        spread = float(alone.max() - alone.min())
        assert float((alone - ours[i]).abs().max()) < 1e-4 * spread
    assert max(values, key=lambda i: values[i]) == max(family, key=lambda i: family[i])
    assert np.isfinite(list(values.values())).all()
