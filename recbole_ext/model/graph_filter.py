"""What linear graph filters share as RecBole models: one factor of the graph, and scores of users in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.linear.eigen import planned_columns
from recbole_ext.linear.filters import Filter
from recbole_ext.linear.graph import Graph, shared_factor
from recbole_ext.linear.responses import Responses
from recbole_ext.model.profiles import ProfileRecommender, Users, in_batches

Point = Mapping[str, Any]
Scorer = Callable[[torch.Tensor], Iterator[torch.Tensor]]
_BLOCK = 1 << 21
"""Scores that are made together, 8 MB in float32: some ten such matrices are there at once, and of that size they stay in the
processor's cache."""
_MATRICES = 48
"""Blocks that are planned for: some thirty of a family, and the columns of several polynomials, which are eight more."""


class GraphFilter(ProfileRecommender):
    """scores(u) = x_u F with a binary row x_u [n_items] and a filter F of the training graph that is never a matrix.

    x_u is the row of training, or, for a user that it lacks, what is folded in. A subclass names its keys, its number of
    leading vectors (`rank_key`), and gives `filter_at`. What is kept after `solve` is V [n_items, k].
    """

    keys: tuple[str, ...] = ()
    """Parameters that a point of the search space may set."""
    rank_key = "k"
    dtype = torch.float32
    """Of scores."""
    family_bytes = 4 * _BLOCK
    """Largest matrix of a family's scores: some thirty such matrices are there at once, and what one has written the ranking finds in
    the processor's cache."""

    @classmethod
    def planned_bytes(cls, n_users: int, n_items: int, params: Mapping[str, Any]) -> int:
        """Peak memory: the basis of the factor in float64, or V in both precisions, what is made of it, and the blocks of scores."""
        n, k = n_items + 1, int(params[cls.rank_key])
        solving = 8 * n * planned_columns(n, k)
        return max(solving, 16 * n * k + 4 * _MATRICES * max(_BLOCK, n))

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.point: dict[str, Any] = {key: config[key] for key in self.keys}
        k = self.checked_rank(self.point)
        self.register_buffer("vectors", torch.zeros(self.n_items, k, dtype=self.dtype))
        self._graph: Graph | None = None
        self._made: tuple[Responses, int] | None = None

    @staticmethod
    def filter_at(point: Point) -> Filter:
        """The filter of a point that has all keys."""
        raise NotImplementedError

    def rank_at(self, point: Point) -> int:
        """Leading vectors that a point reads."""
        return int(point[self.rank_key])

    def checked_rank(self, point: Point) -> int:
        """Leading vectors that a point reads.

        Raises:
            HarnessError: there are no more than that of users or items.
        """
        k, sizes = self.rank_at(point), (self.n_users - 1, self.n_items - 1)
        if k and k >= min(sizes):
            raise HarnessError(
                f"--{self.rank_key}={k}: {sizes[0]:,} users and {sizes[1]:,} items have no {k:,} leading vectors to choose; "
                f"lower --{self.rank_key} to at most {min(sizes) - 1} (of a search, its values in properties/model)"
            )
        return k

    def graph(self) -> Graph:
        """R̃ of training in the precision of scores."""
        if self._graph is None:
            self._graph = Graph.of(self.interactions, dtype=self.dtype, device=self.vectors.device)
        return self._graph

    def solve(self) -> None:
        """The leading vectors."""
        k = self.checked_rank(self.point)
        factor = shared_factor(self.interactions, k, device=self.device).padded(k)
        self.vectors = factor.vectors.to(self.dtype)

    def families(self, points: Sequence[Point]) -> Iterator[tuple[list[Point], Scorer]]:
        """All points, which share the factor of the largest k; those of one k share its low-pass."""
        whole = [{**self.point, **point} for point in points]
        k = max(self.checked_rank(point) for point in whole)
        factor = shared_factor(self.interactions, k, device=self.device, larger=True).padded(k)
        vectors = factor.vectors.to(self.dtype)
        filters = [self.filter_at(point) for point in whole]
        made, rows = Responses(self.graph(), vectors, filters), self.rows

        def scores(users: torch.Tensor) -> Iterator[torch.Tensor]:
            yield from made.of(rows[users.cpu().numpy()])

        yield [dict(points[i]) for i in made.order], scores

    def responses(self) -> Responses:
        """Of this point; made anew when other vectors have been solved for or loaded."""
        v, version = self.vectors, self.vectors._version
        if self._made is None or self._made[0].vectors is not v or self._made[1] != version:
            self._made = Responses(self.graph(), v, [self.filter_at(self.point)]), version
        return self._made[0]

    def block(self, users: Users) -> torch.Tensor:
        """[B, n_items] of users that are few enough to be scored together."""
        return next(self.responses().of(self.rows[users]))

    def scores_of(self, users: Users) -> torch.Tensor:
        """[B, n_items] of users, made in blocks."""
        step = max(1, _BLOCK // self.n_items)
        if len(users) <= step:
            return self.block(users)
        out = torch.empty(len(users), self.n_items, dtype=self.dtype, device=self.vectors.device)
        for first, few in enumerate(in_batches(users, step)):
            out[first * step : first * step + len(few)] = self.block(few)
        return out
