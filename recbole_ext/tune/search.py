"""A staged grid: each stage is a grid searched from the best point so far. Selection sees validation only."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_ext.errors import HarnessError

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


Evaluate = Callable[[list[Point]], Iterator[Trial]]


@dataclass(frozen=True)
class Space:
    """What `--tune` searches: stages of grids, all their points or a number drawn from each."""

    stages: Stages
    limit: int | None = None
    """Points of a stage that has more: that many are drawn, without replacement. None tries all."""
    seed: int = 0
    """Of the drawing, and of the models that are trained while searching."""
    scheduler: str | None = None
    """`asha` where a sweep ends unpromising trials early; None trains each to its own end."""

    def __len__(self) -> int:
        """Number of points that are tried."""
        return sum(len(self.points(stage)) for stage in range(len(self.stages)))

    def points(self, stage: int) -> list[Point]:
        """A stage's points in the order written."""
        every = grid(self.stages[stage])
        if self.limit is None or len(every) <= self.limit:
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
        return found if self.scheduler is None else {**found, "scheduler": self.scheduler}


@dataclass(frozen=True)
class Search:
    """What was tried and what won."""

    best: Point
    value: float
    trials: list[Trial]


def grid(stage: Mapping[str, Sequence[Any]]) -> list[Point]:
    """All combinations of a stage's values, in the order written."""
    return [dict(zip(stage, values, strict=True)) for values in itertools.product(*stage.values())]


def search(space: Space, evaluate: Evaluate) -> Search:
    """Walk the stages.

    Args:
        space: what an earlier stage chose stays unless a later stage names the key.
        evaluate: points -> trials in any order.

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
        scored = list(evaluate(points))
        if len(scored) != len(points):
            raise HarnessError(f"{len(points)} points were asked for, {len(scored)} came back")
        scored.sort(key=lambda trial: points.index(trial.point))
        trials += scored
        for trial in scored:
            if trial.value is not None and trial.value > value:
                best, value = trial.point, trial.value
    if value == -float("inf"):
        raise HarnessError(f"all {len(trials)} trials failed; the last: {trials[-1].error}")
    return Search(best, value, trials)
