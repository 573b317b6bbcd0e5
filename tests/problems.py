"""Experiments for tests, and matrices."""

from __future__ import annotations

import numpy as np

from recbole_ext.testing import make_experiment, train

__all__ = ["make_experiment", "pairs_of", "random_mask", "train"]


def pairs_of(mask):
    """(users, items) of a boolean [n_users, n_items] matrix, item 0 being padding."""
    mask = mask.copy()
    mask[:, 0] = False
    return np.nonzero(mask)


def random_mask(seed, n_users=7, n_items=9, share=0.4):
    return np.random.default_rng(seed).random((n_users, n_items)) < share
