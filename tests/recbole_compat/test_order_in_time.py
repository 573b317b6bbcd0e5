"""What a sequential model is trained on stands in the order in which it is scored, to the second, and ties teach nothing."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_ext.config import model_defaults
from recbole_ext.evaluator.summary import mean_of
from recbole_ext.pipeline.training import rank_test
from recbole_ext.recbole_compat import score_function
from recbole_ext.registry.find import find_model
from tests.problems import make_experiment, train

pytestmark = pytest.mark.usefixtures("one_thread")

USERS, CHAINED, LENGTH = 200, 100, 12
OURS = {"dropout_prob": 0.1, "train_batch_size": 32, "valid_metric": "ndcg@10", "stopping_step": 0}
"""Batches are of histories, not of places; it validates after each epoch, and a recall is 1 long before the order is known."""
SMALL = {
    "split": "leave_one_out",
    "protocols": "full",
    "ks": "10",
    "threads": 1,
    "hidden_size": 16,
    "inner_size": 16,
    "n_layers": 1,
    "n_heads": 1,
    "MAX_ITEM_LIST_LENGTH": 10,
    "train_batch_size": 256,
    "learning_rate": 0.02,
    "epochs": 12,
    "eval_step": 12,
}
OF_MODELS = {"inner_size", "eval_step"}
"""Keys of RecBole's model that ours lacks."""
BOTH = [
    ("SASRec@recbole", {}),
    ("SASRec", OURS | {"loss": "ce", "epochs": 30}),
    ("SASRec", OURS | {"loss": "bce", "epochs": 60}),
]


def write_histories(folder, name, rows):
    """Rows are (user, item, time); the order in the file is not that of time."""
    order = np.random.default_rng(1).permutation(len(rows))
    lines = [f"u{rows[i][0]:03}\ti{rows[i][1]:03}\t{rows[i][2]}" for i in order]
    (folder / name).mkdir()
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / name / f"{name}.inter").write_text("\n".join([header, *lines]) + "\n")


def experiment_of(model, name, folder, **given):
    known = model_defaults(find_model(model)).params
    small = {k: v for k, v in SMALL.items() if k in known or k not in OF_MODELS}
    return make_experiment(model, name, folder, **small | given)


def ndcg(name, folder, model, **given):
    experiment = experiment_of(model, name, folder, **given)
    return mean_of(rank_test(train(experiment, folder), experiment.problem), "ndcg@10")


def chain(first_time, step=1, items=20):
    """Each item is followed by the same other one, a step of time later; tokens do not give the order away."""
    rng = np.random.default_rng(0)
    starts, cycle = rng.integers(0, items, CHAINED), rng.permutation(items).tolist()
    return [
        (user, cycle[(start + place) % items], first_time + step * (17 * user + place))
        for user, start in enumerate(starts.tolist())
        for place in range(LENGTH)
    ]


SECONDS, MILLISECONDS = (1_500_000_000, 1), (1_500_000_000_000, 250)


@pytest.mark.parametrize(
    ("times", "model", "given"),
    [
        *((SECONDS, *each) for each in BOTH),
        *((MILLISECONDS, *each) for each in BOTH[:2]),  # whatever the loss
    ],
)
def test_a_chain_in_steps_of_a_second_is_learned_at_todays_times(times, model, given, tmp_path):
    write_histories(tmp_path, "chain", chain(*times))
    assert ndcg("chain", tmp_path, model, **given) > 0.99


def test_training_sequences_are_prefixes_of_what_scoring_reads(tmp_path):
    rng = np.random.default_rng(3)
    rows = [
        (user, item, 1_500_000_000 + int(rng.integers(0, 40)))  # many times are shared
        for user in range(50)
        for item in rng.choice(40, LENGTH, replace=False).tolist()
    ]
    write_histories(tmp_path, "mixed", rows)
    experiment = make_experiment("SASRec@recbole", "mixed", tmp_path, **SMALL | {"epochs": 1})
    fitted, problem = train(experiment, tmp_path), experiment.problem
    from recbole_ext.recbole_compat.scoring import _Sequences

    read = _Sequences(fitted.bench, problem.data, problem.split.pairs(problem.data, 0))
    trained = fitted.bench.dataset.inter_feat
    longest = {}
    for user, items, length, target in zip(
        *(trained[key].tolist() for key in ("user_id", "item_id_list", "item_length", "item_id")),
        strict=True,
    ):
        longest[user - 1] = [*items[:length], target][-SMALL["MAX_ITEM_LIST_LENGTH"] :]
    assert len(longest) == 50
    for user, items in longest.items():
        assert read.items[user][: read.lengths[user]].tolist() == items


@pytest.mark.parametrize(("model", "given"), BOTH[:2])
def test_histories_without_an_order_teach_none(model, given, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (user, item, 1_500_000_000 + user)
        for user in range(USERS)
        for item in rng.choice(100, LENGTH, replace=False).tolist()
    ]
    write_histories(tmp_path, "flat", rows)
    # Chance is the mean of 1/log2(r + 1) over 89 places: .051; an interval of four standard errors over 200 users.
    assert ndcg("flat", tmp_path, model, **given) == pytest.approx(0.051, abs=0.05)


@pytest.mark.parametrize("model", ["SASRec", "SASRec@recbole"])
def test_a_shift_of_all_times_changes_no_score(model, tmp_path):
    write_histories(tmp_path, "early", chain(0))
    write_histories(tmp_path, "late", chain(1_600_000_000))
    scores = []
    for name in ("early", "late"):
        experiment = experiment_of(model, name, tmp_path, epochs=1)
        fitted, problem = train(experiment, tmp_path), experiment.problem
        history = problem.split.pairs(problem.data, *problem.seen_at_test)
        scores.append(
            score_function(fitted.model, fitted.bench, problem.data, history)(np.arange(CHAINED))
        )
    assert (scores[0] == scores[1]).all()


def test_a_general_model_that_weighs_by_time_is_given_the_order_too(tmp_path):
    write_histories(tmp_path, "chain", chain(1_500_000_000))
    experiment = make_experiment(
        "DiffRec", "chain", tmp_path, epochs=1, protocols="full", **{"time-aware": True}
    )
    fitted, data = train(experiment, tmp_path), experiment.problem.data
    weights = fitted.model.history_item_value
    items = fitted.model.history_item_id
    row = int(data.user[0]) + 1
    kept = weights[row] > 0
    time = {
        int(i): t
        for i, t in zip(data.item[data.user == 0] + 1, data.time[data.user == 0], strict=True)
    }
    assert np.all(np.diff([time[int(i)] for i in items[row][kept]]) > 0)
