"""A change that moves a model's results, or the evaluator's, comes with a new revision: no old number is reused then."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_ext.evaluator import summary
from recbole_ext.pipeline.training import rank_test
from recbole_ext.recbole_compat import score_function
from tests.problems import make_experiment, train

GOLDEN = {
    ("Pop", 1): [6.0, 6.0, 5.0, 6.0, 6.0, 5.0],
    ("EASE", 1): [0.173057, 0.052927, 0.101858, -0.010784, 0.068186, 0.076489],
    ("L3AE", 1): [0.146282, 0.061993, 0.114737, 0.013252, 0.070575, 0.065313],
    ("GFCF", 1): [0.568677, 0.108682, 0.192673, 0.017917, 0.107541, 0.142415],
    ("BSPM", 1): [0.255435, 0.027498, 0.071018, -0.008027, 0.038454, 0.052339],
    ("SGFCF", 1): [0.132638, 0.031006, 0.049799, 0.022605, 0.056985, 0.070957],
    ("ChebyCF", 1): [0.497366, 0.095821, 0.174387, 0.018354, 0.090832, 0.109912],
    ("BPR", 1): [-0.013817, -0.334361, -0.111423, 0.107919, -0.111965, -0.013532],
    ("LightGCN", 2): [0.065967, -0.034043, 0.048466, 0.020068, -0.008837, -0.022372],
    ("AlphaRec", 1): [0.988021, 0.971589, 0.990484, 0.966638, 0.994047, 0.979059],
    ("SimGCL", 1): [0.03911, 0.000878, 0.021422, 2.1e-05, 0.011245, 0.004469],
    ("SASRec@recbole", 2): [0.088752, -0.029057, 0.130522, 0.120778, -0.001925, 0.033504],
    ("SASRec", 3): [-0.641523, 0.743661, 1.044318, 0.025641, -0.411787, 1.116628],
    ("SASRecSAE", 1): [-2.609622, 0.596214, 0.547717, 0.958784, -0.512432, -0.713234],
    ("MatchedSASRec", 1): [-0.421573, -0.331669, -0.453451, 0.988845, 1.025412, 0.854455],
    ("ELSA", 1): [0.435201, 0.396052, 1.605767, 1.045944, 0.938027, 1.181141],
    ("MultVAE", 1): [-0.183525, -0.178232, 0.374054, -0.108168, -0.128391, 0.204349],
    ("KnotsELSA", 1): [-3.322093, -1.486279, -0.376455, 0.401549, -0.399648, -1.428325],
    ("KnotsMultVAE", 1): [-0.153579, -0.151728, 0.311072, -0.14913, -0.167306, 0.315563],
    ("XSimGCL", 1): [0.039789, 0.002644, 0.022712, 0.001291, 0.012791, 0.005853],
    ("RLMRecCon", 1): [0.231908, 0.23328, 0.222335, 0.308198, -0.030061, -0.157931],
    ("RLMRecGen", 1): [0.230163, 0.238113, 0.229902, 0.316021, -0.027757, -0.157184],
    ("KAR", 1): [0.015211, 0.030802, 0.01914, 0.004293, 0.005288, 0.001919],
    ("BCLoss", 1): [0.023545, 0.017805, 0.017749, 0.029766, -0.011412, -0.023561],
}
"""(Model, revision) -> scores of users 0 and 7 for items 0, 3 and 11 of the tiny dataset."""
GIVEN: dict[str, dict[str, object]] = {
    "Pop": {},
    "EASE": {"reg_weight": 20},
    "L3AE": {"encoder": "hash:16", "reg_x": 60, "reg_kd": 30},
    "GFCF": {"k": 8},
    "BSPM": {"k": 8, "K_s": 2, "combine": True},
    "SGFCF": {"k": 8},
    "ChebyCF": {"eta": 8},
    "BPR": {"epochs": 2},
    "LightGCN": {"epochs": 2},
    "AlphaRec": {"epochs": 5, "encoder": "hash:16", "num_neg": 8},
    "SimGCL": {"epochs": 2},
    "XSimGCL": {"epochs": 2},
    "SASRec@recbole": {"epochs": 2, "hidden_size": 16, "inner_size": 16},
    "SASRec": {"epochs": 2, "hidden_size": 8},
    "MatchedSASRec": {"epochs": 2, "hidden_size": 8, "encoder": "hash:16", "match_dim": 6},
    "SASRecSAE": {"epochs": 2, "hidden_size": 8, "sae_dim": 16, "sae_k": 3, "sae_epochs": 20},
    "RLMRecCon": {"epochs": 3, "encoder": "hash:16", "embedding_size": 8},
    "RLMRecGen": {"epochs": 3, "encoder": "hash:16", "embedding_size": 8},
    "KAR": {"epochs": 2, "encoder": "hash:16", "embedding_size": 8},
    "BCLoss": {"epochs": 5, "pop_epochs": 1, "embedding_size": 8, "train_batch_size": 64},
    "ELSA": {"epochs": 5, "embedding_size": 8},
    "MultVAE": {"epochs": 5, "embedding_size": 8},
    "KnotsELSA": {"relu": False, "epochs": 5, "embedding_size": 8, "sae_epochs": 5, "k": 4},
    "KnotsMultVAE": {"epochs": 5, "embedding_size": 8, "sae_epochs": 5, "k": 4},
}
EVALUATOR = (
    1,
    {
        "full recall@5": 0.4,
        "full ndcg@5": 0.22971016,
        "full map@5": 0.175,
        "uni5 ndcg_pp@5": 0.6013928,
        "pop5 hit_pp@1": 0.245,
        "expected@5 mrr_pp": 0.5258593,
    },
)
"""Revision and means of EASE on the tiny dataset."""


@pytest.mark.parametrize("model", GIVEN)
def test_scores_move_only_with_the_models_revision(model, tiny_path, tmp_path):
    experiment = make_experiment(model, "tiny", tiny_path, **GIVEN[model])
    fitted, problem = train(experiment, tmp_path), experiment.problem
    history = problem.split.pairs(problem.data, *problem.seen_at_test)
    scores = score_function(fitted.model, fitted.bench, problem.data, history)(np.array([0, 7]))
    # Trained ones go through float32 sums whose order differs between processors.
    found = scores[:, [0, 3, 11]].ravel().tolist()
    assert found == pytest.approx(GOLDEN[model, experiment.model.revision], abs=2e-5)


def test_metrics_move_only_with_the_evaluators_revision(tiny_path, tmp_path):
    names = "full,uni5,pop5,expected@5"
    experiment = make_experiment(
        "EASE", "tiny", tiny_path, protocols=names, ks="1,5", **GIVEN["EASE"]
    )
    table = rank_test(train(experiment, tmp_path), experiment.problem)
    found = summary.summarise(table, names.split(","), [1, 5])
    revision, golden = EVALUATOR
    assert revision == summary.REVISION
    for name, value in golden.items():
        protocol, metric = name.split()
        assert found[protocol][metric]["mean"] == pytest.approx(value, abs=1e-6), name
