"""A staged grid: each stage is a grid searched from the best point so far. Selection sees validation only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_ext.errors import HarnessError

Point = dict[str, Any]
Evaluate = Callable[[list[Point]], Iterator[tuple[Point, float]]]


@dataclass(frozen=True)
class Search:
    """What was tried and what won."""

    best: Point
    value: float
    trials: list[tuple[Point, float]]


def grid(stage: Mapping[str, Sequence[Any]]) -> list[Point]:
    """All combinations of a stage's values, in the order written."""
    return [dict(zip(stage, values, strict=True)) for values in itertools.product(*stage.values())]


def size(stages: Sequence[Mapping[str, Sequence[Any]]]) -> int:
    """Number of points that a search of `stages` tries."""
    return sum(len(grid(stage)) for stage in stages)


def search(stages: Sequence[Mapping[str, Sequence[Any]]], evaluate: Evaluate) -> Search:
    """Walk the stages.

    Args:
        stages: each maps keys to the values to try; what an earlier stage chose stays unless the stage names the key.
        evaluate: points -> (point, validation score) in any order; larger is better.

    Returns:
        The best point of all stages. Ties go to the point that was written first.
    """
    best: Point = {}
    value = -float("inf")
    trials: list[tuple[Point, float]] = []
    for stage in stages:
        points = [{**best, **point} for point in grid(stage)]
        scored = list(evaluate(points))
        if len(scored) != len(points):
            raise HarnessError(f"{len(points)} points were asked for, {len(scored)} came back")
        scored.sort(key=lambda pair: points.index(pair[0]))
        trials += scored
        for point, score in scored:
            if score > value:
                best, value = point, score
    return Search(best, value, trials)
