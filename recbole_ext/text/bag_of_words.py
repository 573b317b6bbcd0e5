"""A bag of hashed words: no weights, no download, alike on every machine. For tests, as a floor."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.hashing import token_hashes
from recbole_ext.text.batching import Progress, encode_in_batches

DEFAULT_DIM = 256
_KEY = "text/bag_of_words/1"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class HashEncoder:
    """Feature hashing with signs; a row holds whole numbers and is not normalised."""

    name: str
    dim: int = DEFAULT_DIM

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the method, its version and the width."""
        return hashlib.sha256(canonical_json({"hash": _KEY, "dim": self.dim}).encode()).hexdigest()

    def encode(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """[n, dim] float32; a text without a word has a zero row."""
        return encode_in_batches(texts, self.dim, 1024, self._encode_batch, progress)

    def _encode_batch(self, batch: list[str]) -> npt.NDArray[np.float32]:
        vectors = np.zeros((len(batch), self.dim), dtype=np.float32)
        for vector, text in zip(vectors, batch, strict=True):
            hashes = token_hashes(_WORD.findall(text.lower()), _KEY)
            # One bit for the sign and the others for the place, so that the two are independent.
            signs = np.where(hashes & np.uint64(1), 1.0, -1.0)
            np.add.at(vector, (hashes >> np.uint64(1)) % np.uint64(self.dim), signs)
        return vectors
