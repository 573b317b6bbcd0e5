"""A sparse P ≈ (XᵀX + λI)⁻¹ whose column j is the inverse among j and its neighbours S_j alone:

    p_j[S_j] = (X_Sᵀ X_S + λI)⁻¹ e_j,    and nothing outside S_j.

Why this one. b = e_j - p_j / P_jj is the ridge regression of item j on its neighbours: of all B whose column j is nothing outside S_j it
has the least ||X - XB||² + λ||B||². `solution.ease` of such a P is therefore the best EASE with this pattern, and
`solution.Distillation` the best λ_KD (PFᵀ) M + C with C of this pattern, by L3AE's own objective: stationary on S_j it is
C_j = e_j - γ_j p_j, which is nothing on the diagonal of the sum for γ_j = (1 + λ_KD (PFᵀM)_jj) / P_jj = -c_j. P_jj is never too large:
an inverse's diagonal grows with the items that it is made among. Columns know nothing of one another: they are solved in batches of
small dense blocks, which cannot fail for λ > 0 but by rounding.

What else there is. SANSA (Spišák et al., RecSys 2023): an incomplete Cholesky factor, column after column, which fills up where XᵀX is
dense and may meet a pivot that is not positive, and then a residual-minimising inverse of it. Steck (NeurIPS 2019): blocks of items that
overlap, near to what is done here, by approximation. A factor of the inverse, P ≈ WᵀW (Kolotilina, Yeremin, SIAM J. Matrix Anal. Appl.
1993; Schäfer, Katzfuss, Owhadi, SIAM J. Sci. Comput. 2021), by the same small blocks: symmetric and positive definite, nearer to the
exact ranking in few entries where XᵀX is dense, less steady elsewhere, and x WᵀW passes through all that a popular item is a neighbour
of (docs/l3ae.md has the comparison).

Our choice is the pattern: the items with the largest |G_ij| / √((G_ii + 3)(G_jj + 3)). Without the 3, a shrinkage, items of a user or
two are everyone's nearest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from recbole_ext.core.arrays import run_starts
from recbole_ext.core.errors import HarnessError
from recbole_ext.linear.ridge import gram as dense_gram
from recbole_ext.linear.ridge import ridge_inverse_
from recbole_ext.linear.sparse_gram import SparseGram, too_small

_T = TypeVar("_T")
_R = TypeVar("_R")
Pattern = npt.NDArray[np.int32]
NONE = -1
"""A place of a pattern without an item."""
_SHRINKAGE = 3.0
_PAIRS = 1 << 24
"""Entries of G made at a time: 12 bytes each, and 24 for their keys."""
_NUMBERS = 1 << 22
"""Entries of X, or numbers in dense blocks, looked at together."""
_ROWS = 1 << 16
"""Of a pattern, brought together at a time."""
_RESIDUAL = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Of e_j, above which a block counts as singular."""
_LOW = np.uint64(0xFFFFFFFF)
_FACTOR = "a factor of XᵀX + λI"


def pattern_of(gram: SparseGram, most: int) -> Pattern:
    """[n, most] S_j: item j, then the nearest, of equals the earlier; `NONE` behind the last. λ has no part in it.

    Items without a user in common are not near. G is made by blocks of rows and forgotten.
    """
    n = len(gram)
    found = np.full((n, most), NONE, np.int32)
    found[:, 0] = np.arange(n)
    if most == 1:
        return found
    scale = (1.0 / np.sqrt(gram.counts + _SHRINKAGE)).astype(np.float32)
    per_user = np.diff(gram.x.indptr).astype(np.float64)
    for first, last in _blocks(np.minimum(gram.columns @ per_user, n), _PAIRS):
        block = gram.columns[first:last] @ gram.x
        value = block.data.astype(np.float32) * scale[block.indices]
        # Positive floats are in the order of their bits: one number says the value and, below it, the earlier of equals.
        keys = value.view(np.uint32).astype(np.uint64) << np.uint64(32)
        keys |= _LOW - block.indices.astype(np.uint64)
        keys[block.indices == np.repeat(np.arange(first, last), np.diff(block.indptr))] = 0
        for item in range(first, last):
            mine = keys[block.indptr[item - first] : block.indptr[item - first + 1]]
            if len(mine) >= most:
                mine = np.partition(mine, len(mine) - most + 1)[len(mine) - most + 1 :]
            mine = np.sort(mine[mine > 0])[::-1]
            found[item, 1 : 1 + len(mine)] = (_LOW - (mine & _LOW)).astype(np.int32)
    return found


