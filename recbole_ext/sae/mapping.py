"""Which neurons stand for a concept, and which concept a neuron stands for. From Knots to Knobs, section 5.6.

P [n_items, T] are the counts of a concept on an item divided by their grand total, E [n_items, h] >= 0 the codes of the
profiles of one item alone, and M = PᵀE [T, h] is what a concept and a neuron have to do with each other. Of M there are two
TF-IDF weights:

(a) a concept is a document, neurons are its terms: M_tn / Σ_n M_tn · (ln((T + 1) / (df_n + 1)) + 1),
(b) a neuron is a document, concepts are its terms: M_tn / Σ_t M_tn · (ln((h + 1) / (df_t + 1)) + 1),

where df counts the documents that have the term. A concept is *best characterised* by the neurons with the largest (a), and
its *most unique* ones are those with the largest (b). Ours: `correlation` and `f1` as controls, which look at whether an item
has a concept and not how often; the order of equal neurons; and that a neuron which has nothing to do with a concept, or
against it, is never among its neurons, be there less than asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recbole_ext.core.arrays import Bools, Floats, Ints
from recbole_ext.core.errors import one_of
from recbole_ext.sae.concepts import Concepts

if TYPE_CHECKING:
    from typing import Any

ORIENTATIONS = ("characterises", "unique")
"""The paper's maps: TF-IDF (a) and (b)."""
MAPS = (*ORIENTATIONS, "correlation", "f1")
FEWEST = 5
"""Items with a concept from which it has a correlation."""
_ALIKE = 1e-9
"""Deviation over mean of activations that are all the same but for rounding."""
_TOGETHER = 1 << 22
"""Pairs of an activation and a concept of its item that are looked at together, some 200 MB."""


