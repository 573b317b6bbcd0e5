"""The two kinds of backbone on tiny random models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recbole_ext.lm import backbone as module
from recbole_ext.lm.backbone import CausalBackbone, EncoderBackbone, make_backbone
from recbole_ext.lm.source import Source
from tests.tiny_lm import write_causal, write_encoder, write_qwen2

Make = Callable[..., CausalBackbone | EncoderBackbone]


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_causal(tmp_path_factory.mktemp("lm") / "tiny")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("lm") / "bert")


@pytest.fixture(params=["causal", "encoder"])
def fresh(
    request: pytest.FixtureRequest,
    causal_folder: Path,
    encoder_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Make:
    """Loads a backbone anew; the bundled encoder is a tiny one of its kind here."""
    tiny = Source(encoder_folder, "files:tiny", "minilm")
    monkeypatch.setattr(module, "minilm", lambda *_: tiny)
    name = f"lm:{causal_folder}" if request.param == "causal" else "minilm"
    return lambda **options: make_backbone(name, **options)


@pytest.fixture(scope="session")
def qwen2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen2(tmp_path_factory.mktemp("lm") / "qwen2")
