"""What the closed-form models share as RecBole models: a user's scores are its row times an item matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ext.core import memory
from recbole_ext.core.progress import say
from recbole_ext.core.sparse import by_rows, times
from recbole_ext.linear.inverses import Inverses
from recbole_ext.linear.semantics import Semantics
from recbole_ext.linear.sides import ItemSide, UserSide, choose
from recbole_ext.linear.solution import Solution
from recbole_ext.linear.sparse_side import (
    SparseInverses,
    SparseRows,
    SparseSide,
    entries_of,
    sparse_bytes,
)
from recbole_ext.model.profiles import ProfileRecommender, Users

Point = Mapping[str, Any]
Scorer = Callable[[torch.Tensor], Iterator[torch.Tensor]]
_FACTORS = ("kernel", "c", "left", "right", "own")
_SPARSE = ("p_rows", "p_columns", "p_values", "p_error")
"""P by rows (CSR), and the error of its diagonal, median and most."""
_ITEMS = 1 << 16
"""Vectors normalised at a time."""
_THIN = 1 << 26
"""Numbers of item vectors from which a model without dense sides holds them in float32: a million items of 384 are 1.5 GB."""


class LinearAutoencoder(ProfileRecommender):
    """scores(u) = x_u B with a binary row x_u [n_items] and B [n_items, n_items], diag(B) = 0, both with the padding item 0;
    duplicated interactions count once. x_u is the row of training, or, for a user that it lacks, what is folded in.

    A subclass names its keys in `keys` and gives `ridge` (λ of P = (XᵀX + λI)⁻¹, None without interactions) and
    `solution`. What is kept after `solve` is B itself (`item_matrix`), or, where users are fewer than items
    (`side=users`) or there is no P, the factors that scores are made of, and nothing of n_items x n_items. With `side=sparse`
    (and `auto`, where neither side fits into memory) P is kept with a share `density` of its entries; see `linear.sparse_side`.
    """

    keys: tuple[str, ...] = ()
    """Parameters that a point of the search space may set."""
    shared: tuple[str, ...] = ()
    """Attributes that `prepare` sets: what solutions share, and nothing reads once there is a fit."""
    reads_vectors = True
    """Whether it reads item vectors F."""

    @classmethod
    def planned_bytes(cls, n_users: int, n_items: int, params: Mapping[str, Any]) -> int:
        """Peak memory of tuning: the Gram matrix of the side, one inverse, and its float32 copy when it is float64.

        A precision of `auto` is planned as float64, which it may need, a side of `auto` as the smaller dense one, and nothing
        for a model without P.
        """
        if "side" not in params:
            return 0
        if params["side"] == "sparse":
            return sparse_bytes(params.get("density"), n_items + 1)
        side = choose(str(params["side"]), n_users + 1, n_items + 1)
        size = (n_users if side == "users" else n_items) + 1
        return size**2 * (8 if params["precision"] == "float32" else 16)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.precision = str(config["precision"])
        self.point: dict[str, float] = {key: float(config[key]) for key in self.keys}
        with_p = self.ridge(self.point) is not None
        self.density: float | None = config["density"] if with_p else None
        self.side = self._chosen_side(config) if with_p else "none"
        """`items`, `users`, `sparse`, or `none` for a model without P."""
        self._asked = str(config["side"]) if with_p else "none"
        self._source = dataset, str(config["semantic_norm"])
        self._width = len(self.semantics.f) if self.semantics is not None else 0
        """d, of what scores are made of."""
        self._lay_out(self.side)

    @cached_property
    def semantics(self) -> Semantics | None:
        """F [d, n_items], None for a model without: let go of once there is a fit, and made again if somebody looks after that."""
        return Semantics.of(self._vectors(*self._source)) if self.reads_vectors else None

    def _vectors(self, dataset: Any, how: str) -> torch.Tensor:
        """F [d, n_items], after which nobody holds what it was made of, unless somebody asks again."""
        vectors = dataset.item_vectors.to(self.device)
        thin = self.side in ("sparse", "none") and vectors.numel() >= _THIN
        made = normalised(vectors, how, torch.float32 if thin else torch.float64)
        dataset.forget_item_vectors()
        return made

    def _chosen_side(self, config: Any) -> str:
        """What is asked for, or the smaller side, or where that does not fit into memory `sparse`.

        Raises:
            HarnessError: `density` is none.
        """
        m, n = self.interactions.shape
        side, density = choose(str(config["side"]), m, n), self.density
        share = entries_of(density, n) / n
        if config["side"] == "auto":
            asked = {"side": "auto", "precision": self.precision}
            needed = self.planned_bytes(m - 1, n - 1, asked)
            free = memory.free_memory(str(self.device.type))
            if needed > free:
                side = "sparse"
                say(
                    f"{type(self).__name__}: side=sparse with a density of {share:.2g}, for a dense side takes "
                    f"{needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free"
                )
        return side

    def _lay_out(self, side: str) -> None:
        """The buffers of a side, in place of any other's."""
        for name in ("item_matrix", *_FACTORS, *_SPARSE, "weight"):
            self._buffers.pop(name, None)
        self.side = side
        n, d = self.n_items, self._width
        if side == "items":
            self.register_buffer("item_matrix", _unwritten(n, n))
            return
        m = self.interactions.shape[0] if side == "users" else 0
        with_p = side != "none"
        sizes = ((m, m), (n * with_p,), (n, d), (d, n), (n,))
        for name, shape in zip(_FACTORS, sizes, strict=True):
            self.register_buffer(name, _unwritten(*shape))
        self.register_buffer("weight", torch.ones(()))
        if side == "sparse":
            self.register_buffer("p_rows", torch.zeros(n + 1, dtype=torch.int64))
            self.register_buffer("p_columns", torch.zeros(0, dtype=torch.int32))
            self.register_buffer("p_values", torch.zeros(0))
            self.register_buffer("p_error", torch.zeros(2))

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **given: Any) -> Any:
        """Saved weights say which side an `auto` of another machine was, and how many entries a sparse P has."""
        if self._asked == "auto":
            self._lay_out(_side_of(state_dict))
        for name in ("p_columns", "p_values"):
            if self.side == "sparse" and name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[name], device=self.device))
        self._forget()
        return super().load_state_dict(state_dict, *args, **given)

    def ridge(self, point: Point) -> float | None:
        """λ of P at a point; None for a model without interactions.

        Raises:
            HarnessError: it is not positive.
        """
        raise NotImplementedError

    def solution(self, point: Point, side: Any) -> Solution:
        """B at a point, given P from either side (None without P)."""
        raise NotImplementedError

    def prepare(self, side: Any) -> None:
        """Called once for each P before solutions are asked for: the place for what they share."""

    def _forget(self) -> None:
        """Let go of what a fit is made of: scores, folding in and saved weights read its buffers alone."""
        for name in ("semantics", *self.shared):
            self.__dict__.pop(name, None)

    def solve(self) -> None:
        """Fit B."""
        ridge = self.ridge(self.point)
        side = None
        if ridge is not None:
            side = self._inverses().at(ridge, last=True)
        self.prepare(side)
        found = self.solution(self.point, side)
        self._forget()
        if isinstance(side, ItemSide):
            self.item_matrix = found.into_(side.p).float()
            return
        diagonal = side.diagonal if side is not None else None
        factors = {
            "kernel": side.kernel if isinstance(side, UserSide) else None,
            "c": found.c,
            "left": found.left,
            "right": found.right,
            "own": found.own(diagonal),
        }
        for name, value in factors.items():
            if value is not None:
                value = value.float()
                setattr(self, name, _by_rows(value) if name == "left" else value)
        self.weight = torch.tensor(found.weight)
        if isinstance(side, SparseSide):
            error = side.diagonal_error()
            self.p_rows = torch.from_numpy(side.p.indptr.astype(np.int64))
            self.p_columns = torch.from_numpy(side.p.indices.astype(np.int32, copy=False))
            self.p_values = torch.from_numpy(side.p.data)
            self.p_error = torch.tensor([error.median, error.most])

    def measures(self) -> dict[str, float]:
        """Of a sparse P: its density, and the error of P_jj on items of a sample, as a share of the exact ones."""
        if self.side != "sparse":
            return {}
        median, most = self.p_error.tolist()
        density = len(self.p_values) / self.n_items**2
        return {"p_density": density, "p_diagonal_error": median, "p_diagonal_error_most": most}

    def families(self, points: Sequence[Point]) -> Iterator[tuple[list[Point], Scorer]]:
        """Groups of points that share P, with a function users -> one score matrix per point.

        A group costs one inverse and one pass of x P; each solution of other factors one thin product more, and each
        that differs in its weight or its c alone a pass over the scores.
        """
        ridges = [self.ridge({**self.point, **point}) for point in points]
        inverses = self._inverses()
        for ridge in sorted(set(ridges), key=lambda value: (value is not None, value)):
            group = [p for p, r in zip(points, ridges, strict=True) if r == ridge]
            side = None
            if ridge is not None:
                side = inverses.at(ridge)
            self.prepare(side)
            found = [self.solution({**self.point, **point}, side) for point in group]
            # Points that share factors follow one another.
            order = sorted(range(len(group)), key=lambda i: (id(found[i].right), i))
            yield [group[i] for i in order], self._scorer(side, [found[i] for i in order])

    def _inverses(self) -> Inverses | SparseInverses:
        if self.side == "sparse":
            return SparseInverses(self.interactions, self.density, self.precision, self.device)
        return Inverses(self.interactions, self.side, self.precision, self.device)

    def _scorer(self, side: Any, found: Sequence[Solution]) -> Scorer:
        """Scores of many solutions on one P, in float32."""
        diagonal = None if side is None else side.diagonal.float()
        narrow = {id(x): x.float() for s in found for x in (s.left, s.right) if x is not None}
        if isinstance(side, ItemSide):
            side.p = side.p.float()
        made = [
            Solution(
                None if s.c is None else s.c.float(),
                None if s.left is None else narrow[id(s.left)],
                None if s.right is None else narrow[id(s.right)],
                s.weight,
            )
            for s in found
        ]
        owns = [s.own(diagonal) for s in made]
        lefts = {id(s.left): _by_rows(s.left) for s in made if s.left is not None}
        made = [
            s if s.left is None else dataclasses.replace(s, left=lefts[id(s.left)]) for s in made
        ]

        def scores(users: torch.Tensor) -> Iterator[torch.Tensor]:
            rows = self.rows[users.cpu().numpy()]
            xp = None if side is None else self._times_p(side, users.cpu().numpy(), rows).float()
            yield from _rows_of(made, owns, rows, xp)

        return scores

    def scores_of(self, users: Users) -> torch.Tensor:
        """[B, n_items] of users."""
        rows = self.rows[users]
        if self.side == "items":
            x = by_rows(rows, torch.float32, self.item_matrix.device)  # (B, n)
            return times(x, self.item_matrix)  # Eq. 1 of Moon, Park, Lee, CIKM 2025
        xp = None if self.side == "none" else self._times_p(self._kept_side(), users, rows)
        return next(_rows_of([self._kept()], [self.own], rows, xp))

    def _times_p(self, side: Any, users: Users, rows: sp.csr_matrix) -> torch.Tensor:
        """x P [B, n_items] of the users' rows x; a side has those of training at hand."""
        xp: torch.Tensor = side.rows(users)
        if self.rows is self.interactions:
            return xp
        new = np.diff(rows.indptr) > np.diff(self.interactions[users].indptr)
        if new.any():
            xp[torch.from_numpy(new).to(xp.device)] = side.fold(rows[new])
        return xp

    def _kept_side(self) -> UserSide | SparseRows:
        ridge = self.ridge(self.point)
        assert ridge is not None
        key = self.kernel if self.side == "users" else self.p_values
        if self._cached_side is None or self._cached_side[0] is not key:
            made: UserSide | SparseRows
            if self.side == "users":
                made = UserSide(self.interactions, self.kernel, ridge)
            else:
                parts = (self.p_values, self.p_columns, self.p_rows)
                p = sp.csr_matrix(tuple(part.cpu().numpy() for part in parts), (self.n_items,) * 2)
                made = SparseRows(self.interactions, p, self.device)
            self._cached_side = key, made
        return self._cached_side[1]

    _cached_side: tuple[torch.Tensor, UserSide | SparseRows] | None = None

    def _kept(self) -> Solution:
        c = self.c if len(self.c) else None
        if not self.reads_vectors:
            return Solution(c)
        return Solution(c, self.left, self.right, float(self.weight))


