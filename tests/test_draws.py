"""Draws that cannot succeed end in one line before they begin, by counts."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline.training import rank_test
from recbole_ext.recbole_compat.sampling import without_any_left
from recbole_ext.testing.nasty_contract import within
from recbole_ext.testing.tiny_data import pairs, some
from tests.problems import make_experiment, pairs_of, random_mask, train


@pytest.mark.parametrize("seed", range(20))
def test_who_has_nothing_left_is_found_by_counts(seed):
    mask = random_mask(seed, n_users=6, n_items=4, share=0.8)
    weights = np.array([0.0, 1.0, 2.0, 0.0])  # item 3 is never drawn
    users, items = pairs_of(mask)
    full = [u for u in np.unique(users) if mask[u, 1] and mask[u, 2]]
    found = without_any_left(users, items, weights)
    assert found == (full[0] if full else None)


def test_what_is_left_is_left_within_the_owners_block():
    users, items = np.array([1, 1, 2]), np.array([1, 2, 3])
    weights, blocks = np.array([0.0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 1])
    assert without_any_left(users, items, weights) is None
    assert without_any_left(users, items, weights, blocks) == 1


def write(folder, found):
    place = folder / "full"
    place.mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{u}\ti{i}\t{1000.5 + 7 * t % 1009}" for t, (u, i) in enumerate(found)]
    (place / "full.inter").write_text("\n".join(lines) + "\n")
    (place / "full.item").write_text(
        "item_id:token\ttitle:token_seq\n" + "".join(f"i{i}\tlamp {i}\n" for i in range(10))
    )
    return folder


def refusal(name, path, tmp_path, **given):
    """What is said in place of a training that would not end."""
    with within(60), pytest.raises(HarnessError) as said:
        train(make_experiment(name, "full", path, split="global_time", epochs=1, **given), tmp_path)
    return str(said.value)


@pytest.fixture
def all_but_one(tmp_path):
    """User 0 has every item that training has; item 9 is in the last part only."""
    first = pairs((0, range(9)), *some(8, 9)[1:])
    return write(tmp_path / "a", [*first, *((u, (u + 8) % 9) for u in range(1, 8)), (1, 9), (2, 9)])


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "a").mkdir()


@pytest.mark.parametrize("name", ["BPR", "NeuMF", "LightGCN"])
def test_popularity_that_leaves_a_user_nothing_is_one_line(name, all_but_one, tmp_path):
    args = "{distribution: popularity}"
    line = refusal(name, all_but_one, tmp_path, train_neg_sample_args=args)
    assert "user 'u0' of full has every item that training has" in line
    assert "draw with distribution: uniform" in line


def test_uniform_draws_reach_the_item_that_training_has_not(all_but_one, tmp_path):
    experiment = make_experiment(
        "BPR", "full", all_but_one, split="global_time", epochs=1, protocols="full"
    )
    with within(60):
        assert len(rank_test(train(experiment, tmp_path), experiment.problem))


def test_line_draws_users_and_says_which_item_all_of_them_have(tmp_path):
    found = [(u, 0) for u in range(6)] + [(u, 1 + (u + j) % 8) for j in range(5) for u in range(6)]
    line = refusal("LINE", write(tmp_path / "a", found), tmp_path)
    assert "every user of full has item 'i0' in training: leave that item out" in line


def test_a_model_of_ours_draws_nothing_for_a_user_with_everything(tmp_path):
    found = pairs((0, range(9)), *some(8, 9)[1:])
    path = write(tmp_path / "a", [*found, (1, 8), (2, 2), (3, 3), (4, 4), (5, 8), (6, 2)])
    line = refusal("AlphaRec", path, tmp_path, encoder="hash:8", num_neg=4)
    assert "AlphaRec draws negatives, but user 'u0'" in line


def test_a_sequential_model_with_one_item_is_told_of_the_softmax(tmp_path):
    args = "{distribution: popularity}"
    given = {"loss_type": "BPR", "train_neg_sample_args": args}
    path = write(tmp_path / "a", [*((u, u) for u in range(5)), *((u, 6) for u in range(9))])
    line = refusal("SASRec@recbole", path, tmp_path, **given)
    assert "'i6' is the only item of full that training has" in line and "--loss_type=CE" in line


def test_recboles_evaluator_is_refused_a_test_user_of_every_item_before_training(tmp_path):
    path = write(tmp_path / "a", pairs((0, range(9)), *some(8, 9)[1:]))
    experiment = make_experiment("Pop", "full", path, protocols="full,recbole-uni5", ks="1,5")
    with pytest.raises(HarnessError, match="test user 'u0' of full has every item"):
        _ = experiment.problem.test_task


def test_recboles_evaluator_is_refused_a_cut_off_beyond_the_catalogue(tiny_path):
    experiment = make_experiment("Pop", "tiny", tiny_path, protocols="recbole-uni5", ks="5,31")
    with pytest.raises(HarnessError, match="tiny has 30 items: choose --ks up to that"):
        _ = experiment.problem.test_task


def test_recboles_evaluator_is_refused_a_sequential_model_before_training(tiny_path):
    with pytest.raises(HarnessError, match=r"SASRec has no number .* for general models only"):
        make_experiment("SASRec", "tiny", tiny_path, protocols="recbole-uni5")


@pytest.mark.parametrize("name", ["FISM", "NAIS"])
def test_a_power_of_nothing_is_no_matter_of_the_learning_rate(name, tmp_path):
    """A user without a history has 0 to a negative power where alpha is above 0."""
    found = [*pairs(*some(8, 9)), *((9, i) for i in range(4))]
    given = {"split": "global_time", "epochs": 1, "alpha": 0.5, "protocols": "full"}
    experiment = make_experiment(name, "full", write(tmp_path / "a", found), **given)
    with pytest.raises(HarnessError) as said:
        rank_test(train(experiment, tmp_path), experiment.problem)
    line = str(said.value)
    assert "has no interaction in training: use --split=ratio" in line
    assert "learning rate" not in line
