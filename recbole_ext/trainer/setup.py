"""What every model of one experiment is built from and validated by, whatever trains it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recbole_ext import recbole_compat
from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.problem import Problem, Validation
from recbole_ext.data.splits import VALID
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.counting import NotFinite
from recbole_ext.evaluator.lists import rank_lists
from recbole_ext.evaluator.pointwise import LabelledPairs, scored, value_of
from recbole_ext.evaluator.selection import Selection, selection
from recbole_ext.registry import ModelSpec
from recbole_ext.text import Embeddings
from recbole_ext.trainer.checkpoint import load_weights

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
    """That were trained, None for a model that is solved."""
    chosen: Mapping[str, int] = field(default_factory=dict)
    """Epochs of the weights that validation chose, by stage; those of a model without stages are under its one name, ""."""
    seconds_before: float = 0.0
    """That its stages took where they were trained, or had begun to be, before this fit."""

    def scorer(self, problem: Problem, *parts: int) -> Callable[[Ints], torch.Tensor]:
        """users [B] -> scores [B, n_items], each user's history being what the problem has of it in `parts`.

        A model reads either that (sequential ones) or what it trains on, and what is folded in.
        """
        history = self.bench.read_of(problem.data, problem.split, *parts)
        return recbole_compat.score_function(self.model, self.bench, problem.data, history)


@dataclass(frozen=True)
class Setup:
    """A model's row, what it is trained on, and where."""

    spec: ModelSpec
    problem: Problem
    seed: int
    device: str
    selection: Selection
    """What validation reads."""
    fingerprints: Callable[[], Mapping[str, str]]
    """Of what is read: `data`, `split`, and `text`, `encoder` and others where there are any; hashed when asked for."""
    embeddings: Embeddings | None
    """Of the item texts, None for a model that reads none."""
    scratch: Path
    """A folder for whatever RecBole insists on creating."""
    stages: Path
    """Where finished stages of training are kept."""
    user_vectors: npt.NDArray[np.float32] | None = None
    """[n_users, d] of what is said of users in words, where a file of it is given."""

    def build(self, params: dict[str, Any]) -> tuple[Any, recbole_compat.Bench]:
        """An untrained model, with every random generator seeded."""
        cls = self.spec.load()
        bench = recbole_compat.prepare(
            cls,
            params,
            self.problem.data,
            self.problem.split,
            name=self.spec.name,
            seed=self.seed,
            device=self.device,
            scratch=self.scratch,
            beside=recbole_compat.Beside(
                item_vectors=self.embeddings.vectors if self.embeddings is not None else None,
                item_titles=self.problem.titles[1] if "item_titles" in self.spec.inputs else None,
                item_texts=lambda: self.problem.texts[1],
                user_vectors=self.user_vectors,
                item_blocks=self.problem.blocks,
            ),
        )
        model = recbole_compat.build_model(cls, bench)
        # For a stage that is stopped by what validation chooses by.
        model.validation_score = functools.partial(self.validate, model, bench)
        model.full_validation_score = functools.partial(self.validate_full, model, bench)
        return model, bench

    def load(self, params: dict[str, Any], weights: Path) -> Fitted:
        """A model with saved weights."""
        model, bench = self.build(params)
        load_weights(model, weights)
        return Fitted(model, bench, float("nan"), None)

    def moved(self, fitted: Fitted, params: dict[str, Any]) -> Fitted:
        """A model that was trained on another problem, on this one: the same parameters, none of them changed."""
        model, bench = self.build(params)
        model.load_state_dict(fitted.model.state_dict())
        return Fitted(model, bench, fitted.value, fitted.epochs)

    def validate(self, model: Any, bench: recbole_compat.Bench) -> float:
        """The metric of selection, its mean where there are several validations."""
        if self.selection.protocol.labelled:
            return self._of_labels(model, bench)
        if self.selection.protocol.drawn:
            return self._of_lists(model, bench)
        problem = self.problem
        scores = recbole_compat.score_function(model, bench, problem.data, self._read_by(bench))
        values = []
        for part in problem.validations:

            def of_part(users: Ints, part: Validation = part) -> list[torch.Tensor]:
                return [scores(users + part.first_user)[:, part.items]]

            with saying_why(model, bench, problem, part.first_user, part.items.start):
                values += summary.validated(part.task, of_part, self.selection.metric)
        return sum(values) / len(values)

    def validate_full(self, model: Any, bench: recbole_compat.Bench, metric: str) -> float:
        """A metric of the full ranking, whatever the run is selected by: for a stage whose weights can rank every item."""
        chosen = selection(metric, "full", ["full"])
        return replace(self, selection=chosen).validate(model, bench)

    def _read_by(self, bench: recbole_compat.Bench) -> tuple[Ints, Ints]:
        """(Users, items) of the histories that a model reads when it is validated."""
        return (
            self._known
            if bench.places is not None
            else bench.read_of(self.problem.data, self.problem.split)
        )

    @cached_property
    def _known(self) -> tuple[Ints, Ints]:
        """(Users, items) that a model may see when it is validated, picked out once: some validate a thousand times."""
        return self.problem.split.pairs(self.problem.data, *self.problem.seen_at_validation)

    @cached_property
    def _lists(self) -> list[Validation]:
        return self.problem.validation_lists(self.selection.protocol.name)

    def _of_lists(self, model: Any, bench: recbole_compat.Bench) -> float:
        """The mean over frozen lists of the validation part."""
        problem, selection = self.problem, self.selection
        read_by = self._read_by(bench)
        scorer = recbole_compat.list_scorer(model, bench, problem.data, read_by, rules=False)
        k = int(selection.metric.partition("@")[2] or 1)
        values = []
        for part in self._lists:

            def of_part(users: Ints, items: Ints, part: Validation = part) -> Any:
                return scorer(users + part.first_user, items + part.items.start)

            with saying_why(model, bench, problem, part.first_user, part.items.start):
                table = rank_lists(part.task, of_part)
            found = summary.per_user(table, selection.protocol.name, [k])
            if selection.metric not in found:
                raise HarnessError(
                    f"{self.spec.name} answers with one item of a list, of which {selection.metric} says nothing; "
                    "--valid_metric=hit_pp@1 does"
                )
            values.append(float(found[selection.metric].mean()))
        return sum(values) / len(values)

    @cached_property
    def _labelled(self) -> LabelledPairs:
        pairs = self.problem.labelled(VALID)
        if isinstance(pairs, str):
            raise HarnessError(f"{self.spec.name} is selected by {self.selection}, but {pairs}")
        return pairs

    def _of_labels(self, model: Any, bench: recbole_compat.Bench) -> float:
        """The metric over the labelled pairs of the validation part."""
        problem, pairs = self.problem, self._labelled
        scores = recbole_compat.pair_scorer(model, bench, problem.data, self._read_by(bench))
        with saying_why(model, bench, problem):
            table = scored(pairs, scores(pairs.user, pairs.item, pairs.row))
        return value_of(table, self.selection.metric)


@contextmanager
def saying_why(
    model: Any,
    bench: recbole_compat.Bench,
    problem: Problem,
    first_user: int = 0,
    first_item: int = 0,
) -> Iterator[None]:
    """Scores that are no numbers are said to be whose, and why as far as can be told.

    Args:
        model: that scores.
        bench: what it was built from.
        problem: what it is trained on, or what is ranked.
        first_user: the problem's user that user 0 of the scores is.
        first_item: the problem's item that item 0 of the scores is.
    """
    try:
        yield
    except NotFinite as error:
        data, name = problem.data, bench.name
        user, item = error.user + first_user, error.item + first_item
        whose = (
            f"user '{data.user_tokens[user]}' and item '{data.item_tokens[item]}' of {data.name}"
        )
        if not problem.activity[user]:
            why = "that user has no interaction in training: use --split=ratio or --split=leave_one_out, or another model"
        elif not problem.popularity[item]:
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
