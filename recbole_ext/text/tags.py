"""Multi-hot tags: which words an item's text holds, over a vocabulary of the texts themselves."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recbole_ext.core.canonical import canonical_json
from recbole_ext.text.batching import Progress

DEFAULT_DIM = 4096
FEWEST, MOST = 3, 0.5
"""A tag stands in at least so many items, and in at most this share of them."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class TagEncoder:
    """Lower-case words that several items share and not most of them, the most frequent first, `dim` at most.

    The columns depend on all texts together, so that a text's row means something beside the others only.
    """

    name: str
    dim: int = DEFAULT_DIM

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the method, its version and its limits."""
        made_of = {"tags": 1, "dim": self.dim, "fewest": FEWEST, "most": MOST}
        return hashlib.sha256(canonical_json(made_of).encode()).hexdigest()

    def encode(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """[n, v] of zeros and ones, v <= dim."""
        words = [set(_WORD.findall(text.lower())) for text in texts]
        items = Counter(word for found in words for word in found)
        kept = [w for w, count in items.items() if FEWEST <= count <= MOST * len(texts)]
        column = {
            word: place
            for place, word in enumerate(sorted(kept, key=lambda w: (-items[w], w))[: self.dim])
        }
        vectors = np.zeros((len(texts), len(column)), dtype=np.float32)
        for row, found in enumerate(words):
            vectors[row, [column[word] for word in found if word in column]] = 1.0
        if progress is not None:
            progress(len(texts))
        return vectors
