"""What lists of recommendations are like, whether they hit or not: catalogue coverage, concentration, popularity.

Formulas and references are in docs/protocols.md. Popularity is always that of the training part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Floats, Ints

HEAD = 0.2
"""Share of the catalogue, by training popularity, that is called its head; the rest is the tail."""


def head_items(popularity: Ints) -> npt.NDArray[np.bool_]:
    """[n] whether an item is among the `HEAD` most popular; of equally popular ones those of lower index come first."""
    order = np.argsort(-popularity, kind="stable")
    head = np.zeros(len(popularity), dtype=bool)
    head[order[: int(np.ceil(HEAD * len(popularity)))]] = True
    return head


def beyond_accuracy(
    top: Ints, popularity: Ints, n_users: int, ks: Sequence[int]
) -> dict[str, float]:
    """Coverage, Gini index, popularity, tail share and novelty of the first k places.

    Args:
        top: [U, K] items of each test user's list, best first.
        popularity: [n] training interactions of each item.
        n_users: users in training; an item that all of them have has popularity `n_users`.
        ks: cut-offs; those beyond K are left out.

    Returns:
        `coverage@k`, `gini@k`, `popularity@k`, `tail@k`, `novelty@k`.
    """
    n = len(popularity)
    tail = ~head_items(popularity)
    surprise: Floats = -np.log2((popularity + 1.0) / (n_users + 1.0))
    out: dict[str, float] = {}
    for k in ks:
        if k > top.shape[1]:
            continue
        items = top[:, :k].ravel()
        counts = np.sort(np.bincount(items, minlength=n))
        out[f"coverage@{k}"] = float(np.count_nonzero(counts) / n)
        out[f"gini@{k}"] = float(
            ((2 * np.arange(1, n + 1) - n - 1) * counts).sum() / (n * counts.sum())
        )
        out[f"popularity@{k}"] = float(popularity[items].mean())
        out[f"tail@{k}"] = float(tail[items].mean())
        out[f"novelty@{k}"] = float(surprise[items].mean())
    return out
