"""SGFCF: the strength of a low-pass is each user's and each item's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from recbole_ext.core.sparse import by_rows, times, with_values
from recbole_ext.linear.graph import Factor, Graph, shared_factor
from recbole_ext.linear.homophily import BLOCK, homophily
from recbole_ext.model.graph_filter import GraphFilter, Point, Scorer
from recbole_ext.model.profiles import Users


class SGFCF(GraphFilter):
    """Peng, Liu, Sugiyama, Mine, "How Powerful is Graph Filtering for Recommendation", KDD 2024, in the form of the authors' code.

    With R̂ = (D_U + μ)^-ε X (D_I + μ)^-ε ≈ U S Vᵀ of rank k and s = S / S_1,

        scores = rows of (U s^β_u) (V s^β_i)ᵀ, each divided by its sum, + γ (rows of R̂R̂ᵀR̂, each divided by its sum).

    β_u goes linearly from `beta` to `beta_end` with the homophily of u: the share of the pairs of its items that have another
    common user; β_i likewise, users and items apart. `individual: false` has `beta` for all.

    Since U = R̂VS⁻¹, a user's part of U is made of its row, and a user that training lacks is scored like any other; what its
    row is divided by cancels. The sum of a row may be negative, which turns its order, as in the code.

    Deviations: the code takes a sigmoid in the end, which orders as its argument does but makes ties in float32: it is left out. Its
    SVD is a randomised one of rank k + 200, ours has converged. Where all homophilies are equal the code divides by zero,
    here all have `beta`; that of a user that training lacks is held within the range of those that it has (ours); one without
    interactions does not count there. A sum of 0 leaves zeros. The search space is ours, about the published settings.
    """

    keys = ("k", "eps", "mu", "gamma", "beta", "beta_end", "individual")

    @classmethod
    def planned_bytes(cls, n_users: int, n_items: int, params: Mapping[str, Any]) -> int:
        """As of any filter, and V scaled for each item; counts of common users, and common items, in blocks."""
        counts = 6 * BLOCK * (max(n_users, n_items) + 1)
        scaled = 4 * 3 * (n_items + 1) * int(params["k"])
        return max(counts, super().planned_bytes(n_users, n_items, params) + scaled)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.register_buffer("values", torch.zeros(self.vectors.shape[1], dtype=self.dtype))
        self._scaled: tuple[torch.Tensor, torch.Tensor] | None = None
        self._shares: dict[str, torch.Tensor] = {}

    def graph(self) -> Graph:
        return self._graph_at(self.point)

    def solve(self) -> None:
        """The factor; homophilies follow from the rows, like the graph."""
        factor = self._factor(self.point, self.checked_rank(self.point))
        self.values, self.vectors = factor.values.to(self.dtype), factor.vectors.to(self.dtype)
        self._scaled = None

    def families(self, points: Sequence[Point]) -> Iterator[tuple[list[Point], Scorer]]:
        """Points with one ε and μ share the factor of their largest k; a group differs in γ alone, and shares all products."""
        whole = [{**self.point, **point} for point in points]
        for graph_key in dict.fromkeys(_of(point, "eps", "mu") for point in whole):
            same = [i for i, point in enumerate(whole) if _of(point, "eps", "mu") == graph_key]
            largest = max(self.checked_rank(whole[i]) for i in same)
            factor, graph = self._factor(whole[same[0]], largest), self._graph_at(whole[same[0]])
            weights = ("k", "beta", "beta_end", "individual")
            for key in dict.fromkeys(_of(whole[i], *weights) for i in same):
                group = [i for i in same if _of(whole[i], *weights) == key]
                first = whole[group[0]]
                cut = factor.padded(int(first["k"]))
                parts = self._weighted(first, cut.values.to(self.dtype), cut.vectors.to(self.dtype))
                gammas = [float(whole[i]["gamma"]) for i in group]

                def scores(
                    users: torch.Tensor,
                    graph: Graph = graph,
                    first: Point = first,
                    parts: tuple[torch.Tensor, torch.Tensor] = parts,
                    gammas: list[float] = gammas,
                ) -> Iterator[torch.Tensor]:
                    yield from self._scores(users.cpu().numpy(), graph, first, parts, gammas)

                yield [dict(points[i]) for i in group], scores

    def block(self, users: Users) -> torch.Tensor:
        if self._scaled is None:
            self._scaled = self._weighted(self.point, self.values, self.vectors)
        gammas = [float(self.point["gamma"])]
        return next(self._scores(users, self.graph(), self.point, self._scaled, gammas))

    def _scores(
        self,
        users: Users,
        graph: Graph,
        point: Point,
        parts: tuple[torch.Tensor, torch.Tensor],
        gammas: Sequence[float],
    ) -> Iterator[torch.Tensor]:
        """[B, n] for each γ."""
        s, right = parts
        x = by_rows(self.rows[users], self.dtype, right.device)
        shrunk = x.values() * graph.scale(-float(point["eps"]))[x.col_indices()]
        x = with_values(x, shrunk)
        k = right.shape[1] // 2
        power = self._exponents(point, self._user_shares(users), "users")
        # (B, n) (n, k): R̂V; that over S, times s^β_u, is U s^β_u up to a factor for each user
        left = times(x, right[:, k:]) * s ** (power[:, None] - 1.0)
        low = _by_sums(left @ right[:, :k].T)  # (B, k) (k, n)
        twice = _by_sums(graph.times_rows(x))
        for gamma in gammas:
            yield torch.add(low, twice, alpha=gamma)

    def _weighted(
        self, point: Point, values: torch.Tensor, vectors: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """s [r] and [n, 2r]: V s^β_i beside V, without what is above the rank."""
        r = int((values > 0).sum())
        s = values[:r] / values[:1].clamp_min(torch.finfo(self.dtype).tiny)
        power = self._exponents(point, self._homophily("items"), "items")
        return s, torch.cat([vectors[:, :r] * s ** power[:, None], vectors[:, :r]], dim=1)

    def _exponents(self, point: Point, h: torch.Tensor, whose: str) -> torch.Tensor:
        """β of homophilies h, linear between the least and the largest of the users or items of training."""
        beta, end = float(point["beta"]), float(point["beta_end"])
        axis = 1 if whose == "users" else 0
        trained = np.asarray(self.interactions.sum(axis=axis)).ravel() > 0
        if not bool(point["individual"]) or not trained.any():
            return torch.full_like(h, beta)
        among = self._homophily(whose)[torch.from_numpy(trained).to(h.device)]
        low, high = float(among.min()), float(among.max())
        if low == high:
            return torch.full_like(h, beta)
        return beta + (end - beta) * ((h - low) / (high - low)).clamp(0, 1)

    def _homophily(self, whose: str) -> torch.Tensor:
        """[n_users] or [n_items] of training; made once."""
        if whose not in self._shares:
            x = self.interactions if whose == "users" else self.interactions.T.tocsr()
            found = torch.from_numpy(homophily(x, x, 2)).to(self.dtype)
            self._shares[whose] = found.to(self.vectors.device)
        return self._shares[whose]

    def _user_shares(self, users: Users) -> torch.Tensor:
        """[B] homophilies; to a user that is folded in, any user of training is another one."""
        if self.rows is not self.interactions and "folded" not in self._shares:
            found = self._homophily("users").clone()
            new = np.diff(self.rows.indptr) > np.diff(self.interactions.indptr)
            shares = torch.from_numpy(homophily(self.rows[new], self.interactions, 1)).to(
                self.dtype
            )
            found[torch.from_numpy(new).to(found.device)] = shares.to(found.device)
            self._shares = {**self._shares, "folded": found}  # not the one that a copy shares
        every = self._shares["folded"] if "folded" in self._shares else self._homophily("users")
        return every[torch.from_numpy(users).to(every.device)]

    def _graph_at(self, point: Point) -> Graph:
        eps, mu = float(point["eps"]), float(point["mu"])
        if self._graph is None or self._of_graph != (eps, mu):
            self._graph = Graph.of(self.interactions, eps, mu, self.dtype, self.vectors.device)
            self._of_graph = (eps, mu)
        return self._graph

    _of_graph: tuple[float, float] | None = None

    def _factor(self, point: Point, k: int) -> Factor:
        eps, mu = float(point["eps"]), float(point["mu"])
        return shared_factor(self.interactions, k, eps, mu, self.device).padded(k)


def _of(point: Point, *keys: str) -> tuple[Any, ...]:
    return tuple(point[key] for key in keys)


def _by_sums(rows: torch.Tensor) -> torch.Tensor:
    """Rows [B, n] divided in place by their sums, zeros where a sum is 0."""
    sums = rows.sum(1, keepdim=True)
    return rows.div_(torch.where(sums != 0, sums, torch.inf))
