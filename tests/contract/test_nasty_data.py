"""Every model on data sets that break models: it ranks, or says in one line what to change; nothing hangs."""

from __future__ import annotations

import pytest

from recbole_ext.config import model_defaults
from recbole_ext.core.recbole_package import recbole_models
from recbole_ext.registry.find import find_model
from recbole_ext.registry.rows import MODELS
from recbole_ext.testing import NastyDataContract
from tests.model.prompted_data import small_keys

EVERY = (*MODELS, *(f"{name}@recbole" if name in MODELS else name for name in recbole_models()))
SMALL = {
    "encoder": "hash:8",
    "epochs": 1,
    "eval_step": 1,
    "embedding_size": 8,
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "num_neg": 4,
    "mlp_hidden_size": "[8]",
    "MAX_ITEM_LIST_LENGTH": 5,
    "hidden_dimension": 8,
    "latent_dimension": 4,
    "encoder_hidden_size": "[8]",
    "n_enc_epochs": 1,
    "dims_dnn": "[8]",
    "block_num": 1,
    "n_iterations": 1,
    "gcn_output_dim": 8,
    "num_conv_kernel": 8,
    "n_experts": 2,
}
NEEDED = {
    "ConvNCF": {"embedding_size": 64},
    "FEARec": {"n_layers": 2},
    "GFCF": {"k": 3},
    "BSPM": {"k": 3},
    "SGFCF": {"k": 3},
    "ChebyCF": {"eta": 3},
    "KnotsELSA": {"k": 4, "sae_epochs": 1},
    "KnotsMultVAE": {"k": 4, "sae_epochs": 1},
    "MatchedSASRec": {"match_dim": 6, "match_epochs": 1},
    "SASRecSAE": {"sae_dim": 16, "sae_k": 2, "sae_epochs": 1},
}
"""What the small sizes must not be for a model."""


class TestEveryModel(NastyDataContract):
    models = dict.fromkeys(EVERY, SMALL)
    # Of DGCF the sample of nodes is larger than the catalogue, LINE draws users without an item, BERT4Rec a batch without masks.
    refused = ("DGCF", "LINE", "BERT4Rec")

    def small(self, name):
        if name == "NCL":
            pytest.importorskip("faiss", reason="NCL clusters with faiss, which is not installed")
        known = model_defaults(find_model(name)).params
        asks = "language_model" in find_model(name).inputs
        small = {**SMALL, **NEEDED.get(name, {}), **(small_keys(name) if asks else {})}
        return {key: value for key, value in small.items() if key in known}
