"""Whether a neuron means one thing. From Knots to Knobs, section 5.7.

The paper's measures look at rows of TF-IDF: of each concept over neurons by orientation (b), of each neuron over concepts by
orientation (a). H is the entropy of a row and H̄ that of the sum of all rows, in nats. The entropy decrease is (H̄ - H) / H̄;
the divergence is KL(sum ‖ row + 1e-9), each scaled to 1, and what it says of a row with zeros hangs on the 1e-9.

Ours, as controls: how many neurons live, whether the label that a neuron gets from one half of the items holds on the other
(correlation and purity), and the entropy of its concepts over that of the uniform distribution. All of them also take
coordinates that are no codes: `signed`, and as they are after a random `rotation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.special import entr

from recbole_ext.core.arrays import Bools, Floats, Ints
from recbole_ext.core.hashing import token_hashes
from recbole_ext.sae.concepts import Concepts
from recbole_ext.sae.mapping import FEWEST, Mapping, by_activation

EPSILON = 1e-9
"""Added to TF-IDF, not to shares, as the authors do."""
TOP = 20
"""Items of a neuron whose concepts make its purity."""


@dataclass(frozen=True)
class Selectivity:
    """The paper's measures of the k rows that are not empty."""

    row: Ints
    """[k] which rows these are: concepts or neurons."""
    entropy: Floats
    """[k] H, nats."""
    decrease: Floats
    """[k] (H̄ - H) / H̄; 0 where H̄ is, with nothing to choose from. Negative for a row that is more even than the sum."""
    divergence: Floats
    """[k] KL, nats."""

    def means(self) -> tuple[float, float]:
        """Of decrease and divergence; 0 without rows."""
        return _mean(self.decrease), _mean(self.divergence)


def selectivity(rows: Floats) -> Selectivity:
    """`rows`: [m, w] TF-IDF >= 0."""
    of = np.flatnonzero(rows.sum(axis=1) > 0)
    rows = rows[of]
    together = rows.sum(axis=0)
    together = together / (together.sum() or 1.0)
    whole = float(entr(together).sum())
    entropy = entr(rows / rows.sum(axis=1, keepdims=True)).sum(axis=1)
    decrease = (whole - entropy) / whole if whole > 0 else np.zeros(len(of))
    shifted = rows + EPSILON
    # Σ p ln(p / q) with q = shifted / its sum
    divergence = np.log(shifted.sum(axis=1)) - np.log(shifted) @ together - whole
    return Selectivity(of, entropy, decrease, divergence)


@dataclass(frozen=True)
class Held:
    """Labels chosen on one half of the items and measured on the other, both ways; ours."""

    labelled: int
    """Labels of neurons in both halves together."""
    measured: int
    """Those whose neuron fires in the other half, where its concept is on `FEWEST` items: the means are over these."""
    confidence: float
    """Mean point-biserial r of a neuron and its label; 0 where none is measured."""
    purity: float
    """Mean share of a neuron's `TOP` items (fewer where it fires for fewer) that have its label, less that of all items."""


@dataclass(frozen=True)
class Monosemanticity:
    """The measures of one system."""

    concepts: Selectivity
    """Each concept over neurons, by (b)."""
    neurons: Selectivity
    """Each neuron over concepts, by (a)."""
    live: float
    """Share of neurons that some item makes fire."""
    evenness: float
    """Mean entropy of a neuron's M over concepts, over ln T: 0 for one concept, 1 for all alike."""
    held: Held

    def means(self) -> dict[str, float]:
        """What a table shows."""
        to_neurons, to_concepts = self.concepts.means(), self.neurons.means()
        return {
            "neurons_to_concepts_decrease": to_concepts[0],
            "neurons_to_concepts_kl": to_concepts[1],
            "concepts_to_neurons_decrease": to_neurons[0],
            "concepts_to_neurons_kl": to_neurons[1],
            "live": self.live,
            "normalised_entropy": self.evenness,
            "label_confidence": self.held.confidence,
            "label_purity": self.held.purity,
            "labels": float(self.held.labelled),
            "labels_measured": float(self.held.measured),
        }


def measure(
    concepts: Concepts, codes: npt.NDArray[np.float32] | sp.spmatrix, item_tokens: Sequence[str]
) -> Monosemanticity:
    """All measures of the codes E [n_items, h] >= 0 of items that are named by their tokens [n_items]."""
    mapping = Mapping.of(concepts, codes)
    return Monosemanticity(
        concepts=selectivity(mapping.unique),
        neurons=selectivity(mapping.characterises.T),
        live=_mean(mapping.live),
        evenness=_mean(evenness(mapping)),
        held=held(mapping, first_half(item_tokens)),
    )


