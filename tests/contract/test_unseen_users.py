"""Users that training never sees: nothing of theirs is learnt, and what they have is what they are scored by."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from recbole_ext.config import model_defaults
from recbole_ext.core.recbole_package import recbole_models
from recbole_ext.data.splits import HISTORY, TEST, TRAIN, VALID, Split
from recbole_ext.evaluator.ranks import rank
from recbole_ext.evaluator.summary import mean_of
from recbole_ext.pipeline.training import Training, rank_test
from recbole_ext.recbole_compat import folded_in
from recbole_ext.registry import UNSEEN_USERS
from recbole_ext.registry.find import find_model
from recbole_ext.registry.rows import MODELS
from recbole_ext.trainer.closed_form import evaluate_family
from tests.contract.test_nasty_data import NEEDED, SMALL
from tests.problems import make_experiment, train

pytestmark = pytest.mark.usefixtures("one_thread")

THEIRS = tuple(f"{name}@recbole" if name in MODELS else name for name in recbole_models())
ABLE = tuple(name for name in (*MODELS, *THEIRS) if UNSEEN_USERS in find_model(name).offers)
BLIND = {"Pop", "RandomPop", "Pop@recbole", "Random"}
"""Who score without looking at the user's items."""
LEARNERS = (
    "EASE",
    "L3AE",
    "GFCF",
    "BSPM",
    "SGFCF",
    "ChebyCF",
    "AlphaRec",
    "ELSA",
    "MultVAE",
    "KnotsELSA",
    "KnotsMultVAE",
    "EASE@recbole",
    "ItemKNN",
    "MultiVAE",
    "RecVAE",
    "SASRec",
    "SASRec@recbole",
)


def experiment_of(name, tiny_path, **given):
    known = model_defaults(find_model(name)).params
    small = {key: value for key, value in {**SMALL, **NEEDED.get(name, {})}.items() if key in known}
    asked = {"split": "users", "fold": 3, "protocols": "full", "ks": "1,5", **small, **given}
    return make_experiment(name, "tiny", tiny_path, **asked)


def with_other_histories(experiment, tiny_path, whose):
    """The same experiment, some users having other items, as many of each part, from the same catalogue."""
    problem = make_experiment(
        experiment.model.name,
        "tiny",
        tiny_path,
        **{key: experiment.settings.dataset[key] for key in ("split", "fold")},
        protocols="full",
    ).problem
    data, part = problem.data, problem.split.part.copy()
    items = data.item.copy()
    for user in whose:
        mine = np.flatnonzero(data.user == user)
        free = np.setdiff1d(np.arange(len(data.item_tokens)), items[mine])
        items[mine] = free[: len(mine)]
    order = np.lexsort((items, data.user))
    changed = dataclasses.replace(data, item=items[order], time=data.time[order])
    problem.__dict__.update(data=changed, split=Split(part[order], problem.split.seed))
    return dataclasses.replace(experiment, problem=problem)


def held_out(problem):
    return np.unique(problem.split.pairs(problem.data, HISTORY)[0])


def scores_of(fitted, problem, users):
    return fitted.scorer(problem, *problem.seen_at_test)(np.asarray(users))


@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_of_a_held_out_user_is_learnt(name, tiny_path, tmp_path):
    """All that validation and test users have is changed: the training matrix and every weight stay."""
    one = experiment_of(name, tiny_path)
    two = with_other_histories(one, tiny_path, held_out(one.problem))
    assert one.problem.fingerprints["data"] != two.problem.fingerprints["data"]
    first, second = (train(experiment, tmp_path) for experiment in (one, two))
    a, b = (fitted.bench.dataset.inter_feat.interaction for fitted in (first, second))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    a, b = (fitted.model.state_dict() for fitted in (first, second))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", ["MultiVAE", "RecVAE", "AlphaRec", "SASRec@recbole", "GRU4Rec"])
def test_no_batch_has_a_held_out_user(name, tiny_path, tmp_path):
    experiment = experiment_of(name, tiny_path)
    training = Training(experiment, experiment.embeddings(), tmp_path)
    _, bench = training.build(experiment.settings.params)
    field = bench.config["USER_ID_FIELD"]
    seen = {user - 1 for batch in bench.train_loader for user in batch[field].tolist()}
    users, _ = experiment.problem.split.pairs(experiment.problem.data, TRAIN)
    assert seen == set(users.tolist())
    assert not seen & set(held_out(experiment.problem).tolist())


@pytest.mark.parametrize("name", ABLE)
def test_a_held_out_user_is_scored_by_its_history(name, tiny_path, tmp_path):
    """Another history of one test user, nothing trained anew: its scores change, and nobody else's."""
    one = experiment_of(name, tiny_path)
    fitted, problem = train(one, tmp_path), one.problem
    (tested, other), everybody = problem.test_task.users[:2], np.arange(40)
    two = with_other_histories(one, tiny_path, [tested])
    training = Training(two, two.embeddings(), tmp_path)
    _, bench = training.build(two.settings.params)
    again = dataclasses.replace(fitted, bench=bench)
    rows = []
    for model, of in ((fitted, problem), (again, two.problem)):
        torch.manual_seed(0)  # RecVAE, DiffRec and Random draw when they score
        rows.append(scores_of(model, of, everybody))
    same = (rows[0] == rows[1]).all(1)
    assert same[np.setdiff1d(everybody, [tested])].all()
    assert bool(same[tested]) == (name in BLIND)
    assert len(rank_test(fitted, problem)) == len(problem.test_task.pos_items)
    assert not torch.equal(rows[0][tested], rows[0][other]) or name in BLIND


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in THEIRS
        if n in ABLE or recbole_models()[n.removesuffix("@recbole")] == "sequential"
    ],
)
def test_what_recboles_models_have_of_users_is_known(name, tiny_path, tmp_path):
    """41 users with the padding: who can fold in has no weights of that size, a sequential model that cannot has."""
    experiment = experiment_of(name, tiny_path, split="ratio", fold=0)
    model, _ = Training(experiment, None, tmp_path).build(experiment.settings.params)
    of_users = [key for key, value in model.state_dict().items() if 41 in value.shape]
    assert bool(of_users) != (UNSEEN_USERS in find_model(name).offers), of_users


