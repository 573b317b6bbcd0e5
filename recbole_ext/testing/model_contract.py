"""What a model must do on data that fits it: fit, rank, repeat, survive a round trip, and know nothing of the test part."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.data.problem import Problem
from recbole_ext.data.splits import TEST, Split
from recbole_ext.experiment import Experiment
from recbole_ext.pipeline.training import Training, rank_test, score_test
from recbole_ext.recbole_compat import Intentions, Knobs, score_function
from recbole_ext.registry import CLOSED_FORM, CONCEPTS, INTENTION, TRANSFER, ModelSpec
from recbole_ext.testing.contract import Contract, of_models
from recbole_ext.testing.experiments import make_experiment, train
from recbole_ext.testing.tiny_data import labelled, write_tiny
from recbole_ext.trainer.checkpoint import save_weights
from recbole_ext.trainer.closed_form import evaluate_family
from recbole_ext.trainer.setup import Fitted
from recbole_ext.tune.search import grid


def _has_families(spec: ModelSpec) -> bool:
    return spec.trainer == CLOSED_FORM and hasattr(spec.load(), "families")


_scores_every_item = of_models(lambda spec: spec.scoring == "full")
_scores_pairs = of_models(lambda spec: spec.scoring == "pointwise")


class ModelContract(Contract):
    """What holds for every model.

    On 40 users and 30 items with times and titles, which it writes itself::

        class TestMine(ModelContract):
            models = {"Mine": {"epochs": 2, "embedding_size": 8}}
    """

    spaces: ClassVar[Mapping[str, Sequence[Mapping[str, Sequence[Any]]]]] = {}
    """Name -> stages to try in place of a model's own, whose values are too large for so few users and items."""

    @pytest.fixture(scope="class")
    def tiny(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of the data set."""
        return write_tiny(tmp_path_factory.mktemp("tiny"))

    def experiment(self, name: str, tiny: Path, **given: object) -> Experiment:
        """A model's experiment with its short parameters; `given` wins."""
        common = {"protocols": "full,uni5,expected@5", "ks": "1,5", "threads": 1}
        keys: dict[str, object] = {**common, **self.models[name], **given}
        return make_experiment(name, "tiny", tiny, False, **keys)

    @_scores_every_item
    def test_fits_ranks_and_repeats(self, name: str, tiny: Path, tmp_path: Path) -> None:
        one, two = (self.experiment(name, tiny) for _ in range(2))
        first, second = (rank_test(train(e, tmp_path), e.problem) for e in (one, two))
        assert len(first) == int((one.problem.split.part == TEST).sum())
        np.testing.assert_array_equal(first.above, second.above)
        np.testing.assert_array_equal(first.tied, second.tied)
        for mine, other in zip(first.lists["uni5"], second.lists["uni5"], strict=True):
            np.testing.assert_array_equal(mine, other)
        assert one.run_id == two.run_id

    @_scores_every_item
    def test_full_sort_predict_agrees_with_predict(
        self, name: str, tiny: Path, tmp_path: Path
    ) -> None:
        experiment = self.experiment(name, tiny)
        fitted, users = train(experiment, tmp_path), np.arange(7)
        full = scores_of(experiment, fitted, users)
        pairs = scores_of(experiment, fitted, users, by_pairs=True)
        # Some reach the same number through differently shaped float32 products.
        np.testing.assert_allclose(full, pairs, rtol=1e-4, atol=1e-5)

    @_scores_every_item
    def test_weights_make_a_round_trip(self, name: str, tiny: Path, tmp_path: Path) -> None:
        experiment = self.experiment(name, tiny)
        fitted = train(experiment, tmp_path)
        path = tmp_path / "weights.safetensors"
        save_weights(fitted.model, path)
        loaded = train(self.experiment(name, tiny, seed=99), tmp_path, saved=path)
        users = np.arange(40)
        mine, theirs = (scores_of(experiment, model, users) for model in (fitted, loaded))
        assert torch.equal(mine, theirs)

    @_scores_every_item
    def test_the_test_part_changes_no_score(self, name: str, tiny: Path, tmp_path: Path) -> None:
        """Test items become others: training, validation and scores must not notice."""
        experiment, other = (self.experiment(name, tiny, exclude="train") for _ in range(2))
        give_other_test_items(other.problem)
        users = np.arange(40)
        a = scores_of(experiment, train(experiment, tmp_path), users)
        b = scores_of(other, train(other, tmp_path), users)
        assert torch.equal(a, b)

    @_scores_pairs
    def test_scores_of_pairs_repeat_and_their_weights_make_a_round_trip(
        self, name: str, tmp_path: Path
    ) -> None:
        folder = labelled(write_tiny(tmp_path), "tiny")
        given = {"keep_label": "true", "protocols": "ctr"}
        one, two, other = (
            self.experiment(name, folder, **given, seed=seed) for seed in (2026, 2026, 99)
        )
        fitted = train(one, tmp_path / "one")
        first, second = pairs_of(one, fitted), pairs_of(two, train(two, tmp_path / "two"))
        np.testing.assert_array_equal(first, second)
        assert len(first) == int((one.problem.split.part == TEST).sum())
        path = tmp_path / "weights.safetensors"
        save_weights(fitted.model, path)
        np.testing.assert_array_equal(first, pairs_of(other, train(other, tmp_path, saved=path)))

    @_scores_pairs
    def test_labels_of_the_test_part_change_no_weight(self, name: str, tmp_path: Path) -> None:
        folder = labelled(write_tiny(tmp_path), "tiny")
        given = {"keep_label": "true", "protocols": "ctr"}
        one, two = (self.experiment(name, folder, **given) for _ in range(2))
        data, part = two.problem.data, two.problem.split.part
        assert data.label is not None
        flipped = np.where(part == TEST, 1 - data.label, data.label)
        two.problem.__dict__["data"] = dataclasses.replace(data, label=flipped)
        first, second = train(one, tmp_path / "one"), train(two, tmp_path / "two")
        assert first.value == second.value
        for key, value in first.model.state_dict().items():
            assert torch.equal(value, second.model.state_dict()[key]), key

    @of_models(_has_families)
    def test_a_family_scores_its_points_like_separate_fits(
        self, name: str, tiny: Path, tmp_path: Path
    ) -> None:
        experiment = self.experiment(name, tiny)
        fitted = train(experiment, tmp_path)
        space = self.spaces.get(name, experiment.settings.space)
        points = [point for stage in space for point in grid(stage)][:40]
        task = experiment.problem.validations[0].task
        trials = evaluate_family(fitted.model, fitted.bench, points, task, "recall@5")
        family = {tuple(sorted(point.items())): value for point, value in trials}
        assert len(family) == len(points)
        for point in points[::7]:
            alone = train(self.experiment(name, tiny, valid_metric="recall@5", **point), tmp_path)
            # One user's near-tie may fall the other way: 1 of 40 users, 1 of at least 1 positives.
            expected = pytest.approx(alone.value, abs=1 / 40)
            assert family[tuple(sorted(point.items()))] == expected

    @of_models(lambda spec: INTENTION in spec.offers)
    def test_a_query_of_weight_0_changes_nothing_and_one_of_weight_1_does(
        self, name: str, tiny: Path, tmp_path: Path
    ) -> None:
        experiment = self.experiment(name, tiny)
        fitted, users = train(experiment, tmp_path), np.arange(7)
        model = Intentions(fitted.model, fitted.bench)
        queries = experiment.encoder.encode(["a blue chair"] * len(users))
        plain = scores_of(experiment, fitted, users)
        torch.testing.assert_close(model.scores(users, queries, 0.0)(users), plain)
        assert not torch.allclose(model.scores(users, queries, 1.0)(users), plain)

    @of_models(lambda spec: CONCEPTS in spec.offers)
    def test_its_own_codes_give_its_own_scores_and_others_do_not(
        self, name: str, tiny: Path, tmp_path: Path
    ) -> None:
        experiment = self.experiment(name, tiny)
        fitted, users = train(experiment, tmp_path), np.arange(7)
        knobs = Knobs(fitted.model, fitted.bench)
        plain, codes = scores_of(experiment, fitted, users), knobs.codes(users)
        assert bool((codes >= 0).all()) and bool((codes > 0).any())
        torch.testing.assert_close(knobs.scores(users, codes), plain)
        assert not torch.allclose(knobs.scores(users, codes.roll(1, dims=1)), plain)

    @of_models(lambda spec: TRANSFER in spec.offers)
    def test_weights_move_to_another_data_set(self, name: str, tiny: Path, tmp_path: Path) -> None:
        experiment = self.experiment(name, tiny)
        fitted = train(experiment, tmp_path)
        smaller = write_tiny(tmp_path / "smaller", users=23, items=17, seed=1)
        other = self.experiment(name, smaller)
        setup = Training(other, other.embeddings(), tmp_path).setup
        moved = setup.moved(fitted, other.settings.params)
        assert len(rank_test(moved, other.problem)) == len(other.problem.test_task.pos_items)


def pairs_of(experiment: Experiment, fitted: Fitted) -> Floats:
    """[N] scores of the labelled pairs of the test part."""
    table = score_test(fitted, experiment).scored
    assert table is not None
    return table.score


def scores_of(
    experiment: Experiment, fitted: Fitted, users: Ints, by_pairs: bool = False
) -> torch.Tensor:
    """[B, n_items] scores of users at test."""
    problem = experiment.problem
    history = problem.split.pairs(problem.data, *problem.seen_at_test)
    score = score_function(fitted.model, fitted.bench, problem.data, history, by_pairs)
    scores: torch.Tensor = score(users)
    return scores


def give_other_test_items(problem: Problem) -> None:
    """Each user's test items become ones that it does not have, nothing else of the problem changes."""
    data, part = problem.data, problem.split.part
    items = data.item.copy()
    for row in np.flatnonzero(part == TEST):
        free = np.setdiff1d(np.arange(len(data.item_tokens)), items[data.user == data.user[row]])
        items[row] = free[int(data.user[row]) % len(free)]
    assert (items != data.item).any()
    order = np.lexsort((items, data.user))
    assert data.time is not None
    label = None if data.label is None else data.label[order]
    changed = dataclasses.replace(data, item=items[order], time=data.time[order], label=label)
    problem.__dict__.update(data=changed, split=Split(part[order]))
