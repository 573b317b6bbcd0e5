"""What stands in a dataset beside its interactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.recbole_compat.dataset import Padded


@dataclass(frozen=True)
class Beside:
    """Of users and items, in their order; None of what a model does not read, or nobody has."""

    item_vectors: npt.NDArray[np.float32] | None = None
    """[n_items, d] text embeddings."""
    item_titles: Sequence[str] | None = None
    """[n_items], "" where there is none."""
    item_texts: Callable[[], Sequence[str]] | None = None
    """The texts behind `item_vectors`, asked for by a model that encodes them itself."""
    user_vectors: npt.NDArray[np.float32] | None = None
    """[n_users, d] those of what is said of users in words."""
    item_blocks: npt.NDArray[np.int64] | None = None
    """[n_items] ascending, items of one dataset where several are trained on."""

    def put(self, parts: Iterable[Any]) -> None:
        """Into RecBole's datasets, row 0 being padding. One of each, whatever their number: vectors of a million items take
        more than everything else."""
        titles = None if self.item_titles is None else ["", *self.item_titles]
        of_items = None if self.item_vectors is None else Padded(self.item_vectors)
        of_users = None if self.user_vectors is None else Padded(self.user_vectors).tensor
        blocks = None if self.item_blocks is None else np.concatenate([[0], self.item_blocks])
        for part in parts:
            if titles is not None:
                part.item_titles = titles
            part.item_texts = self.item_texts
            if of_items is not None:
                part.padded_vectors = of_items
            part.user_vectors = of_users
            part.item_blocks = blocks
