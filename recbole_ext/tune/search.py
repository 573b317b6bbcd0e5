"""A staged grid: each stage is a grid searched from the best point so far. Selection sees validation only."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_ext.core.errors import HarnessError

Point = dict[str, Any]
Stages = Sequence[Mapping[str, Sequence[Any]]]


@dataclass(frozen=True)
class Trial:
    """One point tried."""

    point: Point
    value: float | None
    """Validation score, larger is better; None for a trial that failed."""
    seconds: float
    """Spent on this point; of a group that shares a factorisation, the group's share until the point was known."""
    epochs: int | None = None
    error: str | None = None
    """Why it failed."""

    @classmethod
    def since(
        cls,
        begun: float,
        point: Point,
        value: float | None,
        epochs: int | None = None,
        error: str | None = None,
    ) -> Trial:
        """One that began at `begun` of `time.perf_counter` and ends now, its numbers rounded as a log keeps them."""
        seconds = round(time.perf_counter() - begun, 3)
        return cls(point, None if value is None else round(value, 8), seconds, epochs, error)


@dataclass(frozen=True)
class Asked:
    """What a search wants of one stage."""

    points: list[Point]
    """Of the stage, in the order written."""
    count: int
    """How many of the untried ones to try: all, unless an adaptive searcher chooses."""
    known: Sequence[Trial] = ()
    """What was tried before, in that order."""

    @property
    def untried(self) -> list[Point]:
        """The points that no known trial has."""
        tried = [trial.point for trial in self.known]
        return [point for point in self.points if point not in tried]


Evaluate = Callable[[Asked], Iterator[Trial]]
"""Tries points; the trials come in the order in which they end."""


@dataclass(frozen=True)
class Space:
    """What `--tune` searches: stages of grids, all their points or a number drawn or chosen from each."""

    stages: Stages
    limit: int | None = None
    """Points of a stage that has more: that many are tried, none twice. None tries all."""
    seed: int = 0
    """Of the drawing, and of the models that are trained while searching."""
    scheduler: str | None = None
    """`asha` where a sweep ends unpromising trials early; None trains each to its own end."""
    drawn: Sequence[Sequence[Point]] | None = None
    """Of each stage, what was drawn before: a search that is made again tries the same, whatever order the keys of its
    stages have now. None draws."""
    adaptive: bool = False
    """Optuna chooses each next point by the scores so far; otherwise `limit` points are drawn beforehand."""

    @property
    def searcher(self) -> str:
        """Its name."""
        if self.adaptive:
            return "optuna"
        return "grid" if self.limit is None else "random"

    def __len__(self) -> int:
        """Number of points that are tried."""
        return sum(self.tries(stage) for stage in range(len(self.stages)))

    def tries(self, stage: int) -> int:
        """Number of a stage's points that are tried."""
        size = math.prod(len(values) for values in self.stages[stage].values())
        return size if self.limit is None else min(size, self.limit)

    def points(self, stage: int) -> list[Point]:
        """A stage's points in the order written: those to try, or all where a searcher chooses among them."""
        if self.drawn is not None:
            return [dict(point) for point in self.drawn[stage]]
        every = grid(self.stages[stage])
        if self.limit is None or self.adaptive or len(every) <= self.limit:
            return every
        chosen = random.Random(self.seed).sample(range(len(every)), self.limit)
        return [every[i] for i in sorted(chosen)]

    def describe(self) -> dict[str, Any]:
        """JSON form, for a record."""
        found = {
            "stages": self.stages,
            "trials": len(self),
            "limit": self.limit,
            "seed": self.seed,
        }
        return {**found, **self.kind}

    @property
    def kind(self) -> dict[str, Any]:
        """What makes its trials other than those of a drawn search: they may end early, or depend on each other."""
        named = {
            "scheduler": self.scheduler,
            "searcher": self.searcher if self.adaptive else None,
        }
        return {key: value for key, value in named.items() if value is not None}


@dataclass(frozen=True)
class Search:
    """What was tried and what won."""

    best: Point
    value: float
    trials: list[Trial]


def grid(stage: Mapping[str, Sequence[Any]]) -> list[Point]:
    """All combinations of a stage's values, in the order written."""
    return [dict(zip(stage, values, strict=True)) for values in itertools.product(*stage.values())]


def axes(points: Sequence[Point]) -> dict[str, list[Any]]:
    """The values of each key that has several, in the order in which they stand."""
    found: dict[str, list[Any]] = {}
    for point in points:
        for key, value in point.items():
            values = found.setdefault(key, [])
            if value not in values:
                values.append(value)
    return {key: values for key, values in found.items() if len(values) > 1}


def search(space: Space, evaluate: Evaluate) -> Search:
    """Walk the stages.

    Args:
        space: what an earlier stage chose stays unless a later stage names the key.
        evaluate: tries what is asked for.

    Returns:
        The best point of all stages. Ties go to the point that was written first.

    Raises:
        HarnessError: every trial failed.
    """
    best: Point = {}
    value = -float("inf")
    trials: list[Trial] = []
    for stage in range(len(space.stages)):
        points = [{**best, **point} for point in space.points(stage)]
        asked = Asked(points, space.tries(stage))
        scored = list(evaluate(asked))
        if len(scored) != asked.count:
            raise HarnessError(f"{asked.count} points were asked for, {len(scored)} came back")
        as_written = sorted(scored, key=lambda trial: points.index(trial.point))
        trials += scored if space.adaptive else as_written
        for trial in as_written:
            if trial.value is not None and trial.value > value:
                best, value = trial.point, trial.value
    if value == -float("inf"):
        raise HarnessError(f"all {len(trials)} trials failed; the last: {trials[-1].error}")
    return Search(best, value, trials)
