"""From an experiment to a trained model and its ranks: build, fit or tune, score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext import recbole_compat
from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import locked
from recbole_ext.core.progress import progress, say
from recbole_ext.data.problem import Problem
from recbole_ext.evaluator.lists import ListScorer, ListTable, rank_lists
from recbole_ext.evaluator.pointwise import picked, scored
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.ranks import RankTable, rank
from recbole_ext.evaluator.tables import Tables
from recbole_ext.experiment import Experiment
from recbole_ext.registry import TrainerSpec
from recbole_ext.text import Embeddings
from recbole_ext.trainer.base import Report, SoFar
from recbole_ext.trainer.setup import Fitted, Setup, saying_why
from recbole_ext.tune.search import Asked, Evaluate, Point, Search, Space, Trial, search
from recbole_ext.tune.trials import TrialLog, remembered

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Training:
    """The training of one experiment's model, at its own point or at those of a search."""

    experiment: Experiment
    embeddings: Embeddings | None
    """Of the item texts, None for a model that reads none."""
    scratch: Path
    """A folder for whatever RecBole insists on creating."""
    records: Path | None = None
    """Below which stages of training are kept; None keeps them in `scratch`."""

    @cached_property
    def setup(self) -> Setup:
        experiment, settings = self.experiment, self.experiment.settings
        if (
            experiment.profiles is not None
            and experiment.user_vectors is not None
            and self.embeddings is not None
        ):
            experiment.profiles.check_width(
                experiment.user_vectors.shape[1],
                self.embeddings.vectors.shape[1],
                self.embeddings.encoder,
            )
        return Setup(
            spec=experiment.model,
            problem=experiment.problem,
            seed=settings.run["seed"],
            device=settings.run["device"],
            selection=experiment.selection,
            fingerprints=experiment.fingerprints_of_stages,
            embeddings=self.embeddings,
            scratch=self.scratch,
            stages=(self.records or self.scratch) / ".stages",
            user_vectors=experiment.user_vectors,
        )

    @property
    def spec(self) -> TrainerSpec:
        assert self.experiment.model.trainer is not None
        return self.experiment.model.trainer

    def build(self, params: dict[str, Any]) -> tuple[Any, recbole_compat.Bench]:
        """An untrained model."""
        return self.setup.build(params)

    def load(self, params: dict[str, Any], weights: Path) -> Fitted:
        """A model with saved weights."""
        return self.setup.load(params, weights)

    def fit(self, params: dict[str, Any], what: str, report: Report | None = None) -> Fitted:
        """A trained model; see `trainer.base.Trainer`."""
        fitted: Fitted = self.spec.load().fit(self.setup, params, what, report)
        return fitted

    def refit(self, params: dict[str, Any], chosen: Fitted) -> Fitted:
        """The model that validation chose, trained on training and validation."""
        fitted: Fitted = self.spec.load().refit(
            self.setup, params, chosen, self.experiment.model.name
        )
        return fitted

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

    def trials(self, points: list[Point], so_far: SoFar | None = None) -> Iterator[Trial]:
        """Trials of points; see `trainer.base.Trainer`."""
        params = self.experiment.settings.params
        yield from self.spec.load().trials(self.setup, params, points, so_far)


def score_test(fitted: Fitted, experiment: Experiment) -> Tables:
    """What a model scores of the test part, for the protocols that it serves."""
    problem, scoring = experiment.problem, experiment.model.scoring
    model, bench, data = fitted.model, fitted.bench, problem.data
    history = bench.read_of(data, problem.split, *problem.seen_at_test)
    labelled = experiment.test_labels
    with saying_why(model, bench, problem):
        if scoring == "candidates":
            lists = recbole_compat.list_scorer(model, bench, data, history)
            return Tables(rank_drawn(lists, problem))
        if scoring == "pointwise":
            pairs = recbole_compat.pair_scorer(model, bench, data, history)
            ranked = None
            if any(protocol_of(name).drawn for name in experiment.served):
                ranked = rank_drawn_by_pairs(pairs, problem)
            if labelled is None:
                return Tables(ranked)
            probabilities = bool(getattr(model, "probabilities", False))
            found = pairs(labelled.user, labelled.item, labelled.row)
            return Tables(ranked, scored(labelled, found, probabilities))
        return full_tables(fitted.scorer(problem, *problem.seen_at_test), experiment)


def full_tables(scores: Callable[[Ints], torch.Tensor], experiment: Experiment) -> Tables:
    """What scores of every item say: the ranks, and the scores of labelled pairs where they are asked for."""
    labelled = experiment.test_labels
    if labelled is not None and all(protocol_of(name).labelled for name in experiment.served):
        return Tables(None, scored(labelled, picked(labelled, scores)))
    ranked = rank_scores(scores, experiment.problem)
    if labelled is None:
        return Tables(ranked)
    return Tables(ranked, scored(labelled, picked(labelled, scores)))


def rank_drawn(scorer: ListScorer, problem: Problem, rows: Ints | None = None) -> ListTable:
    """Rank the test positives within their drawn lists; `rows` [P] of the positives for a scorer that reads them."""
    lists = sum(drawn.shape[0] * drawn.shape[1] for drawn in problem.test_task.lists.values())
    with progress("ranking test lists", lists) as advance:

        def counted(users: Ints, candidates: Ints, *beside: Ints) -> Any:
            found = scorer(users, candidates, *beside)
            advance(len(users))
            return found

        return rank_lists(problem.test_task, counted, rows)


def rank_drawn_by_pairs(scorer: recbole_compat.PairScorer, problem: Problem) -> ListTable:
    """Rank the test positives within their drawn lists, every candidate being a pair in the place of the positive."""
    drawn = problem.test_task.lists.values()
    pairs = sum(lists.shape[0] * lists.shape[1] * (lists.shape[2] + 1) for lists in drawn)
    say(f"{pairs:,} pairs of frozen lists are scored one by one")
    return rank_drawn(
        recbole_compat.lists_by_pairs(scorer), problem, problem.rows_of(problem.test_task)
    )


def rank_test(fitted: Fitted, problem: Problem) -> RankTable:
    """Rank the test positives by a model that scores every item."""
    scores = fitted.scorer(problem, *problem.seen_at_test)
    with saying_why(fitted.model, fitted.bench, problem):
        return rank_scores(scores, problem)


def rank_scores(scores: Callable[[Ints], torch.Tensor], problem: Problem) -> RankTable:
    """Rank the test positives, and keep each user's list down to the deepest cut-off.

    Args:
        scores: users [B] -> [B, n_items].
        problem: what is ranked.
    """
    with progress("ranking test users", len(problem.test_task.users)) as advance:

        def counted(users: Ints) -> Iterator[torch.Tensor]:
            yield scores(users)
            advance(len(users))

        (table,) = rank(problem.test_task, counted, top=max(problem.evaluation["ks"]))
    return table
