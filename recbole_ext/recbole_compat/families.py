"""Scores of many points of a search space at once, by a model whose points share a factorisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from recbole_ext.core.arrays import Ints

if TYPE_CHECKING:
    import torch

    from recbole_ext.recbole_compat.bench import Bench

Family = Callable[[Ints], Iterator["torch.Tensor"]]
"""users [B] -> a matrix [B, n_items] for each point of a group."""


def families(model: Any, bench: Bench, points: Sequence[Any]) -> Iterator[tuple[list[Any], Family]]:
    """Groups of points that share a factorisation, each with its scores.

    Args:
        model: with `families`, in RecBole's ids; its own weights stay as they are.
        bench: what it was built from.
        points: of its search space.
    """
    import torch

    for group, scorer in model.families(points):

        def scores(users: Ints, scorer: Any = scorer) -> Iterator[torch.Tensor]:
            for matrix in scorer(torch.from_numpy(users + 1)):
                yield matrix[:, 1:]

        yield group, scores
