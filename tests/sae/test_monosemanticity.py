"""Measures of what neurons mean, against loops over plain lists, by hand and on what breaks them."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.hashing import token_hashes
from recbole_ext.sae.concepts import Concepts
from recbole_ext.sae.densities import densities
from recbole_ext.sae.mapping import FEWEST, Mapping
from recbole_ext.sae.monosemanticity import (
    EPSILON,
    TOP,
    extremes,
    first_half,
    held,
    measure,
    purity,
    rotation,
    selectivity,
    signed,
)
from tests.sae.test_mapping import EXACT, concepts, slow_association, slow_r, slow_tf_idf


def drawn(seed: int, n: int = 80, t: int = 7, h: int = 12):
    """Counts [n, t] and codes [n, h], sparse, with an empty concept and a dead neuron; tokens [n]."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.3, (n, t)).astype(float)
    codes = (rng.random((n, h)) * (rng.random((n, h)) < 0.5)).astype(np.float32)
    counts[:, t - 1], codes[:, h - 1] = 0, 0
    return counts, codes, [f"i{i}" for i in range(n)]


def slow_selectivity(rows):
    """[(row, H, decrease, KL)] by the definitions."""
    some = [(i, row) for i, row in enumerate(rows) if sum(row) > 0]
    together = [sum(column) for column in zip(*(row for _, row in some), strict=True)]

    def shares(row):
        return [x / sum(row) for x in row]

    def entropy(row):
        return -sum(p * math.log(p) for p in shares(row) if p > 0)

    whole, out = entropy(together), []
    for i, row in some:
        q = shares([x + 1e-9 for x in row])
        kl = sum(p * math.log(p / r) for p, r in zip(shares(together), q, strict=True) if p > 0)
        out.append((i, entropy(row), (whole - entropy(row)) / whole if whole > 0 else 0.0, kl))
    return out


def slow_purity(codes, counts, label, k=20):
    """Mean over many random orders of equal activations is what is expected; here by counting those that tie."""
    n, h = len(codes), len(codes[0])
    out = []
    for j in range(h):
        firing = [i for i in range(n) if codes[i][j] > 0]
        if label[j] < 0 or not firing:
            out.append(0.0)
            continue
        has = [counts[i][label[j]] > 0 for i in range(n)]
        room = min(k, len(firing))
        hits, left = 0.0, room
        for value in sorted({codes[i][j] for i in firing}, reverse=True):
            alike = [i for i in firing if codes[i][j] == value]
            taken = min(left, len(alike))
            hits += taken * sum(has[i] for i in alike) / len(alike)
            left -= taken
        out.append(hits / room - sum(has) / n)
    return out


def slow_held(counts, codes, first):
    r, pure, labelled = [], [], 0
    for half in (True, False):
        inside = [i for i in range(len(counts)) if first[i] == half]
        other = [i for i in range(len(counts)) if first[i] != half]
        m = slow_association([counts[i] for i in inside], [codes[i] for i in inside])
        a, _ = slow_tf_idf(m)
        for j in range(len(codes[0])):
            column = [a[t][j] for t in range(len(a))]
            if max(column) == 0:
                continue
            labelled += 1
            label = column.index(max(column))
            x, y = [codes[i][j] for i in other], [counts[i][label] > 0 for i in other]
            if sum(y) < FEWEST or max(x) == 0:
                continue
            r.append(slow_r(x, y))
            alone = [[v] for v in x], [[v] for v in y]
            pure.append(slow_purity(*alone, [0])[0])
    return labelled, len(r), sum(r) / len(r), sum(pure) / len(pure)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_every_measure_is_that_of_the_loops(seed):
    counts, codes, tokens = drawn(seed)
    found = measure(concepts(counts), codes, tokens)
    counts, codes = counts.tolist(), codes.astype(float).tolist()
    m = slow_association(counts, codes)
    a, b = slow_tf_idf(m)
    by_neuron = [list(column) for column in zip(*a, strict=True)]
    for rows, expected in (
        (found.concepts, slow_selectivity(b)),
        (found.neurons, slow_selectivity(by_neuron)),
    ):
        shown = zip(rows.row, rows.entropy, rows.decrease, rows.divergence, strict=True)
        np.testing.assert_allclose(list(shown), expected, atol=EXACT, rtol=0)
    assert found.live == 11 / 12
    of_neuron = [[x / sum(c) for x in c] for c in zip(*m, strict=True) if sum(c) > 0]
    entropies = [-sum(p * math.log(p) for p in row if p > 0) / math.log(7) for row in of_neuron]
    assert found.evenness == pytest.approx(sum(entropies) / len(entropies), abs=EXACT)
    labelled, measured, r, pure = slow_held(counts, codes, first_half(tokens).tolist())
    assert (found.held.labelled, found.held.measured) == (labelled, measured) and measured > 5
    assert found.held.confidence == pytest.approx(r, abs=EXACT)
    assert found.held.purity == pytest.approx(pure, abs=EXACT)
    means = found.means()
    assert means["concepts_to_neurons_kl"] == pytest.approx(
        np.mean([row[3] for row in slow_selectivity(b)])
    )
    assert means["label_purity"] == found.held.purity and means["labels"] == labelled


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_entropy_and_divergence_are_scipys(seed):
    rows = np.random.default_rng(seed).random((5, 8)) * (
        np.random.default_rng(seed + 1).random((5, 8)) < 0.6
    )
    rows[:, 0] += 0.1
    found = selectivity(rows)
    np.testing.assert_allclose(found.entropy, [scipy.stats.entropy(row) for row in rows])
    kl = [scipy.stats.entropy(rows.sum(0), row + EPSILON) for row in rows]
    np.testing.assert_allclose(found.divergence, kl)


