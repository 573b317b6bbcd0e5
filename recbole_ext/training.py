"""From an experiment to a trained model and its ranks: build, fit or tune, score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext import recbole_compat
from recbole_ext.data.splits import TRAIN
from recbole_ext.evaluator import protocols
from recbole_ext.evaluator.ranks import RankTable, rank
from recbole_ext.experiment import Experiment, Ground
from recbole_ext.progress import progress
from recbole_ext.trainer.closed_form import ClosedFormTrainer, evaluate_family
from recbole_ext.tune.search import Point, Search, search, size
from recbole_ext.weights import load_weights


@dataclass(frozen=True)
class Fitted:
    """A trained model with what is needed to score."""

    model: Any
    bench: recbole_compat.Bench
    value: float
    """Validation score at the chosen point or epoch."""
    epochs: int | None


@dataclass(frozen=True)
class Training:
    """What every model of one experiment is built from."""

    experiment: Experiment
    vectors: npt.NDArray[np.float32] | None
    """[n_items, d] text embeddings, None for a model that reads no text."""
    scratch: Path
    """A folder for whatever RecBole insists on creating."""

    def build(self, params: dict[str, Any]) -> tuple[Any, recbole_compat.Bench]:
        """An untrained model."""
        cls, run = self.experiment.model.load(), self.experiment.settings.run
        bench = recbole_compat.prepare(
            cls,
            params,
            self.experiment.ground.data,
            self.experiment.ground.split,
            seed=run["seed"],
            device=run["device"],
            scratch=self.scratch,
            item_vectors=self.vectors,
        )
        return recbole_compat.build_model(cls, bench), bench

    def load(self, params: dict[str, Any], weights: Path) -> Fitted:
        """A model with saved weights."""
        model, bench = self.build(params)
        load_weights(model, weights)
        return Fitted(model, bench, float("nan"), None)

    def fit(self, params: dict[str, Any], what: str) -> Fitted:
        """A trained model, with its score on validation."""
        model, bench = self.build(params)
        ground, metric = self.experiment.ground, self.experiment.settings.evaluation["valid_metric"]
        history = ground.split.pairs(ground.data, TRAIN)
        scores = recbole_compat.score_function(model, bench, ground.data, history)

        def validate() -> float:
            (table,) = rank(ground.valid_task, lambda users: [scores(users)])
            return protocols.mean_of(table, metric)

        if self.experiment.model.trainer == "closed_form":
            return Fitted(model, bench, ClosedFormTrainer(model, validate).fit(), None)
        trainer = recbole_compat.make_trainer(bench, model, validate)
        with progress(f"{what} epochs", trainer.epochs) as advance:
            value, epochs = trainer.run(
                bench.train_loader, lambda score: advance(1, f"validation {score:.4f}")
            )
        return Fitted(model, bench, value, epochs)

    def tune(self) -> Search:
        """Search the model's space: as families where it has them, else one training per point."""
        settings, name = self.experiment.settings, self.experiment.model.name
        metric = settings.evaluation["valid_metric"]
        closed = self.experiment.model.trainer == "closed_form"
        with progress(f"{name} tuning", size(settings.space)) as advance:

            def evaluate(points: list[Point]) -> Iterator[tuple[Point, float]]:
                for point, value in self._family(points) if closed else self._each(points):
                    advance(1, f"{metric} {value:.4f}")
                    yield point, value

            return search(settings.space, evaluate)

    def _family(self, points: list[Point]) -> Iterator[tuple[Point, float]]:
        model, _ = self.build(self.experiment.settings.params)
        evaluation = self.experiment.settings.evaluation
        yield from evaluate_family(
            model, points, self.experiment.ground.valid_task, evaluation["valid_metric"]
        )

    def _each(self, points: list[Point]) -> Iterator[tuple[Point, float]]:
        for point in points:
            params = {**self.experiment.settings.params, **point}
            yield point, self.fit(params, f"{self.experiment.model.name} {point}").value


def rank_test(fitted: Fitted, ground: Ground) -> RankTable:
    """Rank the test positives."""
    history = ground.split.pairs(ground.data, *ground.seen_at_test)
    scores = recbole_compat.score_function(fitted.model, fitted.bench, ground.data, history)
    with progress("ranking test users", len(ground.test_task.users)) as advance:

        def counted(users: Any) -> Iterator[Any]:
            yield scores(users)
            advance(len(users))

        (table,) = rank(ground.test_task, counted)
    return table
