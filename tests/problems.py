"""Experiments for tests, and matrices."""

from __future__ import annotations

import numpy as np

from recbole_ext.pipeline.training import Training
from recbole_ext.testing import make_experiment, train

__all__ = ["built_on_tiny", "make_experiment", "pairs_of", "random_mask", "train"]


def built_on_tiny(tiny_path, scratch, model="EASE", **given):
    """(What trains a model on the tiny data set, (the model, what it was built from)), before any training."""
    experiment = make_experiment(model, "tiny", tiny_path, **given)
    training = Training(experiment, experiment.embeddings(), scratch)
    return training, training.build(experiment.settings.params)


def pairs_of(mask):
    """(users, items) of a boolean [n_users, n_items] matrix, item 0 being padding."""
    mask = mask.copy()
    mask[:, 0] = False
    return np.nonzero(mask)


def random_mask(seed, n_users=7, n_items=9, share=0.4):
    return np.random.default_rng(seed).random((n_users, n_items)) < share
