"""What a trainer is: it fits a model at a point, and tries points of a grid."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.trainer.setup import Fitted, Setup
from recbole_ext.tune.search import Point, Trial

Report = Callable[[float, float, int], None]
"""Told the score, the best so far and the epochs after each validation."""
SoFar = Callable[[Trial, float], None]
"""Told of a training after each validation, as if it ended there, with that validation's score."""


class Trainer(ABC):
    """How models of one kind come to their weights; `registry.TrainerSpec` says what a search may do with it."""

    @abstractmethod
    def fit(
        self, setup: Setup, params: dict[str, Any], what: str, report: Report | None = None
    ) -> Fitted:
        """A trained model, with its score on validation.

        Args:
            setup: what it is built from.
            params: of the model.
            what: names the progress bar.
            report: told of each validation.
        """

    @abstractmethod
    def refit(self, setup: Setup, params: dict[str, Any], chosen: Fitted, what: str) -> Fitted:
        """The model trained anew without looking at validation, for as long as `chosen` was; it keeps that one's score.

        Args:
            setup: whose training part holds the validation part too.
            params: of the model.
            chosen: what validation chose.
            what: names the progress bar.
        """

    def trials(
        self,
        setup: Setup,
        params: dict[str, Any],
        points: list[Point],
        so_far: SoFar | None = None,
    ) -> Iterator[Trial]:
        """Trials of points, each over `params`, in their order: a training each, where they share nothing."""
        for point in points:
            begun = time.perf_counter()

            def report(
                score: float, best: float, epochs: int, point: Point = point, begun: float = begun
            ) -> None:
                if so_far is not None:
                    so_far(Trial.since(begun, point, best, epochs), score)

            try:
                fitted = self.fit(setup, {**params, **point}, f"{setup.spec.name} {point}", report)
            except HarnessError as error:
                # E.g. scores that are no numbers: this point is out, the others are not
                yield Trial.since(begun, point, None, error=str(error))
                continue
            yield Trial.since(begun, point, fitted.value, fitted.epochs)
