"""The language model that a model asks: its keys, its place in ids and weights, and the refusal of another one."""

from __future__ import annotations

import pytest
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType, ModelType

from recbole_ext.core.errors import HarnessError
from recbole_ext.explain.top_items import saved_run
from recbole_ext.lm import backbone as module
from recbole_ext.lm.backbone import backbone_fingerprint, chosen_dtype, make_backbone
from recbole_ext.lm.source import Source
from recbole_ext.pipeline.execute import execute
from recbole_ext.pipeline.replay import experiment_of
from recbole_ext.registry import CLOSED_FORM, ModelSpec, rows
from recbole_ext.trainer.checkpoint import load_weights
from tests.problems import make_experiment, train
from tests.tiny_lm import write_causal, write_encoder


class Asking(GeneralRecommender):
    """Scores are drawn; the backbone is held outside the weights."""

    type = ModelType.TRADITIONAL
    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.backbone = make_backbone(
            config["backbone"],
            revision=config["backbone_revision"],
            device=str(config["device"]),
            dtype=config["lm_dtype"],
            trust_remote_code=config["trust_remote_code"],
        )
        # It is no module, so that its weights are none of the model's.
        assert not list(self.parameters())
        self.register_buffer("liking", torch.zeros(self.n_items))

    def solve(self) -> None:
        self.liking.copy_(torch.arange(self.n_items))

    def full_sort_predict(self, interaction):
        return self.liking.expand(len(interaction[self.USER_ID]), -1).flatten()

    def predict(self, interaction):
        return self.liking[interaction[self.ITEM_ID]]


@pytest.fixture(autouse=True)
def there(monkeypatch):
    spec = ModelSpec(name="Asking", target=f"{__name__}:Asking", trainer=CLOSED_FORM, inputs=("language_model",))  # fmt: skip
    monkeypatch.setitem(rows.MODELS, "Asking", spec)


@pytest.fixture(scope="module")
def tiny_lm(tmp_path_factory):
    return write_causal(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("lm") / "bert")


def experiment(tiny_path, backbone, **given):
    return make_experiment(
        "Asking", "tiny", tiny_path, backbone=backbone, protocols="full", **given
    )


def test_what_a_record_says_is_what_is_loaded(tiny_path, tiny_lm, bert, monkeypatch):
    """Said without loading weights, for both kinds and dtypes."""
    monkeypatch.setattr(module, "minilm", lambda *_: Source(bert, "files:tiny", "minilm"))
    for name in ("minilm", f"lm:{tiny_lm}"):
        for dtype in ("auto", "bfloat16", "mixed"):
            loaded = make_backbone(name, dtype=dtype)
            with monkeypatch.context() as patch:
                patch.setattr(module, "pretrained", None)
                of = experiment(tiny_path, name, lm_dtype=dtype, device="cpu")
                assert of.fingerprints()["backbone"] == backbone_fingerprint(loaded.identity)
    assert (chosen_dtype("auto", "cuda:0"), chosen_dtype("auto", "cpu")) == ("bfloat16", "float32")


def test_its_keys_have_defaults_and_rules(tiny_path):
    params = experiment(tiny_path, "minilm", device="cpu").settings.params
    assert params == {"backbone": "minilm", "backbone_revision": None, "lm_dtype": "float32", "trust_remote_code": False}  # fmt: skip
    with pytest.raises(HarnessError, match="--lm_dtype"):
        experiment(tiny_path, "minilm", lm_dtype="float16")
    with pytest.raises(HarnessError, match="--backbone is not a key of Pop"):
        make_experiment("Pop", "tiny", tiny_path, backbone="minilm")
    with pytest.raises(HarnessError, match="unknown backbone 'smolm2', did you mean smollm2"):
        experiment(tiny_path, "smolm2").fingerprints()


def test_another_backbone_is_another_run_and_its_weights_are_refused(
    tiny_path, tiny_lm, tmp_path, monkeypatch
):
    of, half = (experiment(tiny_path, tiny_lm, lm_dtype=d) for d in ("float32", "bfloat16"))
    assert of.run_id != half.run_id
    record = execute(of, tmp_path)
    identity = record.fingerprints["backbone"]
    assert identity.startswith("files:") and identity.endswith(", causal, float32")
    assert experiment_of(record, tiny_path).run_id == record.run_id
    weights = tmp_path / record.run_id / "weights.safetensors"
    train(of, tmp_path / "scratch", saved=weights)
    with pytest.raises(HarnessError) as refused:
        train(half, tmp_path / "scratch", saved=weights)
    told = str(refused.value)
    assert f"lm:tiny ({identity})" in told and ", causal, bfloat16)" in told and "\n" not in told
    # A model that knows of no backbone does not take them either.
    pop = train(make_experiment("Pop", "tiny", tiny_path), tmp_path / "scratch").model
    with pytest.raises(HarnessError, match="and this Pop has none"):
        load_weights(pop, weights)


def test_a_run_is_not_shown_over_files_that_have_become_others(tiny_path, tmp_path):
    folder = write_causal(tmp_path / "tiny")
    record = execute(experiment(tiny_path, folder), tmp_path / "runs")
    with saved_run(tmp_path / "runs", "Asking", "tiny", tiny_path) as saved:
        assert saved.record.run_id == record.run_id
    settings = folder / "config.json"
    settings.write_text(settings.read_text() + "\n")
    with (
        pytest.raises(HarnessError, match=record.fingerprints["backbone"]) as refused,
        saved_run(tmp_path / "runs", "Asking", "tiny", tiny_path),
    ):
        pass
    assert str(refused.value).count("files:") == 2