def test_selectivity_by_hand():
    # Two rows that share nothing: each a half of the sum, which has an entropy of ln 2, and the other half at 1e-9.
    found = selectivity(np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 3.0]]))
    assert found.row.tolist() == [0, 2]
    np.testing.assert_allclose(found.entropy, 0, atol=1e-15)
    np.testing.assert_allclose(found.decrease, 1)
    np.testing.assert_allclose(
        found.divergence, -math.log(2) - (math.log(1 / (1 + 1e-9 / 3)) + math.log(1e-9 / 3)) / 2
    )
    # A row like the sum: nothing is gained.
    even = selectivity(np.full((2, 4), 0.5))
    np.testing.assert_allclose(even.decrease, 0, atol=1e-15)
    np.testing.assert_allclose(even.divergence, 0, atol=1e-12)
    assert even.means() == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3, 3), (1, 1)])
def test_rows_of_nothing_are_left_out(shape):
    with np.errstate(all="raise"):
        found = selectivity(np.zeros(shape))
    assert len(found.row) == 0 and found.means() == (0.0, 0.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_purity_counts_items_that_fire_alike_in_part(seed):
    rng = np.random.default_rng(seed)
    counts, codes, _ = drawn(seed)
    codes = np.ceil(codes * 2).astype(np.float32)  # 0, 1 or 2: many alike
    labels = rng.integers(-1, 6, 12)
    found = purity(Mapping.of(concepts(counts), codes), labels)
    expected = slow_purity(codes.tolist(), counts.tolist(), labels.tolist())
    np.testing.assert_allclose(found, expected, atol=EXACT)


def test_purity_by_hand():
    # Forty items, ten with the concept. Neuron 0 fires most for these, 1 for others, 2 for three of which two have it.
    counts = np.zeros((40, 1))
    counts[:10] = 1
    codes = np.zeros((40, 3))
    codes[:, 0], codes[:, 1] = np.arange(40, 0, -1), np.arange(1, 41)
    codes[[0, 1, 30], 2] = 1
    found = purity(Mapping.of(concepts(counts), codes), np.array([0, 0, 0]))
    np.testing.assert_allclose(found, [10 / TOP - 0.25, 0 - 0.25, 2 / 3 - 0.25])


def test_labels_are_judged_by_items_that_did_not_choose_them():
    # Neuron 0 fires for concept 0 in one half and for concept 1 in the other: either label is wrong where it is measured.
    n = 200
    first = first_half([f"i{i}" for i in range(n)])
    counts = np.zeros((n, 2))
    counts[np.arange(n), np.arange(n) // 2 % 2] = 1
    liar = np.where(first, counts[:, 0], counts[:, 1])
    codes = np.stack([liar, counts[:, 1]], axis=1)
    found = held(Mapping.of(concepts(counts), codes[:, :1]), first)
    assert found.measured == 2 and found.confidence == pytest.approx(-1) and found.purity < -0.4
    found = held(Mapping.of(concepts(counts), codes[:, 1:]), first, "unique")
    assert found.measured == 2 and found.confidence == pytest.approx(1) and found.purity > 0.4


def test_a_half_is_a_half_whatever_the_order():
    tokens = [f"i{i}" for i in range(1000)]
    first = first_half(tokens)
    assert 420 < first.sum() < 580  # five standard deviations of a fair coin
    assert first_half(tokens[::-1]).tolist() == first[::-1].tolist()
    assert first.tolist() != (token_hashes(tokens, "another") % np.uint64(2) == 0).tolist()


def numbers(system):
    return np.array(list(system.means().values()))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_order_and_scale_change_no_mean(seed, scale):
    counts, codes, tokens = drawn(seed)
    rng = np.random.default_rng(seed)
    i, t, j = (rng.permutation(size) for size in (80, 7, 12))
    plain = measure(concepts(counts), codes, tokens)
    moved = measure(
        concepts(counts[i][:, t]), sp.csr_matrix(codes[i][:, j]), [tokens[k] for k in i]
    )
    np.testing.assert_allclose(numbers(moved), numbers(plain), atol=EXACT, rtol=0)
    scaled = measure(concepts(counts), codes.astype(float) * scale, tokens)
    np.testing.assert_allclose(numbers(scaled), numbers(plain), atol=EXACT, rtol=0)


@pytest.mark.parametrize(
    ("counts", "codes"),
    [
        (np.ones((30, 2)), np.zeros((30, 3))),  # all dead
        (np.zeros((30, 2)), np.ones((30, 3))),  # no application
        (np.ones((30, 1)), np.ones((30, 3))),  # one concept
        (np.ones((30, 3)), np.ones((30, 1))),  # one neuron
        (np.ones((1, 1)), np.ones((1, 1))),  # one item, so that a half has none
        (np.ones((30, 2)), np.ones((30, 0))),
    ],
)
def test_degenerate_systems_have_finite_numbers(counts, codes):
    tokens = [f"i{i}" for i in range(len(counts))]
    with np.errstate(all="raise"):
        found = measure(concepts(counts), codes, tokens)
    assert np.isfinite(numbers(found)).all()
    assert found.held.confidence == 0 and abs(found.held.purity) < 1e-12
    assert densities({"it": found}).startswith("<?xml")


def test_signed_coordinates_are_two_activations_each():
    z = np.array([[1.5, -2.0], [0.0, 3.0]], np.float32)
    found = signed(z)
    assert found.tolist() == [[1.5, 0, 0, 2], [0, 3, 0, 0]] and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :2] - found[:, 2:], z)


