"""What a model is built from takes no Python object for an interaction, and no second copy of what is large."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_ext.evaluator.ranks import make_task
from recbole_ext.recbole_compat import bench as benches
from recbole_ext.recbole_compat import interaction_rows
from tests.problems import built_on_tiny


def test_a_model_that_is_solved_asks_for_no_loader(tiny_path, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("nobody reads it")

    with monkeypatch.context() as patch:
        patch.setattr(benches, "loader_of", refuse)
        training, _ = built_on_tiny(tiny_path, tmp_path, side="items")
        fitted = training.fit(training.experiment.settings.params, "EASE")
        assert fitted.value > 0
    _, (_, bench) = built_on_tiny(tiny_path, tmp_path)
    assert bench.train_loader is bench.train_loader
    assert len(bench.train_loader.dataset) == len(bench.dataset)


def test_text_vectors_are_there_once_whatever_the_parts(tiny_path, tmp_path):
    _, (_, bench) = built_on_tiny(tiny_path, tmp_path, "L3AE", encoder="hash:16")
    places = {part.item_vectors.data_ptr() for part in bench.built}
    assert places == {bench.dataset.item_vectors.data_ptr()}


@pytest.mark.parametrize("split", ["ratio", "users"])
def test_rows_are_recboles_own_whatever_the_order_of_interactions(split, tiny_path, tmp_path):
    _, (_, bench) = built_on_tiny(tiny_path, tmp_path, split=split)
    some = [bench.dataset] if bench.folded is None else [bench.dataset, bench.folded]
    assert len(some) == (2 if split == "users" else 1)
    for dataset in some:
        order = np.random.default_rng(0).permutation(len(dataset.inter_feat))
        doubled = np.concatenate([order, order[:5]])
        for given in (dataset, dataset.copy(dataset.inter_feat[doubled])):
            expected = dataset.inter_matrix(form="csr").toarray() > 0
            rows = interaction_rows(given)
            assert rows.dtype == np.float32 and rows.has_canonical_format
            np.testing.assert_array_equal(rows.toarray(), expected)


def test_tokens_are_still_looked_up(tiny_path, tmp_path):
    training, (_, bench) = built_on_tiny(tiny_path, tmp_path)
    tokens = training.experiment.problem.data.item_tokens
    dataset = bench.dataset
    assert dataset.token2id(dataset.iid_field, tokens[3]) == 4
    assert dataset.id2token(dataset.iid_field, 4) == tokens[3]
    assert dataset.num(dataset.iid_field) == len(tokens) + 1
    with pytest.raises(ValueError, match="nothing"):
        dataset.token2id(dataset.iid_field, "nothing")


def test_exclusions_of_users_without_positives_change_no_task():
    positives = np.array([7, 7, 2]), np.array([1, 4, 0])
    theirs = np.array([2, 7]), np.array([3, 4])
    strangers = np.array([1, 9, 3, 9]), np.array([4, 0, 2, 0])
    both = tuple(np.concatenate(pair) for pair in zip(theirs, strangers, strict=True))
    one, other = make_task(5, positives, theirs), make_task(5, positives, both)
    for name in ("users", "pos_indptr", "pos_items", "exc_indptr", "exc_items"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.users.tolist() == [2, 7] and one.pos_items.tolist() == [0, 1]
    empty = make_task(5, (np.array([]), np.array([])), strangers)
    assert len(empty.users) == len(empty.exc_items) == 0
