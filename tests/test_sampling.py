"""Draws against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat.sampling import Negatives, UserUniform
from tests.problems import make_experiment, pairs_of, random_mask


@given(st.integers(0, 50), st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_negatives_are_what_a_user_does_not_have(seed, share):
    mask = random_mask(seed, share=share)
    users, items = pairs_of(mask)
    drawn = Negatives(users, items, *mask.shape)(torch.arange(mask.shape[0]), 50).numpy()
    assert drawn.min() >= 1 and drawn.max() < mask.shape[1]
    for user in range(mask.shape[0]):
        free = set(range(1, mask.shape[1])) - set(items[users == user])
        assert set(drawn[user]) <= free if free else set(drawn[user]) == {mask.shape[1] - 1}


def test_negatives_are_uniform_and_every_one_can_come():
    mask = np.zeros((3, 40), dtype=bool)
    mask[1, [1, 2, 3, 17, 38, 39]] = True
    torch.manual_seed(0)
    negatives = Negatives(*pairs_of(mask), *mask.shape)
    drawn = negatives(torch.tensor([1]), 66_000).numpy().ravel()
    counts = np.bincount(drawn, minlength=40)
    free = sorted(set(range(1, 40)) - {1, 2, 3, 17, 38, 39})
    assert counts[free].sum() == 66_000
    assert stats.chisquare(counts[free]).pvalue > 1e-4


def test_positives_are_uniform_over_users_then_over_their_items():
    mask = np.zeros((5, 12), dtype=bool)
    mask[1, 1:10], mask[2, [3, 4]], mask[4, 11] = True, True, True  # users 0 and 3 have none
    torch.manual_seed(0)
    users, items = UserUniform(*pairs_of(mask), len(mask))(30_000)
    assert mask[users.numpy(), items.numpy()].all()
    counts = np.bincount(users.numpy(), minlength=5)
    assert counts[[0, 3]].sum() == 0 and stats.chisquare(counts[[1, 2, 4]]).pvalue > 1e-4
    of_one = np.bincount(items[users == 1].numpy(), minlength=12)[1:10]
    assert stats.chisquare(of_one).pvalue > 1e-4


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "NeuMF", "AlphaRec"])
def test_batches_are_drawn_by_user_where_that_is_asked_for(model, tiny_path, tmp_path):
    """A user of many items is a row of many pairs; drawn by user it is one of the others."""
    seen = {}
    for how in ("interaction", "user_uniform"):
        given = {"encoder": "hash:16"} if model == "AlphaRec" else {}
        experiment = make_experiment(model, "tiny", tiny_path, pos_sampling=how, **given)
        _, bench = Training(experiment, experiment.embeddings(), tmp_path).build(
            experiment.settings.params
        )
        pairs = bench.dataset.inter_matrix(form="csr").toarray()
        users, items = [], []
        for _ in range(30):
            for batch in bench.train_loader:
                wanted = batch["label"] == 1 if "label" in batch else slice(None)
                users.append(batch["user_id"][wanted])
                items.append(batch["item_id"][wanted])
        drawn, drawn_items = torch.cat(users).numpy(), torch.cat(items).numpy()
        assert (pairs[drawn, drawn_items] > 0).all()
        assert len(drawn) == 30 * pairs.sum()
        seen[how] = np.bincount(drawn, minlength=len(pairs))[1:]
    of_user = pairs.sum(1)[1:]
    assert (seen["interaction"] == 30 * of_user).all() and of_user.std() > 0
    assert stats.chisquare(seen["user_uniform"]).pvalue > 1e-4
