"""What is left to draw: whether training's draws can succeed, from counts, before the first is made.

RecBole draws a value until one comes that its owner does not have: for ever, where the owner has all that can come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError
from recbole_ext.recbole_compat.bench import Bench
from recbole_ext.recbole_compat.rows import training_pairs

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Draw:
    """Values that are drawn for owners, other than those that they have."""

    owners: Array
    """[n] of what an owner has, each pair once."""
    values: Array
    """[n]."""
    weights: Array
    """[values] that a draw takes each in proportion to; 0 for what never comes."""
    kind: str
    """Of the owners: `user`, `item`, or `target`, an item whose negatives are all others."""
    blocks: Array | None = None
    """[values] what an owner's draws stay within, None for all."""


def check_draws(bench: Bench, model: Any) -> None:
    """Refuse a training some of whose draws would never end.

    Raises:
        HarnessError: the line names who has everything that could be drawn, and what to change.
    """
    from recbole_ext.recbole_compat.sampling import without_any_left

    for draw in _draws(bench, model):
        owner = without_any_left(draw.owners, draw.values, draw.weights, draw.blocks)
        if owner is not None:
            raise HarnessError(_line(bench, model, draw, owner))


def _draws(bench: Bench, model: Any) -> Iterator[_Draw]:
    """What a training of the model draws."""
    from recbole.model.general_recommender import LINE
    from recbole.utils import ModelType

    from recbole_ext.recbole_compat.sampling import Negatives

    config, dataset, sampler = bench.config, bench.dataset, bench.train_loader._sampler
    every = np.ones(dataset.item_num)
    every[0] = 0
    pairs = training_pairs(dataset)
    if sampler is not None:
        taken = dataset.inter_feat[dataset.iid_field].numpy()
        weights = every
        if sampler.distribution == "popularity":
            counts = np.bincount(taken, minlength=dataset.item_num)
            weights = (counts / counts.sum()) ** sampler.alpha * (counts > 0)
        if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
            targets = np.unique(taken)
            yield _Draw(targets, targets, weights, "target")
        else:
            yield _Draw(*pairs, weights, "user")
    negatives = getattr(model, "negatives", None)
    if isinstance(negatives, Negatives):
        yield _Draw(*pairs, every, "user", dataset.item_blocks)
    if isinstance(model, LINE):
        users = np.ones(dataset.user_num)
        users[0] = 0
        yield _Draw(pairs[1], pairs[0], users, "item")


def _line(bench: Bench, model: Any, draw: _Draw, owner: int) -> str:
    config, dataset = bench.config, bench.dataset
    name, data = bench.name, dataset.dataset_name
    by_popularity = getattr(bench.train_loader._sampler, "distribution", None) == "popularity"
    which = "that training has" if by_popularity else "in training"
    uniform = ", or draw with distribution: uniform" if by_popularity else ""
    if draw.kind == "user":
        user = dataset.field2id_token[dataset.uid_field][owner]
        return (
            f"{name} draws negatives, but user '{user}' of {data} has every item {which}: "
            f"leave that user out of the data{uniform}"
        )
    if draw.kind == "item":
        item = dataset.field2id_token[dataset.iid_field][owner]
        return (
            f"{name} draws users without an item, but every user of {data} has item '{item}' in training: "
            "leave that item out of the data"
        )
    item = dataset.field2id_token[dataset.iid_field][owner]
    softmax = " or --loss_type=CE, which draws none" if "loss_type" in config else ""
    return (
        f"{name} draws negatives, but '{item}' is the only item of {data} {which}: "
        f"lower --min_user and --min_item for more items{softmax}{uniform}"
    )
