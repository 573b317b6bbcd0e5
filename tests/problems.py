"""Experiments for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbole_ext.config import resolve
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.problem import Problem
from recbole_ext.experiment import Experiment, prepare
from recbole_ext.pipeline.training import Training
from recbole_ext.registry import find_model
from recbole_ext.trainer.setup import Fitted
from recbole_ext.tune.search import Space


def make_experiment(
    model: str, dataset: str, data_path: Path | None = None, tune: bool = False, **given: object
) -> Experiment:
    """The experiment of `--model --dataset --key=value ..`."""
    spec, found = find_model(model), find_dataset(dataset, data_path)
    (settings,) = resolve([spec], found.options, {key: str(value) for key, value in given.items()})
    space = Space(settings.space) if tune else None
    return prepare(spec, settings, Problem(found, settings.dataset, settings.evaluation), space)


def train(experiment: Experiment, scratch: Path, saved: Path | None = None) -> Fitted:
    """Fit (or load) an experiment's model with its own parameters."""
    training = Training(experiment, experiment.embeddings(), scratch)
    params = experiment.settings.params
    return training.fit(params, "test") if saved is None else training.load(params, saved)


def pairs_of(mask):
    """(users, items) of a boolean [n_users, n_items] matrix, item 0 being padding."""
    mask = mask.copy()
    mask[:, 0] = False
    return np.nonzero(mask)


def random_mask(seed, n_users=7, n_items=9, share=0.4):
    return np.random.default_rng(seed).random((n_users, n_items)) < share
