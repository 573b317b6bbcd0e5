"""The trainer of models that are solved, not stepped. It validates like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from recbole_ext.evaluator.ranks import Ints, RankTask, rank
from recbole_ext.evaluator.summary import mean_of


class ClosedFormTrainer:
    """`fit` solves and validates once.

    A model offers `solve()`, and, if it can be tuned, `families(points)`: groups of points that share a factorisation,
    each with a function from users (RecBole ids) to one score matrix [B, n_items + 1] per point.
    """

    def __init__(self, model: Any, validate: Callable[[], float]) -> None:
        self.model, self.validate = model, validate

    def fit(self) -> float:
        """The validation score of the solved model."""
        self.model.solve()
        return self.validate()


def evaluate_family(
    model: Any, points: list[dict[str, Any]], task: RankTask, metric: str
) -> Iterator[tuple[dict[str, Any], float]]:
    """(point, validation score) of every point of a model with `families`; its own weights stay as they are."""
    import torch

    with torch.no_grad():
        for group, scorer in model.families(points):

            def scores(users: Ints, scorer: Any = scorer) -> Iterator[torch.Tensor]:
                for matrix in scorer(torch.from_numpy(users + 1)):
                    yield matrix[:, 1:]

            tables = rank(task, scores)
            yield from zip(group, (mean_of(table, metric) for table in tables), strict=True)
