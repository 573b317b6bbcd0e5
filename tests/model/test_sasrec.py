"""SASRec: one pass over all places gives what a pass for each gives, and nothing sees what is later, or padding."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.splits import TRAIN
from recbole_ext.model.sequences import Windows, left_padded
from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat import score_function
from recbole_ext.trainer import training as stage_training
from tests.model.test_ctr_models import slow_block
from tests.problems import make_experiment, train

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "split": "leave_one_out",
    "protocols": "full",
    "threads": 1,
    "hidden_size": 8,
    "MAX_ITEM_LIST_LENGTH": 6,
    "train_batch_size": 16,
    "epochs": 2,
}


def experiment(tiny_path, **given):
    return make_experiment("SASRec", "tiny", tiny_path, **{**SMALL, **given})


def untrained(tiny_path, scratch, **given):
    of = experiment(tiny_path, **given)
    model, bench = Training(of, None, scratch).build(of.settings.params)
    return model.eval(), bench, of


def slow_states(model, history):
    """[L, d] states of all places of one history, each by loops in double precision over that history alone."""
    table = {name: value.double() for name, value in model.state_dict().items()}
    x = table["items.weight"][torch.tensor(history)] * model.items.embedding_dim**0.5
    x = x + table["places.weight"][model.longest - len(history) :]
    for block in model.blocks:
        x = slow_block(block, x, torch.ones(len(history)))
    return model.last.double()(x)


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_the_loss_of_a_batch_is_a_loop_over_its_places(loss, tiny_path, tmp_path):
    model, _, _ = untrained(tiny_path, tmp_path, loss=loss)
    loader = model.stages()[0].loader
    batch = users, seen, following = loader.batch(np.arange(9))
    assert len({int(n) for n in loader.lengths[:9]}) > 1  # some of it is padding
    torch.manual_seed(3)
    with torch.no_grad():
        fast = float(model.loss(batch))
    torch.manual_seed(3)
    drawn = []
    if loss == "bce":
        owners = [int(u) for u, row in zip(users, following, strict=True) for n in row if n]
        drawn = model.negatives(torch.tensor(owners), 1)[:, 0].tolist()
        for owner, item in zip(owners, drawn, strict=True):
            assert item not in model.item[model.user == owner]
    above, below, place = [], [], 0
    with torch.no_grad():
        table = model.items.weight.double()
        for row, wanted in zip(seen.tolist(), following.tolist(), strict=True):
            history = [item for item in row if item]
            states = slow_states(model, history)
            assert len(history) == sum(item > 0 for item in wanted)
            for state, item in zip(states, wanted[-len(history) :], strict=True):
                scores = table @ state
                if loss == "bce":
                    above.append(-np.log(1 / (1 + np.exp(-float(scores[item])))))
                    below.append(-np.log(1 - 1 / (1 + np.exp(-float(scores[drawn[place]])))))
                else:
                    above.append(float(torch.logsumexp(scores[1:], 0) - scores[item]))
                    below.append(0.0)
                place += 1
    # Single precision against double, two layers of eight units.
    assert fast == pytest.approx(np.mean(above) + np.mean(below), rel=1e-5)


def test_what_is_learnt_from_is_each_users_training_items_in_order(tiny_path, tmp_path):
    model, _, of = untrained(tiny_path, tmp_path, MAX_ITEM_LIST_LENGTH=50)
    problem = of.problem
    data, places = problem.data, problem.split.places(problem.data)
    windows = model.stages()[0].loader
    found = {}
    for user, row, following in zip(*(of.tolist() for of in windows.batch(np.arange(len(windows.lengths)))), strict=True):  # fmt: skip
        found[user - 1] = [*(i for i in row if i), following[-1]]
        assert [i for i in following if i] == found[user - 1][1:]
    for user in range(40):
        rows = np.flatnonzero((data.user == user) & (problem.split.part == TRAIN))
        rows = rows[np.argsort(places[rows])]
        assert found.get(user, []) == (data.item[rows] + 1).tolist() or len(rows) < 2


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("step", [None, 1, 2, 3])
def test_an_epoch_has_every_window_once_and_windows_every_place_once(size, step):
    rng = np.random.default_rng(0)
    lengths = [1, 2, 3, 4, 5, 7, 8, 11, 2, 6]
    user = np.repeat(np.arange(1, 11), lengths)
    item = rng.integers(1, 60, len(user)) + 100 * user  # tells whose it is
    windows = Windows(user, item, 3, size, step)
    batches = list(windows(torch.Generator().manual_seed(1)))
    assert len(batches) == len(windows)
    steps = []
    for users, seen, following in batches:
        assert seen.shape[1] <= 3 and (seen[following > 0] > 0).all()
        assert step in (1, 2) or ((seen > 0) == (following > 0)).all()  # windows apart: all of each
        for owner, row, after in zip(users.tolist(), seen.tolist(), following.tolist(), strict=True):  # fmt: skip
            assert all(i // 100 == owner for i in [*row, *after] if i)
            before = [i for i in row if i]
            learnt = [n for n in after if n]
            assert after[-len(learnt) :] == learnt  # the latest of a window
            first = len(before) - len(learnt)  # places that are read but not learnt
            steps += [(tuple(before[: first + n]), i) for n, i in enumerate(learnt, 1)]
    slow = []
    for number, length in enumerate(lengths, 1):
        mine = item[user == number].tolist()
        ends = [length - 1]  # of windows, from the latest
        while step is not None and ends[-1] > 3:
            ends.append(ends[-1] - step)
        for place in range(1, length):  # the earliest window that reaches it has most before it
            reach = [end for end in ends if end - 3 < place <= end]
            if reach:
                slow.append((tuple(mine[max(0, min(reach) - 3) : place]), mine[place]))
    assert sorted(steps) == sorted(slow)
    assert len(slow) == sum(min(n - 1, 3) if step is None else n - 1 for n in lengths)
    again = list(windows(torch.Generator().manual_seed(1)))
    other = list(windows(torch.Generator().manual_seed(2)))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(batches, again, strict=True))
    if size == 3:
        assert [b[0].tolist() for b in batches] != [b[0].tolist() for b in other]


def test_what_is_later_changes_no_state_and_what_is_earlier_does(tiny_path, tmp_path):
    model, _, _ = untrained(tiny_path, tmp_path)
    one = torch.tensor([[3, 9, 4, 7, 1, 2]])
    with torch.no_grad():
        states = model.states(one)[0]
        for place in range(6):
            other = one.clone()
            other[0, place] = 11
            changed = (model.states(other)[0] != states).any(1)
            assert not changed[:place].any() and changed[place:].all()


def test_a_state_does_not_depend_on_padding_or_on_who_shares_the_batch(tiny_path, tmp_path):
    model, _, _ = untrained(tiny_path, tmp_path)
    with torch.no_grad():
        alone = model.user_states([[5, 8]])
        beside = model.user_states([[1, 2, 3, 4, 5, 6], [5, 8], []])
        # Beside others it is padded to six places.
        torch.testing.assert_close(beside[1], alone[0], atol=1e-6, rtol=1e-5)
        model.items.weight[0] = 9.0  # what stands at padding reaches nothing
        torch.testing.assert_close(model.user_states([[7], [5, 8]])[1], alone[0], atol=1e-6, rtol=1e-5)  # fmt: skip
        assert torch.isfinite(beside).all()
        long = model.user_states([[9, 9, 9, 1, 2, 3, 4, 5, 6]])
        torch.testing.assert_close(long[0], beside[0], atol=1e-6, rtol=1e-5)


def test_rows_of_recbole_are_put_to_the_right():
    items = torch.tensor([[4, 5, 0, 0], [6, 7, 8, 0], [0, 0, 0, 0]])
    found = left_padded(items, torch.tensor([2, 3, 1]))
    assert found.tolist() == [[0, 4, 5], [6, 7, 8], [0, 0, 0]]


def test_scores_are_products_of_user_states_and_the_item_table(tiny_path, tmp_path):
    of = experiment(tiny_path)
    fitted, problem = train(of, tmp_path), of.problem
    data, places = problem.data, problem.split.places(problem.data)
    pairs = problem.split.pairs(data, *problem.seen_at_test)
    scores = score_function(fitted.model, fitted.bench, data, pairs)(np.arange(40))
    histories = []
    for user in range(40):
        rows = np.flatnonzero((data.user == user) & np.isin(problem.split.part, problem.seen_at_test))  # fmt: skip
        histories.append((data.item[rows[np.argsort(places[rows])]] + 1).tolist())
    with torch.no_grad():
        expected = fitted.model.user_states(histories) @ fitted.model.item_table[1:].T
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)
    assert fitted.model.item_table.shape == (31, 8) and not fitted.model.item_table[0].any()


def test_a_user_and_an_item_without_training_have_finite_scores(tmp_path):
    """By moments, users come in late and items are new: scores of both are numbers."""
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{u}\ti{(u + j) % 9}\t{100 * j + u}" for u in range(9) for j in range(6)]
    lines += [f"late{u}\tnew{u}\t{2000 + u}" for u in range(8)]
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "late.inter").write_text("\n".join(lines) + "\n")
    of = make_experiment("SASRec", "late", tmp_path, **{**SMALL, "split": "global_time"})
    fitted, problem = train(of, tmp_path), of.problem
    scores = fitted.scorer(problem, *problem.seen_at_test)(np.arange(len(problem.data.user_tokens)))
    assert torch.isfinite(scores).all()
    strangers = [i for i, t in enumerate(problem.data.user_tokens) if t.startswith("late")]
    assert len(strangers) > 2 and torch.equal(scores[strangers[-1]], scores[strangers[-2]])


def test_a_user_with_everything_is_refused_by_drawn_negatives_and_not_by_the_softmax(tmp_path):
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{u}\ti{(u + j) % 6}\t{10 * j + u}" for u in range(6) for j in range(4)]
    lines += [f"all\ti{j}\t{j}" for j in range(6)]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "full.inter").write_text("\n".join(lines) + "\n")
    given = {**SMALL, "split": "global_time", "split_ratio": "[0.5,0.25,0.25]"}
    with pytest.raises(HarnessError, match="'all' of full has every item in training: leave that"):
        train(make_experiment("SASRec", "full", tmp_path, **given), tmp_path)
    train(make_experiment("SASRec", "full", tmp_path, **given, loss="ce"), tmp_path)


def test_heads_that_do_not_divide_the_width_are_one_line(tiny_path, tmp_path):
    with pytest.raises(HarnessError, match="--hidden_size=8 is no multiple of --n_heads=3"):
        untrained(tiny_path, tmp_path, n_heads=3)


def test_seeds_differ_and_one_seed_repeats(tiny_path, tmp_path):
    weights = [
        train(experiment(tiny_path, seed=seed), tmp_path / str(place)).model.items.weight
        for place, seed in enumerate((1, 1, 2))
    ]
    assert torch.equal(weights[0], weights[1]) and not torch.allclose(weights[0], weights[2])


def test_killed_in_the_midst_it_goes_on_and_ends_as_if_it_had_not_been(
    tiny_path, tmp_path, monkeypatch
):
    def fit(folder):
        of = experiment(tiny_path, epochs=3)
        training = Training(of, None, tmp_path, tmp_path / folder)
        return training.fit(of.settings.params, "SASRec").model

    whole = fit("whole")
    saves, save = [], stage_training.StageTraining._save

    def dying(self, *args):
        save(self, *args)
        saves.append(1)
        if len(saves) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage_training, "SAVED_EVERY", -1.0)
        patch.setattr(stage_training.StageTraining, "_save", dying)
        with pytest.raises(KeyboardInterrupt):
            fit("half")
    assert list((tmp_path / "half" / ".stages").glob("*/checkpoint.safetensors"))
    resumed = fit("half")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])
    (told,) = (tmp_path / "whole" / ".stages").glob("*/stage.json")
    assert json.loads(told.read_text())["stage"] == "collaborative"
