"""What every model must do, ours by the registry and RecBole's by name: the shipped contract, and what is RecBole's alone."""

from __future__ import annotations

import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.recbole_package import LACKING, recbole_models
from recbole_ext.registry.find import find_model
from recbole_ext.registry.rows import MODELS
from recbole_ext.testing import ModelContract, make_experiment, train
from tests.model.prompted_data import small_keys

OURS = tuple(MODELS)
RECBOLE = ("Pop@recbole", "BPR", "LightGCN", "ItemKNN", "MultiVAE", "NeuMF", "SASRec@recbole")
SMALL = {
    "L3AE": {"encoder": "hash:32"},
    "GFCF": {"k": 6},
    "BSPM": {"k": 6},
    "SGFCF": {"k": 6},
    "ChebyCF": {"eta": 6},
    "AlphaRec": {"epochs": 5, "encoder": "hash:16", "num_neg": 8},
    "UniSRec": {"epochs": 5, "encoder": "hash:16", "num_neg": 8},
    "ELSA": {"epochs": 5, "embedding_size": 8},
    "MultVAE": {"epochs": 5, "embedding_size": 8},
    "KnotsELSA": {"epochs": 5, "embedding_size": 8, "sae_epochs": 5, "k": 4},
    "KnotsMultVAE": {"epochs": 5, "embedding_size": 8, "sae_epochs": 5, "k": 4},
    "SimGCL": {"epochs": 2},
    "XSimGCL": {"epochs": 2},
    "RLMRecCon": {"epochs": 2, "eval_step": 1, "encoder": "hash:16", "embedding_size": 8},
    "RLMRecGen": {"epochs": 2, "eval_step": 1, "encoder": "hash:16", "embedding_size": 8},
    "KAR": {"epochs": 2, "encoder": "hash:16", "embedding_size": 8, "expert_hidden": 8},
    "BCLoss": {"epochs": 3, "eval_step": 1, "pop_epochs": 1, "embedding_size": 8},
    "MF": {"epochs": 3, "embedding_size": 8},
    "DIN": {"epochs": 3, "embedding_size": 12, "learning_rate": 0.01},
    "CTRL": {
        "epochs": 2,
        "align_epochs": 1,
        "embedding_size": 12,
        "align_size": 4,
        "encoder": "hash:16",
    },
    "SASRecBCE": {"epochs": 3, "hidden_size": 8, "MAX_ITEM_LIST_LENGTH": 5},
    "LightGCNBCE": {"epochs": 3, "embedding_size": 8},
    "BPR": {"epochs": 2},
    "LightGCN": {"epochs": 2},
    "ItemKNN": {"k": 5},
    "MultiVAE": {"epochs": 2, "mlp_hidden_size": "[16]", "latent_dimension": 8},
    "NeuMF": {"epochs": 1},
    "SASRec": {"epochs": 2, "hidden_size": 8, "MAX_ITEM_LIST_LENGTH": 5, "windows": "all"},
    "SASRecSAE": {
        "epochs": 2,
        "hidden_size": 8,
        "MAX_ITEM_LIST_LENGTH": 5,
        "sae_dim": 16,
        "sae_k": 3,
        "sae_epochs": 5,
    },
    "MatchedSASRec": {
        "epochs": 2,
        "hidden_size": 8,
        "MAX_ITEM_LIST_LENGTH": 5,
        "encoder": "hash:16",
        "match_dim": 6,
        "match_epochs": 3,
    },
    "SASRec@recbole": {
        "epochs": 1,
        "hidden_size": 16,
        "inner_size": 16,
        "n_heads": 2,
        "n_layers": 1,
    },
}


SPACES = {
    "GFCF": [{"k": [0, 3, 8], "alpha": [0, 0.3, 1]}],
    "BSPM": [
        {"k": [3, 8], "merge": ["early", "late"], "combine": [False, True]},
        {"K_s": [1, 2], "solver": ["rk4", "euler"], "T_s": [1, 2.5], "sharpen": [True, False]},
    ],
    "SGFCF": [{"eps": [0.3, 0.5], "k": [3, 8], "gamma": [0, 2], "beta": [0.5, 1], "individual": [True, False]}],
    "ChebyCF": [{"beta": [0, 0.4], "degree": [4, 8], "eta": [0, 3, 8], "alpha": [0.1, 0.5]}],
}  # fmt: skip


class TestEveryModel(ModelContract):
    models = {name: SMALL.get(name, {}) for name in (*OURS, *RECBOLE)}  # noqa: RUF012
    spaces = SPACES

    def experiment(self, name, tiny, **given):
        asks = "language_model" in find_model(name).inputs
        return super().experiment(name, tiny, **{**(small_keys(name) if asks else {}), **given})


def test_the_minimum_set_is_there():
    assert {"Pop", "EASE", "L3AE"} <= set(OURS)


@pytest.mark.parametrize("name", LACKING)
def test_what_recbole_has_and_cannot_run_here_is_one_line(name):
    with pytest.raises(HarnessError, match=f"'{name}' of RecBole needs {LACKING[name]}"):
        find_model(name)
    assert name not in recbole_models()


@pytest.mark.parametrize("name", ["LightGCN", "AlphaRec"])
def test_training_repeats_to_the_last_bit_on_two_threads(name, tmp_path):
    # A few steps, each large enough for two threads to share.
    given = {"epochs": 1, "train_batch_size": 30_000} | (
        {"encoder": "hash:32", "num_neg": 16} if name == "AlphaRec" else {}
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, two = (
            train(make_experiment(name, "ml-100k", **given), tmp_path).model.state_dict()
            for _ in range(2)
        )
    finally:
        torch.set_num_threads(before)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
