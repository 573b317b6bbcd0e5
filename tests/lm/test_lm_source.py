"""The files of a model: where they are, what pins them, and what is refused, seen through the encoders that read them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from recbole_ext.lm.source import find
from recbole_ext.text import make_encoder
from tests.tiny_lm import refused, write_no_model

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


# --- files --------------------------------------------------------------------------------------


def test_the_fingerprint_of_a_folder_follows_its_content_and_not_its_place(tmp_path: Path) -> None:
    one = make_encoder(f"st:{write_no_model(tmp_path / 'a' / 'model')}")
    two = make_encoder(f"st:{write_no_model(tmp_path / 'b' / 'model')}")
    assert one.fingerprint == two.fingerprint
    assert one.name == "st:model"
    (tmp_path / "b" / "model" / "README.md").write_text("words")
    (tmp_path / "b" / "model" / ".hidden").mkdir()
    (tmp_path / "b" / "model" / ".hidden" / "x.json").write_text("{}")
    assert make_encoder(f"st:{tmp_path / 'b' / 'model'}").fingerprint == one.fingerprint
    for part in ("config.json", "1_Pooling/config.json", "tokenizer.json", "model.safetensors"):
        before = make_encoder(f"st:{tmp_path / 'b' / 'model'}").fingerprint
        (tmp_path / "b" / "model" / part).parent.mkdir(exist_ok=True)
        (tmp_path / "b" / "model" / part).write_text(f'{{"changed": "{part}"}}')
        assert make_encoder(f"st:{tmp_path / 'b' / 'model'}").fingerprint != before


def test_pooling_and_kind_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    folder = write_no_model(tmp_path / "m")
    encoders = [
        make_encoder(f"lm:{folder}"),
        make_encoder(f"lm:{folder}", pooling="last"),
        make_encoder(f"st:{folder}"),
    ]
    assert len({encoder.fingerprint for encoder in encoders}) == 3


@pytest.mark.parametrize("kind", ["st", "lm"])
def test_pickled_weights_are_refused(tmp_path: Path, kind: str) -> None:
    folder = write_no_model(tmp_path / "m")
    (folder / "pytorch_model.bin").write_bytes(b"beside safetensors, so never read")
    make_encoder(f"{kind}:{folder}")
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"alone")
    line = refused(f"{kind}:{folder}")
    assert "2_Dense/pytorch_model.bin is pickled" in line and "safetensors" in line


def test_missing_weights_and_shards_are_named(tmp_path: Path) -> None:
    folder = write_no_model(tmp_path / "m")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "model.safetensors", "v": "model-2.st"}}))
    assert "has no model-2.st; fetch the whole model" in refused(f"lm:{folder}")
    index.write_text("{")
    assert "has no readable model.safetensors.index.json" in refused(f"lm:{folder}")
    index.unlink()
    (folder / "model.safetensors").unlink()
    assert "has no *.safetensors; fetch the whole model" in refused(f"lm:{folder}")


@pytest.mark.parametrize("kind", ["st", "lm"])
def test_files_that_cannot_be_loaded_are_onerefused(tmp_path: Path, kind: str) -> None:
    folder = write_no_model(tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"cut short")
    line = refused(f"{kind}:{folder}")
    assert f"encoder {kind}:broken" in line and "check that the folder is complete" in line
    (folder / "config.json").write_text("{")
    assert "check that the folder is complete" in refused(f"{kind}:{folder}")


@pytest.mark.parametrize("kind", ["st", "lm"])
def test_missing_weights_are_not_made_up(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"model_type": "bert", "num_hidden_layers": 2, "vocab_size": 9}
    folder = write_no_model(tmp_path / "lacking")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ntext\nb\nc\n")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        line = refused(f"{kind}:{folder}")
    finally:
        logging.getLogger("transformers").setLevel(logging.WARNING)
    assert "lack the weights" in line and "more; fetch the whole model" in line
    assert not caplog.text, "nothing is logged for whom transformers is silenced"
    assert "lack the weights" in refused(f"{kind}:{folder}")
    assert "LOAD REPORT" not in caplog.text and "sharded" not in caplog.text


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    folder = write_no_model(tmp_path / "m")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    line = refused(f"lm:{folder}")
    assert "adapter to another model" in line and "merge_and_unload" in line


def test_code_of_a_repository_is_not_run_unasked(tmp_path: Path) -> None:
    folder = write_no_model(tmp_path / "m")
    ran = tmp_path / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass C: pass\nclass M: pass\n")
    config = {"model_type": "own", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    for kind in ("lm", "st"):
        line = refused(f"{kind}:{folder}")
        assert "Python code of its repository" in line and "trust_remote_code" in line
    assert not ran.exists()


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    folder = write_no_model(tmp_path / "m")
    line = refused(f"lm:{folder}", device="warp:9")
    assert "no device 'warp:9'" in line and "cpu" in line


def test_a_revision_is_not_for_folders(tmp_path: Path) -> None:
    assert "leave it out" in refused(f"lm:{write_no_model(tmp_path / 'm')}", revision="main")


# --- hub ----------------------------------------------------------------------------------------


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_hub_model_is_pinned_by_its_commit(hub_cache: Path) -> None:
    repository = hub_cache / "models--owner--name"
    snapshot = write_no_model(repository / "snapshots" / _COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(_COMMIT)

    source = find("encoder st:owner/name", "owner/name")
    assert (source.folder, source.identity) == (snapshot, f"commit:{_COMMIT}")
    by_branch, by_commit = (
        make_encoder("st:owner/name", revision=revision) for revision in (None, _COMMIT)
    )
    assert by_branch.name == "st:owner/name"
    assert by_branch.fingerprint == by_commit.fingerprint
    other = "f" * 40
    write_no_model(repository / "snapshots" / other)
    assert make_encoder("st:owner/name", revision=other).fingerprint != by_commit.fingerprint


@pytest.mark.parametrize("name", ["st:owner/name", "lm:owner/name", "lm:no good name!"])
def test_a_hub_model_that_cannot_be_had(hub_cache: Path, name: str) -> None:
    line = refused(name, revision="v1")
    for words in ("at revision v1", "not on this machine", "hf download", "HF_HOME", "=minilm"):
        assert words in line
