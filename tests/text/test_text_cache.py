from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import recbole_ext
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import default_cache
from recbole_ext.text import embed, texts_fingerprint

TEXTS = ["one", "", "three"]


@dataclass
class Counting:
    """An encoder that counts how often it is asked."""

    vectors: np.ndarray = field(
        default_factory=lambda: np.arange(6, dtype=np.float32).reshape(3, 2)
    )
    name: str = "counting"
    fingerprint: str = "f" * 64
    calls: int = 0

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        self.calls += 1
        if progress is not None:
            progress(len(texts))
        return self.vectors


def test_the_second_call_reads_what_the_first_wrote(tmp_path: Path) -> None:
    encoder = Counting()
    seen: list[int] = []
    first = embed(TEXTS, encoder, tmp_path, seen.append)
    second = embed(TEXTS, encoder, tmp_path)

    assert encoder.calls == 1 and seen == [3]
    assert first.seconds > 0 and second.seconds == 0.0
    assert np.array_equal(second.vectors, encoder.vectors) and second.vectors.dtype == np.float32
    key = hashlib.sha256(("f" * 64 + texts_fingerprint(TEXTS)).encode()).hexdigest()[:32]
    assert first.path == second.path == tmp_path / "embeddings" / f"{key}.safetensors"
    assert second.encoder == "counting" and second.encoder_fingerprint == "f" * 64
    assert second.texts_fingerprint == texts_fingerprint(TEXTS)
    with safe_open(first.path, framework="numpy") as entry:
        metadata = entry.metadata()
    assert metadata["shape"] == "3x2"
    assert metadata["sha256"] == hashlib.sha256(encoder.vectors.tobytes()).hexdigest()


def test_other_texts_order_or_encoder_are_other_entries(tmp_path: Path) -> None:
    encoder = Counting()
    embed(TEXTS, encoder, tmp_path)
    embed(TEXTS[::-1], encoder, tmp_path)
    embed(TEXTS, Counting(fingerprint="e" * 64), tmp_path)
    assert encoder.calls == 2
    assert len(list((tmp_path / "embeddings").glob("*.safetensors"))) == 3


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip_a_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _not_an_entry(path: Path) -> None:
    path.write_bytes(b"\x80\x04pickle" * 99)


def _no_metadata(path: Path) -> None:
    save_file({"vectors": np.zeros((3, 2), np.float32)}, path)


def _of_other_texts(path: Path) -> None:
    other = embed(["a", "b", "c"], Counting(), path.parents[1]).path
    path.write_bytes(other.read_bytes())


def _of_another_shape(path: Path) -> None:
    with safe_open(path, framework="numpy") as entry:
        metadata = entry.metadata()
    save_file({"vectors": np.zeros((2, 3), np.float32)}, path, metadata)


def _other_tensor(path: Path) -> None:
    with safe_open(path, framework="numpy") as entry:
        metadata = entry.metadata()
    save_file({"other": np.zeros((3, 2), np.float32)}, path, metadata)


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _empty,
        _flip_a_bit,
        _not_an_entry,
        _no_metadata,
        _of_other_texts,
        _of_another_shape,
        _other_tensor,
    ],
)
def test_a_bad_entry_is_moved_aside_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = embed(TEXTS, Counting(), tmp_path).path
    damage(path)
    bad = path.read_bytes()

    encoder = Counting()
    with pytest.warns(UserWarning, match="encoding again") as warned:
        again = embed(TEXTS, encoder, tmp_path)

    assert len(warned) == 1 and "\n" not in str(warned[0].message)
    assert warned[0].filename == __file__
    assert encoder.calls == 1 and np.array_equal(again.vectors, encoder.vectors)
    assert path.with_name(path.name + ".corrupt").read_bytes() == bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert embed(TEXTS, encoder, tmp_path).seconds == 0.0
    assert encoder.calls == 1


_PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from recbole_ext.text import embed

me, folder = sys.argv[1], Path(sys.argv[2])

class Slow:
    name, fingerprint = "slow", "a" * 64
    def encode(self, texts, progress=None):
        (folder / f"encoded-by-{me}").touch()
        time.sleep(0.5)
        return np.full((len(texts), 4), 7, dtype=np.float32)

(folder / f"ready-{me}").touch()
while len(list(folder.glob("ready-*"))) < 2:
    time.sleep(0.005)
got = embed(["x", "y"], Slow(), folder / "cache")
assert (got.vectors == 7).all() and got.vectors.shape == (2, 4)
print("hit" if got.seconds == 0.0 else "encoded")
"""


def test_two_processes_encode_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, me, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(recbole_ext.__file__).parents[1],
        )
        for me in "ab"
    ]
    said = sorted(process.communicate(timeout=30)[0].strip() for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert said == ["encoded", "hit"]
    assert len(list(tmp_path.glob("encoded-by-*"))) == 1


def test_a_failed_encoding_frees_the_lock_and_leaves_nothing(tmp_path: Path) -> None:
    class Failing(Counting):
        def encode(self, texts: Sequence[str], progress: object = None) -> np.ndarray:
            raise HarnessError("no model")

    with pytest.raises(HarnessError, match="no model"):
        embed(TEXTS, Failing(), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert embed(TEXTS, Counting(), tmp_path).seconds > 0


def _error(encoder: Counting, cache_dir: Path) -> str:
    with pytest.raises(HarnessError) as caught:
        embed(TEXTS, encoder, cache_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    vectors = np.zeros((3, 2), np.float32)
    vectors[1, 1] = value
    line = _error(Counting(vectors), tmp_path)
    assert "counting" in line and "1 of 3 texts" in line and "use another encoder" in line
    assert not list(tmp_path.rglob("*.safetensors"))


def test_vectors_of_another_number_are_refused(tmp_path: Path) -> None:
    assert "(2, 2) for 3 texts" in _error(Counting(np.zeros((2, 2), np.float32)), tmp_path)


def test_a_cache_that_cannot_be_written_is_named_before_encoding(tmp_path: Path) -> None:
    cache = tmp_path / "file"
    cache.write_text("in the way")
    encoder = Counting()
    line = _error(encoder, cache)
    assert str(cache) in line and "RECBOLE_EXT_CACHE" in line
    assert encoder.calls == 0


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recbole_ext.text.cache.write_atomically", full)
    line = _error(Counting(), tmp_path)
    assert str(tmp_path) in line and "No space left on device" in line


def test_a_hit_needs_no_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embed(TEXTS, Counting(), tmp_path)

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert embed(TEXTS, Counting(), tmp_path).seconds == 0.0
    assert "Permission denied" in _error(Counting(fingerprint="0" * 64), tmp_path)


def test_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECBOLE_EXT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("RECBOLE_EXT_CACHE")
    assert default_cache() == tmp_path / "xdg" / "recbole_ext"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "recbole_ext"