@pytest.mark.parametrize("name", ["EASE", "L3AE", "CosineText", "LLMAddEASE"])
@pytest.mark.parametrize("side", ["items", "users"])
def test_folding_in_the_items_of_a_training_user_gives_its_scores(name, side, tiny_path, tmp_path):
    given = {} if name == "CosineText" else {"side": side}
    experiment = experiment_of(name, tiny_path, **given)
    fitted, problem = train(experiment, tmp_path), experiment.problem
    training, (stranger, *_) = (
        np.unique(problem.split.pairs(problem.data, TRAIN)[0]),
        held_out(problem),
    )
    scoring = folded_in(fitted.model, fitted.bench)
    spread = float(scores_of(fitted, problem, training).abs().max())
    for user in training[:8]:
        rows = scoring.rows.tolil()
        rows[stranger + 1] = fitted.model.interactions[user + 1].tolil()
        scoring.rows = rows.tocsr()
        one = fitted.model.scores_of(np.array([user + 1]))
        two = scoring.scores_of(np.array([stranger + 1]))
        if side == "items" or name == "CosineText":
            assert torch.equal(one, two)
        else:  # x P by K of the user, or by K and the items: sums of float32 in another order
            assert float((one - two).abs().max()) < 1e-5 * spread
    alone = fitted.model.scores_of(training + 1)[:, 1:]
    assert torch.equal(alone, scores_of(fitted, problem, training))


@pytest.mark.parametrize("side", ["items", "users"])
def test_a_family_validates_on_users_that_are_folded_in(side, tiny_path, tmp_path):
    experiment = experiment_of("EASE", tiny_path, side=side)
    fitted, problem = train(experiment, tmp_path), experiment.problem
    points = [{"reg_weight": weight} for weight in (2.0, 20.0, 200.0)]
    task = problem.validations[0].task
    assert set(task.users) == set(problem.split.pairs(problem.data, VALID)[0])
    family = list(evaluate_family(fitted.model, fitted.bench, points, task, "recall@5"))
    values = {point["reg_weight"]: value for point, value in family}
    assert len(set(values.values())) > 1
    for point in points:
        alone = train(experiment_of("EASE", tiny_path, side=side, **point), tmp_path)
        scorer = alone.scorer(problem, *problem.seen_at_validation)
        (table,) = rank(task, lambda users, scorer=scorer: [scorer(users)])
        assert values[point["reg_weight"]] == pytest.approx(mean_of(table, "recall@5"), abs=1e-12)


def test_a_sequential_model_reads_the_history_in_order_of_time(tiny_path, tmp_path):
    from recbole_ext.recbole_compat.scoring import _Sequences

    experiment = experiment_of("SASRec", tiny_path, MAX_ITEM_LIST_LENGTH=50)
    training, problem = Training(experiment, None, tmp_path), experiment.problem
    _, bench = training.build(experiment.settings.params)
    data, users = problem.data, problem.test_task.users
    history = problem.split.pairs(data, *problem.seen_at_test)
    read = _Sequences(bench, data, history).of(users)
    for row, user in zip(read[bench.config["ITEM_ID_FIELD"] + "_list"], users, strict=True):
        mine = np.flatnonzero((data.user == user) & (problem.split.part == HISTORY))
        mine = mine[np.argsort(data.time[mine])]
        assert row[row > 0].tolist() == (data.item[mine] + 1).tolist()
        assert (
            len(mine) + ((data.user == user) & (problem.split.part == TEST)).sum()
            == (data.user == user).sum()
        )


def test_a_model_that_moves_scores_held_out_users_of_its_target(tiny_path, tmp_path):
    """Its graph there is the training part; what a test user has reaches that user and no item."""
    one = experiment_of("AlphaRec", tiny_path, n_layers=2)
    fitted, problem = train(one, tmp_path), one.problem
    scoring = folded_in(fitted.model, fitted.bench)
    with torch.no_grad():
        (users, items), (before, same) = scoring(), fitted.model()
    strangers = held_out(problem) + 1
    assert (
        torch.equal(items, same) and not before[strangers].any() and users[strangers].any(1).all()
    )


def test_models_with_parameters_of_users_do_not_offer_it():
    able = ("EASE", "L3AE", "AlphaRec", "ItemKNN", "MultiVAE", "SASRec")
    unable = ("BPR", "LightGCN", "SimGCL", "XSimGCL", "CDAE", "FPMC")
    assert all(UNSEEN_USERS in find_model(name).offers for name in able)
    assert not any(UNSEEN_USERS in find_model(name).offers for name in unable)
