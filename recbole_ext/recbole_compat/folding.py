"""Users that training has not seen: what they have is folded in when a model scores, and nothing is learnt from it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.recbole_compat.bench import Bench

if TYPE_CHECKING:
    import torch

Family = Callable[[Ints], Iterator["torch.Tensor"]]
"""users [B] -> a matrix [B, n_items] for each point of a group."""


def folded_in(model: Any, bench: Bench) -> Any:
    """The model as it scores: all that it learnt, and the rows of `bench.folded` in place of those of training.

    A model of ours or of another package offers `fold_in(dataset)`; RecBole's are known here. The model that trains keeps
    its rows: what is given back is a shallow copy, which shares its parameters. Where nothing is folded in it is the model.
    """
    if bench.folded is None:
        return model
    scoring = copy.copy(model)
    fold_in = getattr(scoring, "fold_in", None) or functools.partial(_fold_in, scoring)
    fold_in(bench.folded)
    return scoring


def measures(model: Any, bench: Bench) -> dict[str, float]:
    """What a model says of itself as it scores; nothing of one without `measures()`."""
    scoring = folded_in(model, bench)
    return dict(scoring.measures()) if hasattr(scoring, "measures") else {}


def _fold_in(model: Any, dataset: Any) -> None:
    """Make a model of RecBole's read other rows; Pop and Random read none."""
    from recbole.model.abstract_recommender import AutoEncoderMixin
    from recbole.model.general_recommender import ADMMSLIM, EASE, ItemKNN, SLIMElastic

    if isinstance(model, AutoEncoderMixin):
        model.build_histroy_items(dataset)
    elif isinstance(model, ADMMSLIM | EASE | SLIMElastic):
        model.interaction_matrix = _rows(dataset)
    elif isinstance(model, ItemKNN):
        model.pred_mat = _rows(dataset).dot(model.w).tolil()


def _rows(dataset: Any) -> Any:
    return dataset.inter_matrix(form="csr").astype(np.float32)


def families(model: Any, bench: Bench, points: Sequence[Any]) -> Iterator[tuple[list[Any], Family]]:
    """Groups of points that share a factorisation, each with its scores.

    Args:
        model: with `families`, in RecBole's ids; its own weights stay as they are.
        bench: what it was built from.
        points: of its search space.
    """
    import torch

    for group, scorer in folded_in(model, bench).families(points):

        def scores(users: Ints, scorer: Any = scorer) -> Iterator[torch.Tensor]:
            for matrix in scorer(torch.from_numpy(users + 1)):
                yield matrix[:, 1:]

        yield group, scores
