"""Maps between concepts and neurons, against loops over plain lists, by hand and on what breaks them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.sae import mapping as module
from recbole_ext.sae.concepts import Concepts
from recbole_ext.sae.mapping import FEWEST, MAPS, Mapping

# Sums of at most some hundred numbers in float64, in another order.
EXACT = 1e-10


def concepts(counts) -> Concepts:
    counts = sp.csr_matrix(np.asarray(counts, dtype=float))
    return Concepts(tuple(f"concept {t:02d}" for t in range(counts.shape[1])), counts)


def drawn(seed: int, n: int = 30, t: int = 6, h: int = 9):
    """Counts [n, t] and codes [n, h] with an empty item, an empty concept, an item without a code and a dead neuron."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.5, (n, t)).astype(float)
    codes = (rng.random((n, h)) * (rng.random((n, h)) < 0.4)).astype(np.float32)
    counts[0], counts[:, t - 1], codes[1], codes[:, h - 1] = 0, 0, 0, 0
    return counts, codes


def slow_association(counts, codes):
    n, t, h = len(counts), len(counts[0]), len(codes[0])
    total = sum(sum(row) for row in counts)
    return [
        [sum(counts[i][a] / total * codes[i][b] for i in range(n)) if total else 0.0 for b in range(h)]
        for a in range(t)
    ]  # fmt: skip


def slow_tf_idf(m):
    """Orientations (a) and (b) as [t][h], from the formulas."""
    t, h = len(m), len(m[0])
    a = [[0.0] * h for _ in range(t)]
    b = [[0.0] * h for _ in range(t)]
    for i in range(t):
        for j in range(h):
            row, column = sum(m[i]), sum(m[k][j] for k in range(t))
            concepts_of_neuron = sum(m[k][j] > 0 for k in range(t))
            neurons_of_concept = sum(m[i][k] > 0 for k in range(h))
            if row > 0:
                a[i][j] = m[i][j] / row * (math.log((t + 1) / (concepts_of_neuron + 1)) + 1)
            if column > 0:
                b[i][j] = m[i][j] / column * (math.log((h + 1) / (neurons_of_concept + 1)) + 1)
    return a, b


def slow_r(x, y):
    n = len(x)
    mx, my = sum(x) / n, sum(y) / n
    xx, yy = sum((v - mx) ** 2 for v in x), sum((v - my) ** 2 for v in y)
    xy = sum((v - mx) * (w - my) for v, w in zip(x, y, strict=True))
    return xy / math.sqrt(xx * yy) if xx * yy > 0 else 0.0


def slow_f1(x, y):
    best = 0.0
    for threshold in {v for v in x if v > 0}:
        said = [v >= threshold for v in x]
        hits = sum(s and w for s, w in zip(said, y, strict=True))
        best = max(best, 2 * hits / (sum(said) + sum(y)))
    return best


def slow_controls(counts, codes):
    t, h = len(counts[0]), len(codes[0])
    r, f1 = [[0.0] * h for _ in range(t)], [[0.0] * h for _ in range(t)]
    for a in range(t):
        has = [row[a] > 0 for row in counts]
        for b in range(h):
            x = [row[b] for row in codes]
            r[a][b] = slow_r(x, has) if sum(has) >= FEWEST else 0.0
            f1[a][b] = slow_f1(x, has)
    return r, f1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_every_matrix_is_that_of_the_loops(seed, sparse, ties):
    counts, codes = drawn(seed)
    if ties:
        codes = np.ceil(codes * 2) / 2
    found = Mapping.of(concepts(counts), sp.csr_matrix(codes) if sparse else codes)
    plain = [row.tolist() for row in (counts, codes.astype(float))]
    m = slow_association(*plain)
    expected = (m, *slow_tf_idf(m), *slow_controls(*plain))
    for name, values in zip(("association", *MAPS), expected, strict=True):
        np.testing.assert_allclose(getattr(found, name), values, atol=EXACT, rtol=0, err_msg=name)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_f1_does_not_depend_on_how_many_pairs_are_looked_at_together(seed):
    counts, codes = drawn(seed)
    whole = Mapping.of(concepts(counts), codes).f1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TOGETHER", 7)
        np.testing.assert_array_equal(Mapping.of(concepts(counts), codes).f1, whole)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(MAPS), st.integers(1, 12))
