"""From a list of texts to a matrix, whatever the encoder: batches, order, blanks and repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError

Progress = Callable[[int], None]
"""Told after every batch how many texts are done so far; the last call gets len(texts)."""


def encode_in_batches(
    texts: Sequence[str],
    dim: int,
    batch_size: int,
    encode_batch: Callable[[list[str]], npt.NDArray[np.float32]],
    progress: Progress | None = None,
) -> npt.NDArray[np.float32]:
    """Encode every distinct text once, in batches of similar length, the longest first.

    Batches depend on the set of texts and not on their order, so a permutation of `texts` permutes
    the rows and changes no bit of them. A blank text is not encoded: its row is zero, for an item
    without text has no direction.

    Args:
        texts: n texts.
        dim: Width d of a row.
        batch_size: Most texts in a batch.
        encode_batch: A batch of texts -> [len(batch), d].
        progress: Called after every batch.

    Returns:
        [n, d] float32.

    Raises:
        HarnessError: the device ran out of memory.
    """
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if text.strip():
            rows.setdefault(text, []).append(row)
    # Longest first: a batch that does not fit in memory fails at once and not after an hour.
    order = sorted(rows, key=lambda text: (-len(text), text))
    vectors = np.zeros((len(texts), dim), dtype=np.float32)
    done = len(texts) - sum(map(len, rows.values()))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        for text, vector in zip(batch, _encode(encode_batch, batch), strict=True):
            vectors[rows[text]] = vector
            done += len(rows[text])
        if progress is not None:
            progress(done)
    if progress is not None and not order:
        progress(done)
    return vectors


def _encode(
    encode_batch: Callable[[list[str]], npt.NDArray[np.float32]], batch: list[str]
) -> npt.NDArray[np.float32]:
    with memory_told(
        f"out of memory while encoding {len(batch)} texts at once; "
        "use a smaller batch size or a smaller encoder"
    ):
        return encode_batch(batch)


@contextmanager
def memory_told(line: str) -> Iterator[None]:
    """Say `line` where the device runs out of memory.

    Raises:
        HarnessError: it did.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch has one class for a full GPU and a plain RuntimeError for a full host.
        message = str(error).lower()
        full = "out of memory" in message or "can't allocate memory" in message
        if not full and not isinstance(error, MemoryError):
            raise
        raise HarnessError(line) from None
