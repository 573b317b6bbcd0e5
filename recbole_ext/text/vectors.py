"""Item vectors that were made elsewhere, looked up by item token: no text is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import digest_of
from recbole_ext.core.token_vectors import ByToken, Form, check_file, read_by_token
from recbole_ext.text.batching import Progress

_ITEMS = Form("item", ("item", "item_id"), ("items", "vectors"))


@dataclass(frozen=True)
class VectorFile:
    """``file:PATH``: a parquet file with a row per item, `item` (or `item_id`) and `vector`, or an npz file with the arrays
    `items` [n] of text and `vectors` [n, d].

    It stands among the encoders, and yet reads item tokens in place of texts: `of` is what models are given, `encode` refuses. What the
    experiments of a command ask of one file is hashed once and read once.
    """

    path: Path
    written: tuple[int, int] = (0, 0)
    """(Time in nanoseconds, bytes): one content of the file from another, without reading it."""

    @classmethod
    def at(cls, place: str) -> VectorFile:
        """The file that a user names; opened when its content is asked for.

        Raises:
            HarnessError: no such file, or one of another kind.
        """
        path = Path(place).expanduser()
        check_file(path, cls(path)._refuse)
        state = path.stat()
        return cls(path, (state.st_mtime_ns, state.st_size))

    @property
    def name(self) -> str:
        """As it stands in records, which hold no folder."""
        return f"file:{self.path.name}"

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of the file's content."""
        try:
            return _fingerprint(self)
        except OSError as error:
            self._refuse(f"it cannot be read ({error.strerror})")

    def encode(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Refuse: what made the vectors is not here.

        Raises:
            HarnessError: always.
        """
        self._refuse(
            "it has vectors of items, and none can be made of a text or a query; take another encoder for that"
        )

    def of(self, tokens: Sequence[str]) -> ByToken:
        """The vectors of items; zeros, as a blank text has, where the file lacks one.

        Args:
            tokens: n items as the dataset spells them, order kept.

        Raises:
            HarnessError: the file is none of this form, two of its vectors are of one item, one is not finite, or none is of
                an item here.
        """
        return _looked_up(self, tuple(tokens))

    def told(self, found: ByToken) -> str:
        """A line for the reader, "" where every item has a vector and every vector an item."""
        parts = []
        if lacking := int((~found.known).sum()):
            verb = "has" if lacking == 1 else "have"
            parts.append(
                f"{lacking:,} of {len(found.known):,} items {verb} no vector (zeros), e.g. '{found.lacking}'"
            )
        if found.foreign:
            noun = "vector is" if found.foreign == 1 else "vectors are"
            parts.append(f"{found.foreign:,} {noun} of no item here")
        return f"{self.name}: {'; '.join(parts)}" if parts else ""

    def _refuse(self, why: str) -> NoReturn:
        raise HarnessError(f"encoder file:{self.path}: {why}")


@lru_cache(maxsize=8)
def _fingerprint(file: VectorFile) -> str:
    return digest_of(file.path)


@lru_cache(maxsize=1)
def _looked_up(file: VectorFile, tokens: tuple[str, ...]) -> ByToken:
    """One, since it may be gigabytes: what the experiments of a command share."""
    found = read_by_token(file.path, _ITEMS, tokens, file._refuse)
    if not found.known.any():
        file._refuse(
            f"none of its {found.foreign:,} items is one of this dataset's {len(tokens):,}: it has e.g. '{found.stranger}', "
            f"the dataset e.g. '{tokens[0]}'; write tokens as the dataset does"
        )
    return found