def evenness(mapping: Mapping) -> Floats:
    """[neurons that fire for an item with a concept] entropy of M over concepts, over ln T; 0 for a single concept. Ours."""
    m = mapping.association.T
    m = m[m.any(axis=1)]
    entropy: Floats = entr(m / m.sum(axis=1, keepdims=True)).sum(axis=1)
    return np.asarray(entropy / np.log(max(m.shape[1], 2)))


def first_half(item_tokens: Sequence[str]) -> Bools:
    """[n_items] a half of the items by a hash of their tokens, the same whatever their order."""
    return np.asarray(token_hashes(item_tokens, "monosemanticity") % np.uint64(2) == 0)


def held(mapping: Mapping, first: Bools, by: str = "characterises") -> Held:
    """Labels `by` an orientation on the items `first` [n_items] measured on the others, and the other way round."""
    r, pure, labelled = [], [], 0
    for chosen in (first, ~first):
        labels = _half(mapping, chosen).labels(by)
        other = _half(mapping, ~chosen)
        common = other.concepts.presence.getnnz(axis=0) >= FEWEST
        named = np.flatnonzero(labels >= 0)
        seen = named[other.live[named] & common[labels[named]]]
        labelled += len(named)
        r.append(other.correlation[labels[seen], seen])
        pure.append(purity(other, labels)[seen])
    confidence, purities = np.concatenate(r), np.concatenate(pure)
    return Held(labelled, len(confidence), _mean(confidence), _mean(purities))


def _half(mapping: Mapping, chosen: Bools) -> Mapping:
    return Mapping.of(mapping.concepts.of_items(chosen), mapping.codes[np.flatnonzero(chosen)])


def purity(mapping: Mapping, labels: Ints) -> Floats:
    """[h] share of the `TOP` items that make a neuron fire most which have its label, less the share of all items.

    Items that make it fire alike and do not all fit count in part, as under random order. Fewer items make fewer than
    `TOP`; without a label (-1) or an item it is 0. Ours.
    """
    order = by_activation(mapping.codes)
    inside = np.clip((TOP - order.first) / (order.last - order.first), 0.0, 1.0)
    near = np.flatnonzero((inside > 0) & (labels[order.neuron] >= 0))
    neuron, inside = order.neuron[near], inside[near]
    tagged = mapping.concepts.presence
    has = np.asarray(tagged[order.item[near], labels[neuron]]).ravel()
    share = np.bincount(neuron, inside * has, len(labels))
    top = np.bincount(neuron, inside, len(labels))
    base = (tagged.getnnz(axis=0) / max(1, tagged.shape[0]))[labels]
    found: Floats = np.divide(share, top, out=np.zeros(len(labels)), where=top > 0)
    return np.where(top > 0, found - base, 0.0)


def signed(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Coordinates [n, r] of any sign as activations [n, 2r] >= 0: what is above 0, then what is below. Ours."""
    return np.concatenate([np.maximum(vectors, 0), np.maximum(-vectors, 0)], axis=1)


def rotation(r: int, seed: int) -> Floats:
    """[r, r] a random rotation: what a measure says of z @ rotation is what it says of directions that mean nothing. Ours.

    Orthogonal with determinant 1, uniform over these (QR of normal numbers with a positive diagonal of R; Stewart, 1980).
    """
    q, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((r, r)))
    q = q * np.sign(np.diag(upper))
    if np.linalg.slogdet(q).sign < 0:
        q[:, 0] = -q[:, 0]
    return np.asarray(q)


@dataclass(frozen=True)
class Tag:
    """A row of the paper's table 2."""

    name: str
    entropy: float
    divergence: float


def extremes(concepts: Concepts, of: Selectivity, most: int = 5, least: int = 1) -> list[Tag]:
    """The concepts with the largest divergence, largest first, then those with the smallest, smallest last; each once."""
    order = np.argsort(-of.divergence, kind="stable")
    chosen = [*order[:most], *order[max(most, len(order) - least) :]]
    return [
        Tag(concepts.names[of.row[i]], float(of.entropy[i]), float(of.divergence[i]))
        for i in chosen
    ]


def _mean(values: Floats | Bools) -> float:
    return float(np.mean(values)) if values.size else 0.0
