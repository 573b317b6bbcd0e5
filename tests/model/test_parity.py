"""Ours against RecBole's own models and evaluator on MovieLens-100K."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.evaluator.places import joint_metrics, user_means
from recbole_ext.evaluator.ranks import make_task, rank
from recbole_ext.evaluator.summary import per_user
from recbole_ext.pipeline.training import Training, rank_test
from recbole_ext.recbole_compat import evaluate, score_function
from tests.problems import make_experiment, train


def scores_of(experiment, fitted):
    problem = experiment.problem
    history = problem.split.pairs(problem.data, *problem.seen_at_test)
    return score_function(fitted.model, fitted.bench, problem.data, history)


@pytest.mark.parametrize("ours", ["EASE", "L3AE"])
def test_without_distillation_l3ae_and_ease_are_recboles_ease(ours, tmp_path):
    given = (
        {"reg_kd": 0, "reg_x": 250, "encoder": "hash"} if ours == "L3AE" else {"reg_weight": 250}
    )
    one = make_experiment(ours, "ml-100k", **given)
    two = make_experiment("EASE@recbole", "ml-100k", reg_weight=250)
    users = np.arange(943)
    a = scores_of(one, train(one, tmp_path))(users)
    b = scores_of(two, train(two, tmp_path))(users)
    # Scores are sums of up to 700 float32 numbers below 1; RecBole inverts by LU, we by Cholesky.
    assert float((a - b).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("model", "given"),
    [("EASE", {}), ("BPR", {"epochs": 3}), ("LightGCN", {"epochs": 1, "train_batch_size": 8192})],
)
def test_joint_metrics_equal_recboles_evaluator(model, given, tmp_path):
    experiment = make_experiment(model, "ml-100k", **given)
    fitted = train(experiment, tmp_path)
    table = rank_test(fitted, experiment.problem)
    ks = [5, 10, 20]
    ours = {name: values.mean() for name, values in joint_metrics(table, ks).items()}

    theirs = evaluate(fitted.bench, fitted.model, ks)
    assert ours.keys() - theirs.keys() == {f"recall_mink@{k}" for k in ks}  # RecBole has no such
    for name, value in theirs.items():
        # Theirs is rounded to four decimals.
        assert ours[name] == pytest.approx(value, abs=5.1e-5), name


def test_expected_at_100_is_the_mean_of_1000_draws(tmp_path):
    from recbole_ext.evaluator.candidates import draw_lists

    experiment = make_experiment("EASE", "ml-100k", protocols="full,expected@100")
    problem = experiment.problem
    scores = scores_of(experiment, train(experiment, tmp_path))
    import dataclasses

    pairs, data = problem.split.pairs, problem.data
    # 50 users keep the thousand draws at a few seconds.
    positives, excluded = (
        tuple(column[found[0] < 50] for column in found)
        for found in (pairs(data, 2), pairs(data, *problem.seen_at_test))
    )
    small = make_task(len(data.item_tokens), positives, excluded)
    totals = []
    for batch in range(20):
        lists = draw_lists(small, data.user_tokens, data.item_tokens, 100, 50, f"batch {batch}")
        task = dataclasses.replace(small, lists={"uni100": lists})
        (table,) = rank(task, lambda users: [scores(users)])
        totals.append(per_user(table, "uni100", [10])["ndcg_pp@10"].mean(axis=0))
    draws = np.concatenate(totals)
    assert draws.shape == (1000,)
    expected = per_user(table, "expected@100", [10])["ndcg_pp@10"].mean()
    z = (draws.mean() - expected) / (draws.std(ddof=1) / np.sqrt(1000))
    assert abs(z) < 4


def test_candidate_lists_of_ml_100k_are_pinned():
    experiment = make_experiment("Pop", "ml-100k")
    assert experiment.problem.candidates == PINNED


PINNED = {
    "uni19": "4f9ac8d140262d135ea7fa05942b59caa17ce0bd227b97e435f71505872f2a26",
    "pop100": "2bf78d7c1552e41a2e6dc483ab142f7900c0e8ea7966eea32bd19dd75052925e",
    "uni100": "46ac9ed93cd2f81e4cb410108bb080f0e945a94098d5d16c5738501b1aa79eaf",
}


def test_pop_ranks_by_training_count_with_ties(tmp_path):
    experiment = make_experiment("Pop", "ml-100k")
    problem = experiment.problem
    fitted = train(experiment, tmp_path)
    counts = np.bincount(problem.data.item[problem.split.part == 0], minlength=1682)
    scores = scores_of(experiment, fitted)(np.array([0]))[0].numpy()
    np.testing.assert_array_equal(scores, counts)
    table = rank_test(fitted, problem)
    assert table.tied.sum() > 0
    assert user_means(table.user, table.tied.astype(float)).shape == (len(problem.test_task.users),)
    assert torch.is_grad_enabled()


def test_lightgcn_by_rows_is_recboles_lightgcn(tmp_path):
    """The same loss and gradients as with the matrix that RecBole keeps."""
    experiment = make_experiment("LightGCN", "ml-100k")
    training = Training(experiment, None, tmp_path)
    model, bench = training.build(experiment.settings.params)
    theirs, _ = training.build(experiment.settings.params)  # the same seed, the same weights
    theirs.norm_adj_matrix = theirs.get_norm_adj_mat()
    batch = next(iter(bench.train_loader))
    found = []
    for each in (model, theirs):
        loss = each.calculate_loss(batch)
        loss.backward()
        found.append(
            (loss.item(), each.user_embedding.weight.grad, each.item_embedding.weight.grad)
        )
    (a, *ours), (b, *expected) = found
    assert a == pytest.approx(b, rel=1e-6)
    for one, two in zip(ours, expected, strict=True):
        # Sums of up to 500 float32 terms in another order.
        assert float((one - two).abs().max()) < 1e-5 * float(two.abs().max())
