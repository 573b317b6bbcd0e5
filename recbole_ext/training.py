"""From an experiment to a trained model and its ranks: build, fit or tune, score."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext import recbole_compat
from recbole_ext.data.splits import TRAIN
from recbole_ext.errors import HarnessError
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.ranks import Ints, NotFinite, RankTable, rank
from recbole_ext.experiment import Experiment
from recbole_ext.files import locked
from recbole_ext.ground import Ground, Validation
from recbole_ext.progress import progress
from recbole_ext.text import Embeddings
from recbole_ext.trainer.closed_form import ClosedFormTrainer, evaluate_family
from recbole_ext.tune.search import Asked, Evaluate, Point, Search, Space, Trial, search
from recbole_ext.tune.trials import TrialLog, remembered
from recbole_ext.weights import load_weights

if TYPE_CHECKING:
    import torch


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
    embeddings: Embeddings | None
    """Of the item texts, None for a model that reads none."""
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
            item_vectors=self.embeddings.vectors if self.embeddings is not None else None,
            item_blocks=self.experiment.ground.blocks,
        )
        return recbole_compat.build_model(cls, bench), bench

    def load(self, params: dict[str, Any], weights: Path) -> Fitted:
        """A model with saved weights."""
        model, bench = self.build(params)
        load_weights(model, weights)
        return Fitted(model, bench, float("nan"), None)

    def moved(self, fitted: Fitted, params: dict[str, Any]) -> Fitted:
        """A model that was trained on another ground, on this one: the same parameters, none of them changed."""
        model, bench = self.build(params)
        model.load_state_dict(fitted.model.state_dict())
        return Fitted(model, bench, fitted.value, fitted.epochs)

    def fit(
        self,
        params: dict[str, Any],
        what: str,
        report: Callable[[float, float, int], None] | None = None,
    ) -> Fitted:
        """A trained model, with its score on validation.

        Args:
            params: of the model.
            what: names the progress bar.
            report: told the score, the best so far and the epochs after each validation.
        """
        model, bench = self.build(params)
        ground, metric = self.experiment.ground, self.experiment.settings.evaluation["valid_metric"]
        history = ground.split.pairs(ground.data, TRAIN)
        scores = recbole_compat.score_function(model, bench, ground.data, history)

        def validate() -> float:
            found = []
            for part in ground.validations:

                def own(users: Ints, part: Validation = part) -> list[torch.Tensor]:
                    return [scores(users + part.first_user)[:, part.items]]

                with _saying_why(model, bench, ground, part.first_user, part.items.start):
                    (table,) = rank(part.task, own)
                found.append(summary.mean_of(table, metric))
            return sum(found) / len(found)

        if self.experiment.model.trainer == "closed_form":
            return Fitted(model, bench, ClosedFormTrainer(model, validate).fit(), None)
        trainer = recbole_compat.make_trainer(bench, model, validate)
        best, validations, step = -float("inf"), 0, int(params["eval_step"])
        with progress(f"{what} epochs", trainer.epochs) as advance:

            def tick(score: float) -> None:
                nonlocal best, validations
                best, validations = max(best, score), validations + 1
                advance(step, f"validation {score:.4f}")
                if report is not None:
                    report(score, best, validations * step)

            value, epochs = trainer.run(bench.train_loader, tick)
        return Fitted(model, bench, value, epochs)

    def search_once(
        self, space: Space, records: Path, spread: Callable[[Training], Evaluate] | None = None
    ) -> Search:
        """`tune` with the log below `records`: runs that differ in seed or protocol share it, a second process waits."""
        name = self.experiment.search_id
        with locked(records / ".locks" / f"{name}.trials.lock", "this search"):
            return self.tune(space, TrialLog(records / ".trials" / f"{name}.jsonl"), spread)

    def tune(
        self, space: Space, log: TrialLog, spread: Callable[[Training], Evaluate] | None = None
    ) -> Search:
        """Search a space.

        Args:
            space: its seed is that of the trainings.
            log: trials that are in it are not made again, new ones are added.
            spread: how trials of a training are made elsewhere; None makes them here, one after the other.
        """
        name, metric = (
            self.experiment.model.name,
            self.experiment.settings.evaluation["valid_metric"],
        )
        settings = self.experiment.settings
        seeded = dataclasses.replace(settings, run={**settings.run, "seed": space.seed})
        searcher = dataclasses.replace(
            self, experiment=dataclasses.replace(self.experiment, settings=seeded)
        )
        if spread is not None:
            return search(space, remembered(spread(searcher), log, settings.params))
        evaluate = remembered(searcher.all_of, log, settings.params)
        with progress(f"{name} tuning", len(space)) as advance:

            def watched(asked: Asked) -> Iterator[Trial]:
                for trial in evaluate(asked):
                    shown = trial.error if trial.value is None else f"{metric} {trial.value:.4f}"
                    advance(1, shown)
                    yield trial

            return search(space, watched)

    def all_of(self, asked: Asked) -> Iterator[Trial]:
        """Trials of what a search asks for, one after the other."""
        if asked.count < len(asked.untried):
            raise HarnessError("optuna chooses points in a sweep: python run_bench.py sweep ..")
        return self.trials(asked.untried)

    def trials(
        self, points: list[Point], so_far: Callable[[Trial, float], None] | None = None
    ) -> Iterator[Trial]:
        """Trials of points: a family where the model has them, else one training each.

        `so_far` is told of a training after each validation, as if it ended there, with that validation's score.
        """
        closed = self.experiment.model.trainer == "closed_form"
        return self._family(points) if closed else self._each(points, so_far)

    def _family(self, points: list[Point]) -> Iterator[Trial]:
        model, bench = self.build(self.experiment.settings.params)
        ground, evaluation = self.experiment.ground, self.experiment.settings.evaluation
        begun = time.perf_counter()
        with _saying_why(model, bench, ground):
            for point, value in evaluate_family(
                model, points, ground.validations[0].task, evaluation["valid_metric"]
            ):
                now = time.perf_counter()
                yield Trial(point, round(value, 8), round(now - begun, 3))
                begun = time.perf_counter()

    def _each(
        self, points: list[Point], so_far: Callable[[Trial, float], None] | None = None
    ) -> Iterator[Trial]:
        for point in points:
            begun = time.perf_counter()
            params = {**self.experiment.settings.params, **point}

            def report(
                score: float, best: float, epochs: int, point: Point = point, begun: float = begun
            ) -> None:
                if so_far is not None:
                    spent = round(time.perf_counter() - begun, 3)
                    so_far(Trial(point, round(best, 8), spent, epochs), score)

            try:
                fitted = self.fit(params, f"{self.experiment.model.name} {point}", report)
            except HarnessError as error:
                # E.g. scores that are no numbers: this point is out, the others are not
                seconds = round(time.perf_counter() - begun, 3)
                yield Trial(point, None, seconds, error=str(error))
                continue
            seconds = round(time.perf_counter() - begun, 3)
            yield Trial(point, round(fitted.value, 8), seconds, fitted.epochs)


def rank_test(fitted: Fitted, ground: Ground) -> RankTable:
    """Rank the test positives by a model."""
    history = ground.split.pairs(ground.data, *ground.seen_at_test)
    scores = recbole_compat.score_function(fitted.model, fitted.bench, ground.data, history)
    with _saying_why(fitted.model, fitted.bench, ground):
        return rank_scores(scores, ground)


@contextmanager
def _saying_why(
    model: Any,
    bench: recbole_compat.Bench,
    ground: Ground,
    first_user: int = 0,
    first_item: int = 0,
) -> Iterator[None]:
    """Scores that are no numbers are said to be whose, and why as far as can be told.

    Args:
        model: that scores.
        bench: what it was built from.
        ground: what it is trained on, or what is ranked.
        first_user: the ground's user that user 0 of the scores is.
        first_item: the ground's item that item 0 of the scores is.
    """
    try:
        yield
    except NotFinite as error:
        data, name = ground.data, bench.config["model"]
        user, item = error.user + first_user, error.item + first_item
        whose = (
            f"user '{data.user_tokens[user]}' and item '{data.item_tokens[item]}' of {data.name}"
        )
        if not ground.activity[user]:
            why = "that user has no interaction in training: use --split=ratio or --split=leave_one_out, or another model"
        elif not ground.popularity[item]:
            why = (
                "that item has no interaction in training: raise --min_item, or take another model"
            )
        elif hasattr(model, "solve"):
            why = "raise the regularisation"
        elif recbole_compat.diverged(model):
            why = "lower the learning rate"
        else:
            why = (
                "its weights have not grown: raise --min_user and --min_item, or take another model"
            )
        raise HarnessError(
            f"the score of {name} for {whose} is {error.value}, not finite, so no rank is defined; {why}"
        ) from None


def rank_scores(scores: Callable[[Ints], torch.Tensor], ground: Ground) -> RankTable:
    """Rank the test positives, and keep each user's list down to the deepest cut-off.

    Args:
        scores: users [B] -> [B, n_items].
        ground: what is ranked.
    """
    with progress("ranking test users", len(ground.test_task.users)) as advance:

        def counted(users: Ints) -> Iterator[torch.Tensor]:
            yield scores(users)
            advance(len(users))

        (table,) = rank(ground.test_task, counted, top=max(ground.evaluation["ks"]))
    return table