@pytest.mark.parametrize("r", [1, 2, 5, 64])
def test_a_rotation_keeps_lengths_and_hands(r):
    found = rotation(r, 3)
    np.testing.assert_allclose(found.T @ found, np.eye(r), atol=1e-12)
    assert np.linalg.det(found) == pytest.approx(1)
    np.testing.assert_array_equal(found, rotation(r, 3))
    assert r == 1 or np.abs(found - rotation(r, 4)).max() > 0.01


def planted(n=400, t=8, noise=0.1):
    """Eight concepts, a coordinate of either sign for each two of them."""
    rng = np.random.default_rng(0)
    concept = rng.integers(0, t, n)
    counts = np.zeros((n, t))
    counts[np.arange(n), concept] = 1
    z = rng.normal(0, noise, (n, t // 2))
    z[np.arange(n), concept // 2] += np.where(concept % 2, -1.0, 1.0)
    return concepts(counts), z.astype(np.float32), [f"i{i}" for i in range(n)]


def test_coordinates_that_mean_something_lose_it_when_turned():
    few, z, tokens = planted()
    plain = measure(few, signed(z), tokens)
    turned = measure(few, signed(z @ rotation(4, 1)), tokens)
    assert plain.held.confidence > 0.9 and plain.held.purity > 0.8 and plain.live == 1
    assert turned.held.confidence < plain.held.confidence - 0.15
    assert turned.evenness > plain.evenness + 0.15
    assert turned.neurons.means()[0] < plain.neurons.means()[0] - 0.1
    assert turned.concepts.means()[0] < plain.concepts.means()[0] - 0.1


def test_the_most_and_the_least_selective_concepts():
    few = Concepts(tuple("abcd"), sp.csr_matrix(np.ones((1, 4))))
    rows = np.array([[1.0, 1, 1], [0, 5, 0], [0, 0, 0], [2, 2, 0]])
    of = selectivity(rows)
    found = extremes(few, of, most=1, least=1)
    assert [tag.name for tag in found] == ["b", "a"]
    assert found[0].entropy == 0 and found[0].divergence == of.divergence[1]
    assert [tag.name for tag in extremes(few, of)] == ["b", "d", "a"]  # each once


def three():
    few, z, tokens = planted()
    return {
        "coordinates": measure(few, signed(z), tokens),
        "turned": measure(few, signed(z @ rotation(4, 1)), tokens),
        "nothing": measure(few, np.zeros((400, 3)), tokens),
    }


def test_the_plot_has_four_panels_a_name_for_each_system_and_the_same_bytes():
    picture = densities(three(), "planted & turned")
    assert picture == densities(three(), "planted & turned")
    ET.fromstring(picture)
    shown = re.findall(r"<text[^>]*>([^<]+)</text>", picture)
    for name in ("coordinates", "turned", "nothing", "planted &amp; turned"):
        assert shown.count(name) == 1, name
    for name, times in (
        ("Entropy decrease", 2),
        ("KL divergence (nats)", 2),
        ("Neurons to concepts", 2),
    ):
        assert shown.count(name) == times, name
