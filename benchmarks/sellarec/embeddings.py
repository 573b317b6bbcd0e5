"""Figures 6 and 7: what the collaborative model and the language model hold of one item, with and without the alignment.

Both are [n, d_L]: Proj(e_i), and e_i^L. Of a run without alignment the projection is that of its last stage (drawn at random, or trained with the
tokens), and e_i^L what the language model with the same LoRA reads, as it was distilled: the paper does not say what it compares there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recbole_ext.explain.top_items import Saved

BIN = 0.05
"""Of a cosine."""
_POINTS = 6000
"""In one picture, so that it stays below 100 kB."""
_NEAR = 10
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Both:
    """Two vectors of each of n items, as directions: every row has length 1, or is 0."""

    collab: Matrix
    """[n, d_L] Proj(e_i)."""
    semantic: Matrix
    """[n, d_L] e_i^L."""


@torch.no_grad()
def both_of(saved: Saved) -> tuple[Both, Both]:
    """(Items with training rows, items without): those without were in no batch of the alignment."""
    model: Any = saved.fitted.model
    model.eval()
    if model.align and not model.begins_anew:
        collab, semantic = model.both_embeddings()
    else:
        collab = model.to_tokens(model.items.weight[1:])
        own = model.semantic.weight if model.align else model.distilled()["semantic.weight"]
        semantic = own[1:]
    trained = saved.experiment.problem.popularity > 0
    ours, theirs = _directions(collab), _directions(semantic)
    return Both(ours[trained], theirs[trained]), Both(ours[~trained], theirs[~trained])


def _directions(vectors: torch.Tensor) -> Matrix:
    found = vectors.detach().double().cpu()
    return np.asarray(torch.nn.functional.normalize(found, dim=1).numpy())


def cosines(both: Both, seed: int = 0) -> tuple[Matrix, Matrix]:
    """([n] of the two vectors of one item, [n] of those of two different items, each item once on both sides)."""
    order = np.random.default_rng(seed).permutation(len(both.collab))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)  # one cycle through all: nobody is paired with itself
    own = (both.collab * both.semantic).sum(1)
    return own, (both.collab * both.semantic[other]).sum(1)


def counts(values: Matrix) -> dict[float, int]:
    """Lower edge of a bin -> how many cosines are in it; empty bins are left out."""
    place = np.clip(np.floor(values / BIN), -round(1 / BIN), round(1 / BIN) - 1).astype(int)
    found = zip(*np.unique(place, return_counts=True), strict=True)
    return {round(int(at) * BIN, 2): int(count) for at, count in found}


def told(both: Both) -> dict[str, float]:
    """How near both are: means of cosines, `apart` and `found`.

    `apart`: share of all 2n vectors whose nearest other one is of their own kind, 1 where they are two clouds, about 0.5 where they are
    mixed. `found`: share of items whose e_i^L is among the ten nearest to Proj(e_i), by chance 10 / n.
    """
    own, random = cosines(both)
    every = np.concatenate([both.collab, both.semantic])
    n = len(both.collab)
    near = every @ every.T
    np.fill_diagonal(near, -np.inf)
    kind = np.arange(2 * n) >= n
    apart = kind[near.argmax(1)] == kind
    across = near[:n, n:]
    np.fill_diagonal(
        across, own
    )  # the same numbers by another sum would differ in the last digit from what they are compared with
    place = (across > own[:, None]).sum(1)
    return {
        "own": float(own.mean()),
        "own_sd": float(own.std()),
        "random": float(random.mean()),
        "random_sd": float(random.std()),
        "apart": float(apart.mean()),
        "found": float((place < _NEAR).mean()),
    }


def sample(n: int, panels: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Items that are drawn, the same in every panel."""
    most = min(n, _POINTS // (2 * panels))
    return np.sort(np.random.default_rng(seed).permutation(n)[:most])


def flat(both: Both, chosen: npt.NDArray[np.int64], seed: int = 0) -> Matrix:
    """[2m, 2] t-SNE of the directions, Proj(e_i) first; seeded, begun from the principal components."""
    from sklearn.manifold import TSNE

    vectors = np.concatenate([both.collab[chosen], both.semantic[chosen]])
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    made = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)
    return np.asarray(made, dtype=np.float64)