def local_inverse(
    gram: SparseGram, pattern: Pattern, ridge: float
) -> tuple[sp.csr_matrix, npt.NDArray[np.float64]]:
    """P [n, n] float32 and its diagonal [n], solved for in the dtype of `gram`.

    Raises:
        HarnessError: λ is too small for a block.
    """
    length = (pattern != NONE).sum(1)
    values = np.zeros(pattern.shape, np.float32)
    diagonal = np.empty(len(pattern))
    entries = np.array([gram.counts[row[row != NONE]].sum() for row in pattern])
    order = np.argsort(length, kind="stable")  # Patterns of one length fill their blocks
    blocks = _blocks(np.maximum(entries, length**2)[order], _NUMBERS)

    def counted(block: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        columns = order[slice(*block)]
        return columns, block_grams(gram, pattern[columns, : length[columns[-1]]])

    # Factors have threads of their own; counting takes longer, and has them here.
    for columns, counts in _ahead(counted, blocks, torch.get_num_threads()):
        a = torch.from_numpy(counts).to(gram.device, gram.dtype)
        p = _first_columns(a, ridge).cpu().numpy()
        values[columns, : p.shape[1]] = p
        diagonal[columns] = p[:, 0]
    indptr = np.concatenate([[0], np.cumsum(length)])
    # What was found moves forward over the empty places, in its own memory.
    held, items = values.ravel(), np.empty(indptr[-1], np.int32)
    for first in range(0, len(pattern), _ROWS):
        rows = slice(first, first + _ROWS)
        there = pattern[rows] != NONE
        filled = slice(indptr[first], indptr[first] + there.sum())
        held[filled], items[filled] = values[rows][there], pattern[rows][there]
    by_columns = sp.csc_matrix((held[: indptr[-1]], items, indptr), (len(pattern),) * 2)
    return by_columns.tocsr(), diagonal


def exact_inverse(gram: SparseGram, ridge: float) -> tuple[sp.csr_matrix, npt.NDArray[np.float64]]:
    """P of the pattern that has everything: the inverse itself, by way of a dense matrix.

    Raises:
        HarnessError: λ is too small.
    """
    try:
        p = ridge_inverse_(dense_gram(gram.x, gram.device).to(gram.dtype), ridge).cpu().numpy()
    except HarnessError:
        raise too_small(ridge, gram.dtype, _FACTOR) from None
    n = len(p)
    column = np.tile(np.arange(n, dtype=np.int32), n)
    whole = (p.astype(np.float32).ravel(), column, np.arange(0, n * n + 1, n))
    return sp.csr_matrix(whole, p.shape), p.diagonal().astype(np.float64)


def block_grams(gram: SparseGram, pattern: Pattern) -> npt.NDArray[np.float32]:
    """[B, k, k] G among the items of each row of a pattern [B, k]; nothing at a place without an item. Exact below 2^24."""
    many, k = pattern.shape
    place = np.flatnonzero(pattern.ravel() != NONE)
    items = pattern.ravel()[place]
    rows = gram.columns[items]
    row = np.repeat(np.arange(len(place), dtype=np.uint64), np.diff(rows.indptr))
    # A user is another one for each pattern. One number says user and row, so that sorting brings a user's rows together.
    bits = np.uint64(len(place).bit_length())
    user = (place // k).astype(np.uint64)[row] * np.uint64(gram.x.shape[0])
    user += rows.indices.astype(np.uint64)
    keys = np.sort(user << bits | row)
    user = keys >> bits
    same = user[1:] == user[:-1]
    # Who has one item of a pattern says nothing off the diagonal, and most have one.
    shared = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    user, row = user[shared], keys[shared] & ((np.uint64(1) << bits) - np.uint64(1))
    starts = run_starts(user)
    cells = np.ones(len(row), np.float32), row.astype(np.int32), np.append(starts, len(row))
    by_user = sp.csr_matrix(cells, (len(starts), len(place)))
    pairs = by_user.T.tocsr() @ by_user
    out = np.zeros(many * k * k, np.float32)
    column = place % k
    out[np.repeat(place * k, np.diff(pairs.indptr)) + column[pairs.indices]] = pairs.data
    out[place * k + column] = gram.counts[items]
    return out.reshape(many, k, k)


def _first_columns(a: torch.Tensor, ridge: float) -> torch.Tensor:
    """[B, k] (A + λI)⁻¹ e_0 of each block A [B, k, k], which is overwritten."""
    a.diagonal(dim1=1, dim2=2).add_(ridge)
    factor, info = torch.linalg.cholesky_ex(a)
    if bool(info.any()):
        raise too_small(ridge, a.dtype, _FACTOR)
    unit = torch.zeros(*a.shape[:2], 1, dtype=a.dtype, device=a.device)
    unit[:, 0] = 1.0
    p = torch.cholesky_solve(unit, factor)
    residual = torch.linalg.vector_norm(a @ p - unit, dim=1)
    if not bool((residual <= _RESIDUAL[a.dtype]).all()):
        raise too_small(ridge, a.dtype, _FACTOR)
    return p[..., 0]


def _ahead(work: Callable[[_T], _R], tasks: Iterable[_T], threads: int) -> Iterator[_R]:
    """What becomes of each task, in their order; as many as there are threads are worked at meanwhile, none with one."""
    if threads == 1:
        yield from map(work, tasks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_R]] = deque()
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _blocks(work: npt.NDArray[np.float64], most: int) -> Iterator[tuple[int, int]]:
    """(first, last) of blocks of at most so much work, or of one thing that is more."""
    ends = np.cumsum(work)
    first = 0
    while first < len(work):
        done = ends[first - 1] if first else 0.0
        last = max(first + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield first, last
        first = last
