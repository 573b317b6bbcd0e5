from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.text.batching import encode_in_batches


def _lengths(batch: list[str]) -> np.ndarray:
    return np.array([[len(text), ord(text[0])] for text in batch], dtype=np.float32)


@given(st.lists(st.sampled_from(["", " ", "a", "bb", "b", "ccc", "dd d"])), st.integers(1, 4))
def test_rows_belong_to_their_texts(texts: list[str], batch_size: int) -> None:
    batches: list[list[str]] = []
    seen: list[int] = []

    def encode(batch: list[str]) -> np.ndarray:
        batches.append(batch)
        return _lengths(batch)

    vectors = encode_in_batches(texts, 2, batch_size, encode, seen.append)

    assert vectors.dtype == np.float32 and vectors.shape == (len(texts), 2)
    for text, vector in zip(texts, vectors, strict=True):
        assert vector.tolist() == ([len(text), ord(text[0])] if text.strip() else [0, 0])
    sent = [text for batch in batches for text in batch]
    assert sorted(sent) == sorted({text for text in texts if text.strip()})
    assert [len(text) for text in sent] == sorted((len(text) for text in sent), reverse=True)
    assert all(len(batch) <= batch_size for batch in batches)
    assert seen == sorted(seen) and seen[-1] == len(texts)


def noted(sent: list[list[str]]) -> Callable[[list[str]], np.ndarray]:
    def encode(batch: list[str]) -> np.ndarray:
        sent.append(batch)
        return _lengths(batch)

    return encode


def test_batches_do_not_depend_on_the_order_of_the_texts() -> None:
    texts = ["aa", "b", "cc", "d", "eee", "f"]
    calls: list[list[list[str]]] = []
    for order in (texts, texts[::-1], sorted(texts)):
        sent: list[list[str]] = []
        calls.append(sent)
        encode_in_batches(order, 2, 2, noted(sent))
    assert calls[0] == calls[1] == calls[2]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_full_memory_is_one_line(error: Exception) -> None:
    def encode(batch: list[str]) -> np.ndarray:
        raise error

    with pytest.raises(HarnessError, match="smaller batch size") as caught:
        encode_in_batches(["a"], 1, 8, encode)
    assert "\n" not in str(caught.value)


def test_other_errors_pass() -> None:
    def encode(batch: list[str]) -> np.ndarray:
        raise RuntimeError("index out of range")

    with pytest.raises(RuntimeError, match="index out of range"):
        encode_in_batches(["a"], 1, 8, encode)
