"""Run files: what another system scored or ranked, read as a row of the board under the same protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.tables import ITEM, USER, TableFile
from recbole_ext.data.interactions import Interactions
from recbole_ext.evaluator.ranks import RankTask

if TYPE_CHECKING:
    import pandas as pd
    import torch


class RunFile(TableFile):
    """A csv (or tsv) or parquet file with columns user, item, and score (larger is better) or rank (smaller is better).

    With both, the score counts. What a user's list leaves out stands below what it lists, tied; where an item that a
    user already has is listed it is ignored, like everywhere else.
    """

    option = "run-file"

    def read(self, data: Interactions) -> Listed:
        """The file in the ids of `data`.

        Raises:
            HarnessError: a column is missing, a value is no number, a pair stands twice, or a user or item is unknown.
        """
        frame = self.frame()
        user = self.ids(frame, USER, data.user_tokens, f"users of {data.name}")
        item = self.ids(frame, ITEM, data.item_tokens, f"items of {data.name}")
        value = self._values(frame)
        order = np.lexsort((-value, user))
        user, item, value = user[order], item[order], value[order]
        pairs = user * len(data.item_tokens) + item
        unique, counts = np.unique(pairs, return_counts=True)
        if (counts > 1).any():
            u, i = divmod(int(unique[counts > 1][0]), len(data.item_tokens))
            self.refuse(
                f"{int((counts > 1).sum())} pairs stand more than once, first user '{data.user_tokens[u]}' with item "
                f"'{data.item_tokens[i]}'"
            )
        starts = np.searchsorted(user, np.arange(len(data.user_tokens) + 1))
        return Listed(starts, item, _levels(user, value), len(data.item_tokens))

    def _values(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Larger is better."""
        import pandas as pd

        if "score" not in frame and "rank" not in frame:
            self.refuse(f"neither 'score' nor 'rank' (it has {', '.join(frame.columns)})")
        name, sign = ("score", 1.0) if "score" in frame else ("rank", -1.0)
        value = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        bad = np.flatnonzero(~np.isfinite(value))
        if len(bad):
            self.refuse(
                f"{len(bad):,} values of '{name}' are no finite numbers, first '{frame[name].iloc[bad[0]]}' in row "
                f"{int(bad[0]) + 1}"
            )
        # Text once more, by a reader that is exact: the one that finds what is no number is off by a bit in the last place.
        return sign * frame[name].to_numpy().astype(np.float64)


def _levels(user: Ints, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """[L] 1 for the worst value of each user, 2 for the next, ...; equal values share a level.

    Whole numbers keep the order of doubles that float32 would merge. Input is sorted by user, best first.
    """
    new_user = np.append(True, user[1:] != user[:-1])
    worse = np.append(False, (value[1:] < value[:-1]) & ~new_user[1:])
    depth = np.cumsum(worse)
    first = np.flatnonzero(new_user)
    last = np.append(first[1:], len(user)) - 1
    which = np.cumsum(new_user) - 1
    return np.asarray(depth[last][which] - depth + 1, dtype=np.float32)


@dataclass(frozen=True)
class Listed:
    """Lists of all users, by index."""

    starts: Ints
    """[users + 1] where each user's entries begin."""
    item: Ints
    level: npt.NDArray[np.float32]
    """[L] larger is better, at least 1."""
    n_items: int

    def scores(self, users: Ints) -> torch.Tensor:
        """[B, n_items] levels, 0 for what is not listed."""
        import torch

        out = np.zeros((len(users), self.n_items), dtype=np.float32)
        for row, user in enumerate(users):
            here = slice(self.starts[user], self.starts[user + 1])
            out[row, self.item[here]] = self.level[here]
        return torch.from_numpy(out)

    def remarks(self, task: RankTask) -> list[str]:
        """What a reader of the row must know: who is missing, and how deep the lists go."""
        lengths = (self.starts[1:] - self.starts[:-1])[task.users]
        found = ["from a run file"]
        if (missing := int((lengths == 0).sum())) == len(lengths):
            raise HarnessError("the run file has none of the test users; is it for another split?")
        if missing:
            found.append(
                f"{missing} of {len(lengths)} test users are not in the run file: all their items tie"
            )
        if (lengths[lengths > 0] < task.n_items // 2).any():
            low, high = int(lengths[lengths > 0].min()), int(lengths.max())
            found.append(
                f"the run file lists {low:,} to {high:,} items a user; what is not listed ties below"
            )
        return found
