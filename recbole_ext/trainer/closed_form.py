"""The trainer of models that are solved, not stepped. It validates like any other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from recbole_ext import recbole_compat
from recbole_ext.evaluator.ranks import RankTask
from recbole_ext.evaluator.summary import validated
from recbole_ext.trainer.base import Report, SoFar, Trainer
from recbole_ext.trainer.setup import Fitted, Setup, saying_why
from recbole_ext.tune.search import Point, Trial


class ClosedForm(Trainer):
    """Solves and validates once.

    A model offers `solve()`, and, if it can be tuned, `families(points)`: groups of points that share a factorisation,
    each with a function from users (RecBole ids) to one score matrix [B, n_items + 1] per point; it may say in
    `family_bytes` how large one should be.
    """

    def fit(
        self, setup: Setup, params: dict[str, Any], what: str, report: Report | None = None
    ) -> Fitted:
        """The solved model; there is nothing on the way to report."""
        model, bench = _solved(setup, params)
        return Fitted(model, bench, setup.validate(model, bench), None)

    def refit(self, setup: Setup, params: dict[str, Any], chosen: Fitted, what: str) -> Fitted:
        """Solved again."""
        return Fitted(*_solved(setup, params), chosen.value, None)

    def trials(
        self,
        setup: Setup,
        params: dict[str, Any],
        points: list[Point],
        so_far: SoFar | None = None,
    ) -> Iterator[Trial]:
        """Points by family, those of one together; one by one where lists or pairs are scored."""
        if setup.spec.scoring != "full":
            yield from super().trials(setup, params, points, so_far)
            return
        model, bench = setup.build(params)
        begun = time.perf_counter()
        with saying_why(model, bench, setup.problem):
            task = setup.problem.validations[0].task
            for point, value in evaluate_family(model, bench, points, task, setup.selection.metric):
                yield Trial.since(begun, point, value)
                begun = time.perf_counter()


def _solved(setup: Setup, params: dict[str, Any]) -> tuple[Any, recbole_compat.Bench]:
    model, bench = setup.build(params)
    model.solve()
    return model, bench


def evaluate_family(
    model: Any, bench: recbole_compat.Bench, points: list[Point], task: RankTask, metric: str
) -> Iterator[tuple[Point, float]]:
    """(point, validation score) of every point of a model with `families`; its own weights stay as they are."""
    import torch

    with torch.no_grad():
        for group, scores in recbole_compat.families(model, bench, points):
            values = validated(task, scores, metric, getattr(model, "family_bytes", None))
            yield from zip(group, values, strict=True)