def _rows_of(
    found: Sequence[Solution],
    owns: Sequence[torch.Tensor],
    rows: sp.csr_matrix,
    xp: torch.Tensor | None,
) -> Iterator[torch.Tensor]:
    """x B [B, n] for each solution (equation 1), given rows x and x P; a matrix is reused after the next one is asked for."""
    device = owns[0].device
    x = by_rows(rows, torch.float32, device)
    sizes = torch.from_numpy(np.diff(rows.indptr).astype(np.int64)).to(device)
    items = x.col_indices()
    cells = torch.arange(rows.shape[0], device=device).repeat_interleave(sizes), items
    out = torch.empty(rows.shape, device=device)
    product, made_of = out, -1
    for solution, own in zip(found, owns, strict=True):
        if solution.c is not None and xp is not None:
            torch.mul(xp, solution.c, out=out)  # x P diag(c): (B, n) by (n,)
        else:
            out.zero_()
        if solution.left is not None and solution.right is not None and solution.weight:
            if id(solution.right) != made_of:
                # x L R: (B, n) (n, d) (d, n)
                product, made_of = times(x, solution.left) @ solution.right, id(solution.right)
            out.add_(product, alpha=solution.weight)
        out[cells] += own[items]
        yield out


def _side_of(state: Mapping[str, Any]) -> str:
    """Whose buffers saved weights are."""
    if "item_matrix" in state:
        return "items"
    return "sparse" if "p_values" in state else "users"


