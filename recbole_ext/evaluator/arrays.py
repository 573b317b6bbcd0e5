"""The evaluator for a notebook: scores and positives as plain arrays in, every protocol and its correction out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.corrected import corrected, sampled_ranks
from recbole_ext.evaluator.findings import Corrected
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.ranks import RankTable, make_task, rank
from recbole_ext.evaluator.stats import resamples
from recbole_ext.evaluator.summary import per_user, summarise, with_lists


@dataclass(frozen=True)
class Evaluation:
    """Ranked positives of one system, and what can be read off them."""

    table: RankTable
    protocols: tuple[str, ...]
    ks: tuple[int, ...]

    @property
    def metrics(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Protocol -> metric -> `mean` over users, `low` and `high` of its 95% bootstrap interval (and `draws`)."""
        return summarise(self.table, self.protocols, self.ks)

    def per_user(self, protocol: str) -> Mapping[str, Floats]:
        """Metric -> [U] values, users ascending, e.g. for `stats.paired_tests`; [U, draws] for drawn lists."""
        return per_user(self.table, protocol, self.ks)

    def full_from(self, protocol: str, resampled: int = 200) -> dict[str, Corrected]:
        """Estimates of full ranking from a `uniM` protocol: per-positive metric -> `Corrected`.

        Args:
            protocol: one that was asked for.
            resampled: bootstrap samples of the users behind the intervals.
        """
        drawn = [name for name in self.table.lists if protocol_of(name).corrects]
        if protocol not in drawn:
            raise HarnessError(
                f"'{protocol}' was not drawn uniformly here ({', '.join(drawn) or 'nothing was'})"
            )
        above, tied = self.table.lists[protocol]
        m = protocol_of(protocol).m
        assert m is not None
        seen = sampled_ranks(above, tied, self.table.user, self.table.negatives, m)
        names = [f"{name}@{k}" for k in self.ks for name in ("hit_pp", "ndcg_pp")]
        return corrected(seen, names, np.concatenate(list(resamples(len(seen.bin), resampled))))


def evaluate(
    scores: npt.ArrayLike | Callable[[Ints], npt.ArrayLike],
    test: Any,
    seen: Any,
    protocols: Sequence[str] = ("full",),
    ks: Sequence[int] = (10, 20),
    draws: int = 5,
    key: str = "",
) -> Evaluation:
    """Rank the test positives of every user by given scores.

    Args:
        scores: [U, n] (NumPy, or a tensor on the CPU), or a function from users [B] to [B, n]; larger is better.
        test: positives to be ranked: a SciPy sparse matrix [U, n], or (users [P], items [P]).
        seen: what a user has already, in either form: no candidates, and the popularity of `popM`.
        protocols: `full`, `uniM`, `popM`, `expected@M`.
        ks: cut-offs.
        draws: frozen lists per positive.
        key: of the drawing; the same key, test and seen give the same lists.

    Raises:
        HarnessError: scores that are no finite numbers, an unknown protocol, too few negatives.
    """
    import torch

    given = scores if callable(scores) else None
    matrix = None if given is not None else np.asarray(scores)
    positives, excluded = _pairs(test), _pairs(seen)
    if matrix is not None:
        n_users, n_items = matrix.shape
    else:
        assert given is not None
        n_items = np.asarray(given(np.array([0]))).shape[1]
        n_users = 1 + int(max(np.max(positives[0], initial=0), np.max(excluded[0], initial=0)))
    for what, pairs in (("test", positives), ("seen", excluded)):
        if len(pairs[0]) and not (pairs[0].min() >= 0 and pairs[0].max() < n_users):
            raise HarnessError(
                f"{what}: user {int(pairs[0].max())} has no row among {n_users} of the scores"
            )
        if len(pairs[1]) and not (pairs[1].min() >= 0 and pairs[1].max() < n_items):
            raise HarnessError(
                f"{what}: item {int(pairs[1].max())} has no column among {n_items} of the scores"
            )
    width = len(str(max(n_users, n_items)))
    users, items = ([f"{i:0{width}d}" for i in range(n)] for n in (n_users, n_items))
    popularity = np.bincount(excluded[1], minlength=n_items)
    task = with_lists(
        make_task(n_items, positives, excluded), protocols, users, items, draws, key, popularity
    )

    def block(who: Ints) -> list[torch.Tensor]:
        rows = matrix[who] if matrix is not None else given(who)  # type: ignore[misc]
        return [torch.from_numpy(np.ascontiguousarray(rows))]

    (table,) = rank(task, block, top=max(ks))
    return Evaluation(table, tuple(protocols), tuple(ks))


def _pairs(given: Any) -> tuple[Ints, Ints]:
    if hasattr(given, "tocoo"):
        entries = given.tocoo()
        kept = entries.data != 0
        return entries.row[kept].astype(np.int64), entries.col[kept].astype(np.int64)
    users, items = (np.asarray(x, dtype=np.int64).ravel() for x in given)
    if len(users) != len(items):
        raise HarnessError(f"{len(users)} users and {len(items)} items do not make pairs")
    return users, items
