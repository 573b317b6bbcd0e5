"""RecBole's config, dataset, loader and model, fed from memory."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.interactions import Interactions
from recbole_ext.data.splits import TRAIN, Split
from recbole_ext.recbole_compat.beside import Beside
from recbole_ext.recbole_compat.boundary import by_recbole
from recbole_ext.recbole_compat.config import config_class, fixed
from recbole_ext.recbole_compat.dataset import dataset_class
from recbole_ext.recbole_compat.loader import loader_of
from recbole_ext.recbole_compat.rows import validation_rows
from recbole_ext.recbole_compat.stack import model_class, recbole


@dataclass(frozen=True)
class Bench:
    """What a model needs to be built and trained, all of it RecBole's."""

    name: str
    """Of the model as it was typed, for messages: `SASRec@recbole` is SASRec in RecBole's config."""
    config: Any
    dataset: Any
    """Training part. Has `item_vectors` [n_items + 1, d] (row 0 is padding), and `forget_item_vectors()`, when the model reads text, `item_titles` [n_items + 1] (the
    first is "") when it reads titles, `item_texts()` [n_items] or None, `user_vectors` [n_users + 1, d] or None, and `item_blocks` [n_items + 1] or None. `validation_rows()` is what stages may stop by: [n_users + 1, n_items + 1] scipy csr, all that users with a
    validation part have but for their test part, the other rows empty. A general model's has `labels` [N], in the order of its interactions, None where there are none, `rows` [N], their places among all
    interactions, and `histories()`, a `data.histories.Histories` of all of those, items counted from 0. Of a model with `whole_histories`
    it holds each training interaction once, by user and then by place; of another sequential one RecBole's prefixes of histories."""
    make_loader: Callable[[], Any]
    """Of `train_loader`; called once."""
    built: tuple[Any, Any, Any] | None
    """RecBole's (train, valid, test) datasets; None for sequential models."""
    places: Ints | None
    """[N] of each interaction in its user's history, for a model that reads histories in order."""
    folded: Any = None
    """Training part and what is folded in of users whom it lacks, in one; None where nothing is, and for sequential models,
    which are given histories."""

    @cached_property
    def train_loader(self) -> Any:
        """RecBole's batches of the training part. Its loader and sampler hold a Python object for each interaction, 150 bytes
        of it: a model that is solved, or that makes batches of its own, never asks."""
        return self.make_loader()

    def read_of(self, data: Interactions, split: Split, *parts: int) -> tuple[Ints, Ints]:
        """(Users, items) of the interactions in any of `parts`, of which a model that reads histories makes its input;
        none for another, to which they would be copies of everything."""
        return split.pairs(data, *(parts if self.places is not None else ()))


def prepare(
    model: type | str,
    params: Mapping[str, Any],
    data: Interactions,
    split: Split,
    *,
    name: str,
    seed: int,
    device: str,
    scratch: Path,
    beside: Beside,
) -> Bench:
    """Seed everything and build config, dataset and training loader.

    Args:
        model: a RecBole model subclass, or a RecBole model name.
        params: model and training parameters, already checked; they win over RecBole's files.
        data: interactions in canonical order.
        split: their parts.
        name: of the model, as it was typed.
        seed: of every random generator.
        device: `cpu` or `cuda`.
        scratch: a folder for whatever RecBole insists on creating.
        beside: texts, titles and what else a model reads.
    """
    recbole()
    import torch
    from recbole.utils import ModelType, init_seed

    with by_recbole(name, data.name):
        model = model_class(model)
        config = config_class()(
            model=model,
            dataset=data.name,
            config_dict={
                **fixed(seed, scratch),
                **params,
                "harness_device": device,
            },
        )
        sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        in_order = sequential or bool(config["time-aware"])  # DiffRec's key
        if in_order:
            _check_histories(name, data, split)
        init_seed(seed, True)
        # Several threads that add into one row (the gradient of an index) would add in any order, and a run would not repeat.
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Its other half costs time, and nothing here reads memory that was never written.
        deterministic: Any = torch.utils.deterministic
        deterministic.fill_uninitialized_memory = False
        places = split.places(data) if in_order else None
        whole = bool(getattr(model, "whole_histories", False))
        dataset = dataset_class(sequential)(config, data, split, places, whole)
        built = dataset.build()
        beside.put(built)
        built[0].validation_rows = functools.partial(validation_rows, data, split)
        folded = dataset.with_histories()
        loader = functools.partial(loader_of, name, config, built[0], folded is not None, params)
        if not sequential:
            built[0].labels = None if data.label is None else data.label[split.part == TRAIN]
            built[0].rows = np.flatnonzero(split.part == TRAIN)
            built[0].histories = functools.partial(split.histories, data)
        parts = None if sequential else (built[0], built[1], built[2])
        bench = Bench(name, config, built[0], loader, parts, places, folded)
        if not (hasattr(model, "solve") or hasattr(model, "stages")):
            _ = bench.train_loader
        return bench


def _check_histories(model: str, data: Interactions, split: Split) -> None:
    """Refuse data in which nothing follows anything.

    Raises:
        HarnessError: there are no times, or no user has two interactions in training.
    """
    if data.time is None:
        raise HarnessError(
            f"{model} reads histories in order, but {data.name} has no timestamp column"
        )
    if np.bincount(split.pairs(data, TRAIN)[0]).max(initial=0) < 2:
        raise HarnessError(
            f"{model} learns which item follows another, but no user of {data.name} has two interactions in training: "
            "raise --min_user, or the first share of --split_ratio"
        )


def build_model(model: type | str, bench: Bench) -> Any:
    """The model on its device. RecBole's own models are found by name."""
    from recbole_ext.recbole_compat.propagation import quicken

    cls = model_class(model)
    with warnings.catch_warnings(), by_recbole(bench.name, bench.dataset.dataset_name):
        warnings.simplefilter("ignore")
        built = cls(bench.config, bench.dataset).to(bench.config["device"])
        quicken(built)
        return built