def _unwritten(*shape: int) -> torch.Tensor:
    """Zeros, of which the system hands out a page when somebody writes to it: a fit writes to none, and puts what it made in their place."""
    return torch.from_numpy(np.zeros(shape, np.float32))


def _by_rows(left: torch.Tensor) -> torch.Tensor:
    """The same: a product of a sparse matrix with one by columns would copy all of it, for every block of users."""
    return left.contiguous()


def normalised(vectors: torch.Tensor, how: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Item vectors [n, d] as columns [d, n], L2-normalised (`l2`), centred first (`l2_center`) or raw (`none`).

    A zero vector (an item without text, and the padding item) stays zero in every mode. Computed in float64, by blocks of items.
    """
    n, d = vectors.shape
    known = torch.cat([part.abs().sum(1) > 0 for part in torch.split(vectors, _ITEMS)])
    mean: torch.Tensor | float = 0.0
    if how == "l2_center":
        total = torch.zeros(d, dtype=torch.float64, device=vectors.device)
        for first in range(0, n, _ITEMS):
            here = slice(first, first + _ITEMS)
            total += vectors[here][known[here]].double().sum(0)
        mean = total / known.sum().clamp_min(1)
    out = torch.empty(d, n, dtype=dtype, device=vectors.device)
    for first in range(0, n, _ITEMS):
        here = slice(first, first + _ITEMS)
        f = vectors[here].double()
        if how == "l2_center":
            f = torch.where(known[here, None], f - mean, f)
        if how != "none":
            length = f.norm(dim=1, keepdim=True).clamp_min(1e-12)
            f = torch.where(known[here, None], f / length, f)
        out[:, here] = f.T
    return out