@dataclass(frozen=True)
class Mapping:
    """T concepts and h neurons, by the codes of n_items items. Matrices are made when first asked for, [T, h] in float64."""

    concepts: Concepts
    codes: sp.csc_matrix
    """E [n_items, h], float64, no zeros stored."""

    @classmethod
    def of(cls, concepts: Concepts, codes: npt.NDArray[Any] | sp.spmatrix) -> Mapping:
        """`codes`: E [n_items, h], dense or sparse; see `signed` for what may be negative.

        Raises:
            ValueError: another number of items, or a value that is negative or not finite.
        """
        e = sp.csc_matrix(codes, copy=True).astype(np.float64, copy=False)
        e.eliminate_zeros()
        if e.shape[0] != concepts.counts.shape[0]:
            raise ValueError(f"codes of {e.shape[0]} items, concepts of {concepts.counts.shape[0]}")
        if not (np.isfinite(e.data) & (e.data > 0)).all():
            raise ValueError("codes must be finite and not negative")
        return cls(concepts, e)

    @cached_property
    def live(self) -> Bools:
        """[h] whether any item alone makes the neuron fire."""
        return np.asarray(self.codes.getnnz(axis=0) > 0)

    @cached_property
    def association(self) -> Floats:
        """M."""
        counts = self.concepts.counts
        total = float(counts.sum()) or 1.0  # half of the items may have no concept
        return np.asarray((counts.T @ self.codes).toarray() / total)

    @cached_property
    def characterises(self) -> Floats:
        """(a)."""
        return tf_idf(self.association)

    @cached_property
    def unique(self) -> Floats:
        """(b)."""
        return tf_idf(self.association.T).T

    @cached_property
    def correlation(self) -> Floats:
        """Point-biserial r over items of a neuron's activation and a concept's presence; 0 where there is none: for
        activations that are all the same, and for concepts on fewer than `FEWEST` items or on all of them. Ours."""
        n = max(1, self.codes.shape[0])
        tagged = self.concepts.presence
        share = tagged.getnnz(axis=0) / n
        mean = np.asarray(self.codes.sum(axis=0)).ravel() / n
        covariance = (tagged.T @ self.codes).toarray() / n - np.outer(share, mean)
        # Around the mean, since a difference of two large sums would lose what is small: zeros are the mean away from it.
        neuron = np.repeat(np.arange(len(mean)), np.diff(self.codes.indptr))
        firing = np.bincount(neuron, (self.codes.data - mean[neuron]) ** 2, len(mean))
        deviation: Floats = np.sqrt((firing + (n - self.codes.getnnz(axis=0)) * mean**2) / n)
        both = np.outer(np.sqrt(share * (1.0 - share)), deviation)
        common = (share * n >= FEWEST) & (share < 1.0)
        found = (deviation > _ALIKE * mean) & common[:, None]
        r: Floats = np.divide(covariance, both, out=np.zeros_like(both), where=found)
        return r.clip(-1.0, 1.0)

    @cached_property
    def f1(self) -> Floats:
        """Best F1 of `the item makes the neuron fire at least so strongly` for `the item has the concept`, over all
        thresholds above 0. Ours."""
        tagged = self.concepts.presence
        size, best = tagged.getnnz(axis=0), np.zeros((len(self.concepts), self.codes.shape[1]))
        for neurons in self._blocks(np.diff(tagged.indptr)):
            order = by_activation(self.codes[:, neurons])
            # F1 is best at a threshold that lets an item with the concept in, so that only such pairs are looked at.
            each = np.diff(tagged.indptr)[order.item]
            pair = np.repeat(np.arange(len(each)), each)
            within = np.arange(len(pair)) - np.repeat(np.cumsum(each) - each, each)
            concept = tagged.indices[tagged.indptr[order.item][pair] + within].astype(np.int64)
            key = order.neuron[pair] * len(size) + concept
            by_key = np.argsort(
                key, kind="stable"
            )  # keeps the strongest first within neuron and concept
            key, pair, concept = key[by_key], pair[by_key], concept[by_key]
            starts = np.flatnonzero(np.diff(key, prepend=-1))
            hits = np.arange(len(key)) - np.repeat(starts, np.diff(starts, append=len(key))) + 1
            # Of items that fire alike the last has them all counted, and the maximum takes it.
            f1 = 2.0 * hits / (order.last[pair] + size[concept])
            if len(starts):
                best[concept[starts], neurons.start + order.neuron[pair[starts]]] = (
                    np.maximum.reduceat(f1, starts)
                )
        return best

    def _blocks(self, each: Ints) -> Iterator[slice]:
        """Neurons a few at a time; `each` [n_items]: concepts of an item."""
        pairs = np.append(0, np.cumsum(each[self.codes.indices]))[self.codes.indptr]
        start, h = 0, self.codes.shape[1]
        while start < h:
            stop = int(np.searchsorted(pairs, pairs[start] + _TOGETHER, side="right")) - 1
            stop = min(max(stop, start + 1), h)
            yield slice(start, stop)
            start = stop

    def scores(self, by: str) -> Floats:
        """[T, h] what the neurons of each concept are ranked by; `by` one of `MAPS`.

        Raises:
            HarnessError: another map.
        """
        found: Floats = getattr(self, one_of("map", by, MAPS))
        return found

    def neurons_of(self, concept: int, by: str, n: int) -> Ints:
        """The n neurons that stand for a concept, best first; fewer where fewer have anything to do with it.

        Equal ones (of neurons that fire for nothing but this concept all are equally unique) by M, then by index.

        Raises:
            HarnessError: no such map.
        """
        scores = self.scores(by)[concept]
        able = np.flatnonzero((scores > 0) & self.live)
        order = np.lexsort((-self.association[concept, able], -scores[able]))
        return np.asarray(able[order[:n]])

    def labels(self, by: str = "characterises") -> Ints:
        """[h] the concept that a neuron stands for: that with the largest (a), which the paper's lists show, or (b).

        -1 for dead neurons and, ours, for those that fire for no item with a concept.

        Raises:
            HarnessError: no orientation of TF-IDF.
        """
        scores = self.scores(one_of("labels by", by, ORIENTATIONS))
        if not len(scores):
            return np.full(len(self.live), -1)
        return np.where(self.association.any(axis=0), scores.argmax(axis=0), -1)

    def names(self, by: str = "characterises") -> list[str | None]:
        """[h] names of `labels`."""
        return [None if i < 0 else self.concepts.names[i] for i in self.labels(by)]


def tf_idf(x: Floats) -> Floats:
    """[documents, terms] of associations [documents, terms] >= 0: share of the document, times
    ln((documents + 1) / (documents with the term + 1)) + 1; 0 throughout an empty document."""
    total = x.sum(axis=1, keepdims=True)
    share: Floats = np.divide(x, total, out=np.zeros_like(x), where=total > 0)
    df = np.count_nonzero(x, axis=0)
    share *= np.log((len(x) + 1) / (df + 1)) + 1.0
    return share


@dataclass(frozen=True)
class Ordered:
    """Activations by neuron, strongest first; M of them above 0."""

    neuron: Ints
    """[M] ascending."""
    item: Ints
    first: Ints
    """[M] items that make the neuron fire more strongly."""
    last: Ints
    """[M] items that make it fire at least as strongly."""


def by_activation(codes: sp.csc_matrix) -> Ordered:
    """`codes`: [n_items, h] without stored zeros."""
    each = np.diff(codes.indptr)
    neuron = np.repeat(np.arange(len(each)), each)
    order = np.lexsort((-codes.data, neuron))
    value, item = codes.data[order], codes.indices[order].astype(np.int64)
    begins = (np.diff(neuron, prepend=-1) != 0) | (np.diff(value, prepend=np.nan) != 0)
    starts = np.flatnonzero(begins)
    group = np.cumsum(begins) - 1
    first = codes.indptr[neuron].astype(np.int64)  # where the neuron begins
    ends = np.append(starts[1:], len(value))
    return Ordered(neuron, item, starts[group] - first, ends[group] - first)
