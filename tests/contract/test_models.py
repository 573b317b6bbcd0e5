"""What every model must do, ours by the registry and RecBole's by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.recbole_package import LACKING, recbole_models
from recbole_ext.data.splits import Split
from recbole_ext.pipeline.training import rank_test
from recbole_ext.recbole_compat import score_function
from recbole_ext.registry import MODELS, find_model
from recbole_ext.trainer.checkpoint import save_weights
from tests.problems import make_experiment, train

OURS = tuple(MODELS)
RECBOLE = ("Pop@recbole", "BPR", "LightGCN", "ItemKNN", "MultiVAE", "NeuMF", "SASRec")
SMALL = {
    "L3AE": {"encoder": "hash:32"},
    "AlphaRec": {"epochs": 5, "encoder": "hash:16", "num_neg": 8},
    "UniSRec": {"epochs": 5, "encoder": "hash:16", "num_neg": 8},
    "SimGCL": {"epochs": 2},
    "XSimGCL": {"epochs": 2},
    "BPR": {"epochs": 2},
    "LightGCN": {"epochs": 2},
    "ItemKNN": {"k": 5},
    "MultiVAE": {"epochs": 2, "mlp_hidden_size": "[16]", "latent_dimension": 8},
    "NeuMF": {"epochs": 1},
    "SASRec": {"epochs": 1, "hidden_size": 16, "inner_size": 16, "n_heads": 2, "n_layers": 1},
}
every_model = pytest.mark.parametrize("name", [*OURS, *RECBOLE])


def experiment_of(name, tiny_path, **given):
    return make_experiment(
        name,
        "tiny",
        tiny_path,
        protocols="full,uni5,expected@5",
        ks="1,5",
        threads=1,
        **SMALL.get(name, {}) | given,
    )


def scorer(experiment, fitted):
    problem = experiment.problem
    return score_function(
        fitted.model,
        fitted.bench,
        problem.data,
        problem.split.pairs(problem.data, *problem.seen_at_test),
    )


def test_the_minimum_set_is_there():
    assert {"Pop", "EASE", "L3AE"} <= set(OURS)


@every_model
def test_fits_ranks_and_repeats(name, tiny_path, tmp_path):
    one, two = (experiment_of(name, tiny_path) for _ in range(2))
    first, second = (rank_test(train(e, tmp_path), e.problem) for e in (one, two))
    assert len(first) == int((one.problem.split.part == 2).sum())
    np.testing.assert_array_equal(first.above, second.above)
    np.testing.assert_array_equal(first.tied, second.tied)
    for mine, other in zip(first.lists["uni5"], second.lists["uni5"], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert one.run_id == two.run_id


@pytest.mark.parametrize("name", LACKING)
def test_what_recbole_has_and_cannot_run_here_is_one_line(name):
    with pytest.raises(HarnessError, match=f"'{name}' of RecBole needs {LACKING[name]}"):
        find_model(name)
    assert name not in recbole_models()


@pytest.mark.parametrize("name", ["LightGCN", "AlphaRec"])
def test_training_repeats_to_the_last_bit_on_two_threads(name, tmp_path):
    given = {"epochs": 1, "train_batch_size": 4096} | (
        {"encoder": "hash:32"} if name == "AlphaRec" else {}
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, two = (
            train(make_experiment(name, "ml-100k", **given), tmp_path).model.state_dict()
            for _ in range(2)
        )
    finally:
        torch.set_num_threads(before)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@every_model
def test_full_sort_predict_agrees_with_predict(name, tiny_path, tmp_path):
    experiment = experiment_of(name, tiny_path)
    fitted = train(experiment, tmp_path)
    users = np.arange(7)
    full = scorer(experiment, fitted)(users)
    from recbole.data.interaction import Interaction

    config, n = fitted.bench.config, full.shape[1]
    columns = {
        config["USER_ID_FIELD"]: torch.from_numpy(np.repeat(users, n) + 1),
        config["ITEM_ID_FIELD"]: torch.arange(1, n + 1).repeat(len(users)),
    }
    if name == "SASRec":
        from recbole_ext.recbole_compat.scoring import _Sequences

        problem = experiment.problem
        history = problem.split.pairs(problem.data, *problem.seen_at_test)
        columns.update(_Sequences(fitted.bench, problem.data, history).of(np.repeat(users, n)))
    with torch.no_grad():
        pairs = fitted.model.predict(Interaction(columns)).view(len(users), n)
    # MultiVAE and SASRec reach the same number through differently shaped float32 products.
    np.testing.assert_allclose(full, pairs, rtol=1e-4, atol=1e-5)


@every_model
def test_weights_make_a_round_trip(name, tiny_path, tmp_path):
    experiment = experiment_of(name, tiny_path)
    fitted = train(experiment, tmp_path)
    path = tmp_path / "weights.safetensors"
    save_weights(fitted.model, path)
    loaded = train(experiment_of(name, tiny_path, seed=99), tmp_path, saved=path)
    users = np.arange(40)
    assert torch.equal(scorer(experiment, fitted)(users), scorer(experiment, loaded)(users))


@every_model
def test_the_test_part_changes_no_score(name, tiny_path, tmp_path):
    """Swap which of two held-out items is whose: training, validation and scores must not notice."""
    experiment, other = (experiment_of(name, tiny_path, exclude="train") for _ in range(2))
    problem = other.problem
    part = problem.split.part.copy()
    data = problem.data
    test = np.flatnonzero(part == 2)
    items = data.item.copy()
    # Each user's test item becomes one that nobody of the first half of the catalogue's users has.
    for row in test:
        free = np.setdiff1d(np.arange(len(data.item_tokens)), items[data.user == data.user[row]])
        items[row] = free[int(data.user[row]) % len(free)]
    assert (items != data.item).any()
    order = np.lexsort((items, data.user))
    import dataclasses

    changed = dataclasses.replace(data, item=items[order], time=data.time[order])
    problem.__dict__.update(data=changed, split=Split(part[order]))
    users = np.arange(40)
    a = scorer(experiment, train(experiment, tmp_path))(users)
    b = scorer(other, train(other, tmp_path))(users)
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    "name",
    [name for name, spec in MODELS.items() if hasattr(spec.load(), "families")],
)
def test_a_family_scores_its_points_like_separate_fits(name, tiny_path, tmp_path):
    from recbole_ext.evaluator.ranks import rank
    from recbole_ext.evaluator.summary import mean_of
    from recbole_ext.trainer.closed_form import evaluate_family
    from recbole_ext.tune.search import grid

    experiment = experiment_of(name, tiny_path)
    fitted = train(experiment, tmp_path)
    problem = experiment.problem
    points = [point for stage in experiment.settings.space for point in grid(stage)][:40]
    family = dict()
    for point, value in evaluate_family(
        fitted.model, fitted.bench, points, problem.validations[0].task, "recall@5"
    ):
        family[tuple(sorted(point.items()))] = value
    assert len(family) == len(points)
    for point in points[::7]:
        alone = experiment_of(name, tiny_path, **point)
        scores = score_function(
            train(alone, tmp_path).model,
            fitted.bench,
            problem.data,
            problem.split.pairs(problem.data, 0),
        )
        (table,) = rank(problem.validations[0].task, lambda users, scores=scores: [scores(users)])
        # One user's near-tie may fall the other way: 1 of 40 users, 1 of at least 1 positives.
        assert family[tuple(sorted(point.items()))] == pytest.approx(
            mean_of(table, "recall@5"), abs=1 / 40
        )
