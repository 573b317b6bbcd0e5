"""How much of what a user has is had together by others: the homophily that SGFCF reads."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.sparse as sp

from recbole_ext.core.arrays import Floats, Ints

BLOCK = 512
"""Items whose counts of common users are dense at a time."""
_PAIRS = 1 << 22


def homophily(rows: sp.csr_matrix, x: sp.csr_matrix, least: int) -> Floats:
    """[r] share of the pairs of two items of each row that at least `least` rows of x have together; 0 where there is no pair.

    For rows that are among those of x, 2 means: some other row too.

    Args:
        rows: [r, n] binary.
        x: [m, n] binary.
        least: at least 1.
    """
    rows, x = rows.astype(np.float32).tocsr(), x.astype(np.float32).tocsr()
    columns, of_items = x.T.tocsr(), rows.tocsc()
    size = np.diff(rows.indptr).astype(np.int64)
    found = np.zeros(rows.shape[0])
    for first in range(0, rows.shape[1], BLOCK):
        together = (columns[first : first + BLOCK] @ x).toarray() >= least
        here = np.arange(len(together))
        together[here, first + here] = False
        begin, end = of_items.indptr[first], of_items.indptr[first + len(together)]
        user = of_items.indices[begin:end]
        item = np.repeat(here, np.diff(of_items.indptr[first : first + len(together) + 1]))
        for some in _pieces(size[user]):
            u, i = user[some], item[some]
            each = size[u]
            within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
            other = rows.indices[np.repeat(rows.indptr[u], each) + within]
            hits = together[np.repeat(i, each), other]
            found += np.bincount(np.repeat(u, each), weights=hits, minlength=len(found))
    pairs = size * (size - 1)
    shares: Floats = found / np.maximum(pairs, 1)
    return shares


def _pieces(sizes: Ints) -> list[slice]:
    """Slices of entries that have some millions of pairs together."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_PAIRS, total, _PAIRS)) + 1
    edges = np.unique([0, *cuts, len(sizes)])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
