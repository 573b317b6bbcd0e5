"""Item vectors on disk: encoded once per encoder and list of texts, checked at every reading."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import locked, write_atomically
from recbole_ext.text.batching import Progress
from recbole_ext.text.encoder import TextEncoder
from recbole_ext.text.template import texts_fingerprint
from recbole_ext.text.vectors import VectorFile

_FORMAT = "recbole_ext embeddings 1"


@dataclass(frozen=True)
class Embeddings:
    """The vectors of a list of texts, or of item tokens, and where they came from."""

    vectors: npt.NDArray[np.float32]
    """[n, d], row i for text i; zero for a blank text."""
    encoder: str
    encoder_fingerprint: str
    texts_fingerprint: str
    """Of the item tokens where those were read."""
    seconds: float
    """Time that encoding took, weights loaded included; 0.0 if the vectors came from the cache."""
    path: Path


def embed(
    texts: Sequence[str], encoder: TextEncoder, cache_dir: Path, progress: Progress | None = None
) -> Embeddings:
    """Vectors of `texts`, from the cache or encoded and put there.

    Processes that ask for the same vectors at once wait for one of them to encode. An entry that is
    damaged or not what its name says is moved aside to ``<name>.corrupt`` with a warning, and
    encoded again.

    Args:
        texts: n texts, order kept.
        encoder: What encodes them; its name and fingerprint are all that is used on a hit.
        cache_dir: Entries are ``embeddings/<32 hex digits>.safetensors`` below it.
        progress: Passed to the encoder.

    Raises:
        HarnessError: `cache_dir` cannot be written, the encoder cannot encode, or its output is not
            finite.
    """
    fingerprint = texts_fingerprint(texts)
    key = hashlib.sha256((encoder.fingerprint + fingerprint).encode()).hexdigest()[:32]
    path = cache_dir / "embeddings" / f"{key}.safetensors"
    expected = {"format": _FORMAT, "encoder": encoder.fingerprint, "texts": fingerprint}

    def found(vectors: npt.NDArray[np.float32], seconds: float) -> Embeddings:
        return Embeddings(vectors, encoder.name, encoder.fingerprint, fingerprint, seconds, path)

    # Unlocked first: a finished entry never changes, and a cache that may only be read has its use.
    if isinstance(hit := _read(path, expected, len(texts)), np.ndarray):
        return found(hit, 0.0)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(path.with_suffix(".lock"), "encoding"))
        except OSError as error:
            raise _unwritable(cache_dir, error) from None
        # Again: another process may have encoded while this one waited.
        hit = _read(path, expected, len(texts))
        if isinstance(hit, np.ndarray):
            return found(hit, 0.0)
        if hit:
            _move_aside(path, cache_dir, hit)
        start = time.perf_counter()
        vectors = _checked(encoder.encode(texts, progress), encoder.name, len(texts))
        seconds = time.perf_counter() - start
        _write(path, cache_dir, vectors, expected)
        return found(vectors, seconds)


def look_up(tokens: Sequence[str], file: VectorFile) -> tuple[Embeddings, str]:
    """(Vectors of items by their tokens, a line on how items and file meet); a file is not copied into the cache.

    Raises:
        HarnessError: what is wrong with the file.
    """
    found = file.of(tokens)
    embeddings = Embeddings(
        found.vectors, file.name, file.fingerprint, texts_fingerprint(tokens), 0.0, file.path
    )
    return embeddings, file.told(found)


def _read(path: Path, expected: dict[str, str], n: int) -> npt.NDArray[np.float32] | str:
    """The vectors of a sound entry, "" where there is none, or what is wrong with the entry."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as entry:
            metadata, vectors = dict(entry.metadata() or {}), entry.get_tensor("vectors")
    except FileNotFoundError:
        return ""
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        return f"not readable, {type(error).__name__}"
    if any(metadata.get(key) != value for key, value in expected.items()):
        return "of another encoder or other texts"
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != n:
        return "of another shape"
    if metadata.get("shape") != _shape(vectors) or metadata.get("sha256") != _sha256(vectors):
        return "damaged"
    return np.asarray(vectors, dtype=np.float32)


def _write(
    path: Path, cache_dir: Path, vectors: npt.NDArray[np.float32], expected: dict[str, str]
) -> None:
    from safetensors.numpy import save

    metadata = expected | {"shape": _shape(vectors), "sha256": _sha256(vectors)}
    try:
        write_atomically(path, save({"vectors": vectors}, metadata))
    except OSError as error:
        raise _unwritable(cache_dir, error) from None


def _move_aside(path: Path, cache_dir: Path, reason: str) -> None:
    aside = path.with_name(f"{path.name}.corrupt")
    try:
        os.replace(path, aside)
    except OSError as error:
        raise _unwritable(cache_dir, error) from None
    warnings.warn(
        f"cached vectors {path} are {reason}; moved to {aside.name}, encoding again", stacklevel=3
    )


def _checked(vectors: npt.NDArray[np.float32], name: str, n: int) -> npt.NDArray[np.float32]:
    if vectors.ndim != 2 or len(vectors) != n:
        raise HarnessError(
            f"encoder {name}: gave {vectors.shape} for {n} texts; use another encoder"
        )
    if bad := int((~np.isfinite(vectors)).any(axis=1).sum()):
        raise HarnessError(
            f"encoder {name}: NaN or infinity for {bad} of {n} texts, nothing was kept; "
            "use another encoder or, for a half-precision model, another device"
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _shape(vectors: npt.NDArray[np.float32]) -> str:
    return "x".join(map(str, vectors.shape))


def _sha256(vectors: npt.NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).hexdigest()


def _unwritable(cache_dir: Path, error: OSError) -> HarnessError:
    reason = error.strerror or type(error).__name__
    return HarnessError(
        f"cache {cache_dir}: cannot be written ({reason}); "
        "free or change it, or set RECBOLE_EXT_CACHE to another folder"
    )
