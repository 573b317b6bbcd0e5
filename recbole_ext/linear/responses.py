"""Scores of users by graph filters, many at once: what they share is made once, and the rest is one small matrix product."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import scipy.sparse as sp
import torch

from recbole_ext.core.sparse import by_rows, columns_of, times, with_values
from recbole_ext.linear.filters import Filter, LowPass
from recbole_ext.linear.graph import Graph
from recbole_ext.linear.span import Span, degree

TOGETHER = 12
"""Filters that are mixed by one product: each reads all shared matrices, and each takes the memory of one."""
_COLUMNS_BELOW = 4
"""Dense numbers that are multiplied in the time of one sparse one, for an interaction twice: 85 and 30 Gflop/s, cautiously (ours)."""
_COLUMNS_MOST = 1 << 24
"""Numbers that these matrices of several q may have: 64 MB in float32, which every plan has room for."""


class Responses:
    """Scores of users by filters of one graph.

    A filter's scores are a weighted sum of matrices [B, n] that others have in common: of a user's row by polynomials of P̃, those
    of one power e of the degrees, and of its low-pass by such polynomials, those of one s and k. Of each `Span` whichever are
    fewer are made, the polynomials themselves or the T_j. All share the products with V, since the low-pass of a smaller k is part
    of that of a larger one. A q is applied to D^s V once, for all users, where that is less work than to each of them: always where
    q differs by a factor only (BSPM's early merge, whose β is searched; any single filter), of several where the graph is dense.
    """

    def __init__(self, graph: Graph, vectors: torch.Tensor, filters: Sequence[Filter]) -> None:
        """
        Args:
            graph: of training.
            vectors: V [n, at least the largest k], in the graph's precision and place.
            filters: any.
        """
        self.graph, self.vectors, self.filters = graph, vectors, filters
        lows = [low for each in filters if (low := low_of(each))]
        self.largest = max((low.k for low in lows), default=0)
        self.rows = {
            e: Span.of([f.p for f in filters if f.scale == e]) for e in {f.scale for f in filters}
        }
        self.lows = {s: Span.of([low.q for low in lows if low.scale == s]) for s in {low.scale for low in lows}}  # fmt: skip
        self.order = sorted(range(len(filters)), key=lambda i: _turn(filters[i]))
        """Places of `filters` in the order in which they come."""
        self._runs = []
        for key, run in itertools.groupby((filters[i] for i in self.order), key=_shared):
            lows_of = self.lows[key[1]] if key[2] else Span(())
            self._runs.append(_Run.of(key, list(run), self.rows[key[0]], lows_of))
        self._columns: list[torch.Tensor] | None = None
        self._space = torch.empty(0, dtype=vectors.dtype, device=vectors.device)

    def of(self, x: sp.csr_matrix) -> Iterator[torch.Tensor]:
        """Scores [B, n] of binary rows x [B, n] by each filter, in `order`; a matrix is reused after the next one is asked for."""
        block = _Block(self, by_rows(x, self.vectors.dtype, self.vectors.device))
        for run in self._runs:
            yield from block.mixed(run)

    @property
    def by_columns(self) -> bool:
        """Whether each q is applied to D^s V, rather than to each user's low-pass."""
        if len(self.lows) != 1:
            return False
        (span,) = self.lows.values()
        dense = len(span.members) * len(self.vectors) * self.largest
        sparse = span.degree * self.graph.rows.values().numel()
        return len(span.members) == 1 or dense <= min(_COLUMNS_MOST, _COLUMNS_BELOW * sparse)

    def columns(self) -> list[torch.Tensor]:
        """For each member q(P̃) D^s V [n, largest k]; made once, some columns at a time."""
        if self._columns is None:
            ((scale, span),) = self.lows.items()
            v = self.vectors[:, : self.largest]
            self._columns = [torch.empty_like(v) for _ in span.members]
            for some in itertools.starmap(slice, self.graph.panels(self.largest)):
                y = v[:, some] * self.graph.scale(scale)[:, None]  # (n, some)
                for found, out in zip(_sums(self.graph, y, span), self._columns, strict=True):
                    out[:, some] = found
        return self._columns

    def space(self, matrices: int, rows: int) -> torch.Tensor:
        """[matrices, rows, n], the same again in each call: fresh pages cost a third of what fills them."""
        shape = matrices, rows, len(self.vectors)
        size = math.prod(shape)
        if self._space.numel() < size:
            self._space = self._space.new_empty(size)
        return self._space[:size].view(shape)


@dataclass(frozen=True)
class _Run:
    """Filters that share e, s and k."""

    e: float
    s: float
    k: int
    """0 of filters without a low-pass."""
    mixes: list[tuple[int, list[list[float]]]]
    """Of some filters together: the first matrix that any of them reads, counted from the first low-pass, and weights
    [filters, matrices]."""

    @classmethod
    def of(cls, key: tuple[float, float, int], run: list[Filter], rows: Span, lows: Span) -> _Run:
        mixes = []
        for first in range(0, len(run), TOGETHER):
            weights = []
            for each in run[first : first + TOGETHER]:
                low = low_of(each)
                of_low = lows.weights(low.q) if low else []
                weights.append(rows.weights(each.p)[::-1] + of_low)
            used = [j for j in range(len(weights[0])) if any(w[j] for w in weights)]
            begin, end = (used[0], used[-1] + 1) if used else (0, 0)
            mixes.append((begin - len(rows.members), [w[begin:end] for w in weights]))
        return cls(*key, mixes)


class _Block:
    """Scores of some users, by runs of filters; these come by e, then s, then k.

    What is summed lies in one piece of memory, the matrices of rows descending in degree and those of low-passes ascending: what
    filters of low degrees need stands together, in the middle.
    """

    def __init__(self, of: Responses, rows: torch.Tensor) -> None:
        self._of, self._rows = of, rows
        self._e: float | None = None
        self._s, self._k = 0.0, 0
        """Of the low-pass at hand."""
        self._inner = rows  # until a low-pass is asked for
        self._n_rows = max((len(span.members) for span in of.rows.values()), default=0)
        n_lows = max((len(span.members) for span in of.lows.values()), default=0)
        made = self._n_rows + n_lows
        several = min(TOGETHER, len(of.filters)) if len(of.filters) > 1 else 0
        space = of.space(made + 1 + several, rows.shape[0])
        self._summands, self._plain, self._out = space[:made], space[made], space[made + 1 :]
        if not several:  # the scores of a single one are the caller's
            self._out = torch.empty_like(space[:1])

    def mixed(self, run: _Run) -> Iterator[torch.Tensor]:
        """[B, n] by each filter."""
        if run.e != self._e:
            self._set_rows(run.e)
        if run.k and (run.s, run.k) != (self._s, self._k):
            self._set_lows(run.s, run.k)
        for first, weights in run.mixes:
            at = self._n_rows + first
            yield from self._sums(self._summands[at : at + len(weights[0])], weights)

    def _sums(self, summands: torch.Tensor, weights: list[list[float]]) -> Iterator[torch.Tensor]:
        """Σ_j weights[i][j] summands[j] [B, n] for each i."""
        if len(summands) > 2:
            out = self._out[: len(weights)]
            by = torch.tensor(weights, dtype=out.dtype, device=out.device)
            torch.mm(by, summands.flatten(1), out=out.view(len(out), -1))
            yield from out
            return
        for each in weights:
            out = self._out[0]
            if not each:
                out.zero_()
            elif len(each) == 1:
                torch.mul(summands[0], each[0], out=out)
            elif each[0] == 1:
                torch.add(summands[0], summands[1], alpha=each[1], out=out)
            else:
                torch.mul(summands[0], each[0], out=out).add_(summands[1], alpha=each[1])
            yield out

    def _set_rows(self, e: float) -> None:
        """(x D^-e) p(P̃) D^e for each member."""
        of, span = self._of, self._of.rows[e]
        out = [self._summands[self._n_rows - 1 - m] for m in range(len(span.members))]
        columns = partial(columns_of, _scaled(of.graph, self._rows, -e))
        _apply(of.graph, self._rows.shape[0], columns, span, out)
        if e:
            for each in out:
                each.mul_(of.graph.scale(e))  # (B, n) by (n,)
        self._e = e

    def _set_lows(self, s: float, k: int) -> None:
        """(x D^-s) V_k V_kᵀ D^s q(P̃) for each member."""
        of, span, v = self._of, self._of.lows[s], self._of.vectors
        out = list(self._summands[self._n_rows : self._n_rows + len(span.members)])
        grown, rights = (out, of.columns()) if of.by_columns else ([self._plain], [v])
        if self._k == 0 or self._s != s or k < self._k:
            self._inner = times(_scaled(of.graph, self._rows, -s), v[:, : of.largest])
            self._k = 0
        for each, right in zip(grown, rights, strict=True):
            # What the larger k adds: (B, more) (more, n)
            more = self._inner[:, self._k : k], right[:, self._k : k].T
            each.addmm_(*more, beta=1 if self._k else 0)
        self._s, self._k = s, k
        if of.by_columns:
            return
        if span.degree == 0:
            torch.mul(self._plain, of.graph.scale(s) * span.members[0][0], out=out[0])
            return
        scaled = self._plain * of.graph.scale(s)

        def columns(first: int, stop: int) -> torch.Tensor:
            return scaled[first:stop].T.contiguous()

        _apply(of.graph, len(scaled), columns, span, out)


def low_of(each: Filter) -> LowPass | None:
    """A filter's low-pass, if it adds anything."""
    return each.low if each.low is not None and each.low.k and any(each.low.q) else None


def _shared(each: Filter) -> tuple[float, float, int]:
    """e, and s and k, 0 where there is no low-pass."""
    low = low_of(each)
    return (each.scale, low.scale, low.k) if low else (each.scale, 0.0, 0)


def _turn(each: Filter) -> tuple[Any, ...]:
    """In this order what filters share is made once, and those that read the same matrices stand together."""
    low = low_of(each)
    q = low.q if low else ()
    return (*_shared(each), degree(q), degree(each.p), each.p, q)


def _sums(graph: Graph, y: torch.Tensor, span: Span) -> list[torch.Tensor]:
    """Σ_j c_j T_j(I - 2P̃) y [n, B] of columns y [n, B] for each member."""
    found: list[torch.Tensor | None] = [None] * len(span.members)
    before, last = y, y
    for j in range(span.degree + 1):
        if j:
            turned = graph.times(last).mul_(-2.0).add_(last)  # (I - 2P̃) T_j-1 y: (n, B)
            before, last = last, turned if j == 1 else turned.mul_(2.0).sub_(before)
        for m, member in enumerate(span.members):
            c = member[j] if j < len(member) else 0.0
            if not c:
                continue
            so_far = found[m]
            if so_far is not None:
                so_far.add_(last, alpha=c)
            else:
                # A T_j alone is never added to
                found[m] = last if member == (0.0,) * j + (1.0,) else last * c
    return [each for each in found if each is not None]


def _apply(
    graph: Graph,
    count: int,
    columns: Callable[[int, int], torch.Tensor],
    span: Span,
    out: Sequence[torch.Tensor],
) -> None:
    """Rows [count, n], which `columns(first, stop)` gives as columns [n, stop - first], times each member, into `out`."""
    for first, stop in graph.panels(count):
        for found, each in zip(_sums(graph, columns(first, stop), span), out, strict=True):
            each[first:stop] = found.T


def _scaled(graph: Graph, rows: torch.Tensor, power: float) -> torch.Tensor:
    """x D^power as a sparse matrix [B, n]."""
    at = graph.scale(power)[rows.col_indices()]
    values = rows.values() * at if power else rows.values()
    return with_values(rows, values)