def test_neurons_are_ranked_as_a_plain_sort_does_and_dead_ones_never_are(seed, by, n):
    counts, codes = drawn(seed)
    found = Mapping.of(concepts(counts), codes)
    scores, m = found.scores(by).tolist(), found.association.tolist()
    for t in range(len(scores)):
        able = [j for j in range(9) if scores[t][j] > 0]
        able.sort(key=lambda j: (-scores[t][j], -m[t][j], j))
        assert found.neurons_of(t, by, n).tolist() == able[:n]
        assert 8 not in found.neurons_of(t, by, 9)
    assert found.neurons_of(5, by, 9).tolist() == []  # the concept that nothing has


def test_the_maps_by_hand():
    # Neuron 0 fires for everything; neuron 1 for item 0 only, which has concept 0; neuron 2 for item 2, concept 1; 3 is dead.
    counts = [[3, 0], [1, 1], [0, 5]]
    codes = np.array([[2, 1, 0, 0], [2, 0, 0, 0], [2, 0, 1, 0]], np.float32)
    found = Mapping.of(concepts(counts), codes)
    np.testing.assert_allclose(found.association, [[0.8, 0.3, 0, 0], [1.2, 0, 0.5, 0]], atol=EXACT)
    once, both = 1 + math.log(3 / 2), 1 + math.log(3 / 3)  # of two documents
    np.testing.assert_allclose(
        found.characterises, [[0.8 / 1.1 * both, 0.3 / 1.1 * once, 0, 0], [1.2 / 1.7 * both, 0, 0.5 / 1.7 * once, 0]]
    )  # fmt: skip
    two = 1 + math.log(5 / 3)  # of four neurons
    np.testing.assert_allclose(found.unique, [[0.4 * two, two, 0, 0], [0.6 * two, 0, two, 0]])
    assert found.neurons_of(0, "characterises", 1).tolist() == [0]
    assert found.neurons_of(0, "unique", 5).tolist() == [1, 0]
    # Of neuron 0 concept 1 has more applications, but concept 0 depends on it more: 8 / 11 > 12 / 17.
    assert found.labels("characterises").tolist() == [0, 0, 1, -1]
    assert found.names("unique") == ["concept 01", "concept 00", "concept 01", None]
    assert found.live.tolist() == [True, True, True, False]


def test_applications_weigh_and_presence_does_not():
    codes = np.eye(12, 4, dtype=np.float32) + 0.1
    few = np.zeros((12, 2))
    few[:6, 0], few[4:, 1] = 1, 1
    many = few.copy()
    many[0, 0] = 50
    once, often = Mapping.of(concepts(few), codes), Mapping.of(concepts(many), codes)
    for by in ("correlation", "f1"):
        np.testing.assert_array_equal(once.scores(by), often.scores(by))
    for by in ("characterises", "unique"):
        assert np.abs(once.scores(by) - often.scores(by)).max() > 0.01


def test_equally_unique_neurons_go_by_what_they_have_to_do_with_the_concept():
    # Neurons 0 to 2 fire for concept 0 alone, most of all neuron 1.
    codes = np.array([[1, 3, 1, 0], [0, 0, 0, 1]], np.float32)
    found = Mapping.of(concepts([[1, 0], [0, 1]]), codes)
    assert found.neurons_of(0, "unique", 9).tolist() == [1, 0, 2]


def test_correlation_needs_five_items_with_the_concept_and_one_without():
    codes = np.linspace(0, 1, 12, dtype=np.float32)[:, None]
    counts = np.zeros((12, 3))
    counts[-4:, 0], counts[-5:, 1], counts[:, 2] = 1, 1, 1
    r = Mapping.of(concepts(counts), codes).correlation[:, 0]
    assert r[0] == 0 and r[1] > 0.8 and r[2] == 0


@pytest.mark.parametrize("height", [1.0, 0.1, 1e-20, 1e20])
def test_a_neuron_that_fires_alike_for_all_correlates_with_nothing(height):
    counts = np.zeros((30, 1))
    counts[:11] = 1
    found = Mapping.of(concepts(counts), np.full((30, 1), height))
    assert found.correlation.tolist() == [[0.0]] and found.neurons_of(0, "f1", 1).tolist() == [0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(MAPS))
def test_items_concepts_and_neurons_may_stand_in_any_order(seed, by):
    counts, codes = drawn(seed)
    rng = np.random.default_rng(seed)
    i, t, j = (rng.permutation(size) for size in (30, 6, 9))
    plain = Mapping.of(concepts(counts), codes)
    moved = Mapping.of(concepts(counts[i][:, t]), codes[i][:, j])
    np.testing.assert_allclose(moved.scores(by), plain.scores(by)[t][:, j], atol=EXACT, rtol=0)
    # Neurons of one item each have equal scores but for rounding, so that their order is left alone here.
    for concept in range(6):
        there = {int(j[n]) for n in moved.neurons_of(concept, by, 9)}
        assert there == set(plain.neurons_of(int(t[concept]), by, 9).tolist())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(MAPS), st.integers(-20, 20))
def test_the_scale_of_the_codes_changes_no_map(seed, by, power):
    # By powers of two: nothing is rounded otherwise, so that not even equal neurons change places.
    counts, codes = drawn(seed)
    plain = Mapping.of(concepts(counts), codes)
    scaled = Mapping.of(concepts(counts), codes.astype(float) * 2.0**power)
    for concept in range(6):
        assert (
            scaled.neurons_of(concept, by, 9).tolist() == plain.neurons_of(concept, by, 9).tolist()
        )
    for orientation in ("characterises", "unique"):
        assert scaled.labels(orientation).tolist() == plain.labels(orientation).tolist()


@pytest.mark.parametrize(
    ("counts", "codes"),
    [
        (np.ones((6, 2)), np.zeros((6, 3))),  # all dead
        (np.zeros((6, 2)), np.ones((6, 3))),  # no application
        (np.zeros((6, 2)), np.zeros((6, 3))),
        (np.ones((6, 1)), np.ones((6, 1))),  # one concept and one neuron
        (np.ones((1, 1)), np.ones((1, 1))),
        (np.ones((0, 2)), np.ones((0, 3))),  # no item
        (np.ones((6, 0)), np.ones((6, 3))),  # no concept
        (np.ones((6, 2)), np.ones((6, 0))),  # no neuron
    ],
)
def test_nothing_is_no_number_where_there_is_nothing(counts, codes):
    found = Mapping.of(concepts(counts), codes)
    with np.errstate(all="raise"):
        for by in MAPS:
            scores = found.scores(by)
            assert scores.shape == (counts.shape[1], codes.shape[1]) and np.isfinite(scores).all()
            for t in range(counts.shape[1]):
                assert len(found.neurons_of(t, by, 5)) <= codes.shape[1]
        for orientation in ("characterises", "unique"):
            labels = found.labels(orientation)
            assert labels.shape == (codes.shape[1],)
            assert ((labels >= 0) == found.association.any(axis=0)).all()


def test_a_neuron_that_fires_for_items_without_a_concept_lives_and_has_no_label():
    found = Mapping.of(concepts([[1], [0]]), np.eye(2))
    assert found.live.tolist() == [True, True] and found.names() == ["concept 00", None]


def test_what_it_is_made_of_stays_as_it_is():
    codes = sp.csc_matrix((np.array([0.0, 1.0]), ([0, 1], [0, 0])), shape=(2, 1))
    assert codes.nnz == 2
    Mapping.of(concepts([[1], [1]]), codes)
    assert codes.nnz == 2


def test_other_codes_and_maps_are_refused():
    few = concepts(np.ones((3, 1)))
    for wrong in (-np.ones((3, 2)), np.full((3, 2), np.nan), np.full((3, 2), np.inf)):
        with pytest.raises(ValueError, match="finite and not negative"):
            Mapping.of(few, wrong)
    with pytest.raises(ValueError, match="codes of 4 items, concepts of 3"):
        Mapping.of(few, np.ones((4, 2)))
    with pytest.raises(HarnessError, match=r"map=uniqe must be .*did you mean unique\?"):
        Mapping.of(few, np.ones((3, 2))).neurons_of(0, "uniqe", 1)
    with pytest.raises(HarnessError, match="labels by=f1 must be characterises or unique"):
        Mapping.of(few, np.ones((3, 2))).labels("f1")
