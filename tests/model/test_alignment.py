"""The alignment loss against loops in float64, and what stands in for what."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.model.alignment import (
    SHARE,
    align_loss,
    collm_projection,
    contrasted,
    sella_projection,
)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(
        sum(x * x for x in a) * sum(y * y for y in b)
    )


def slow(projected, semantic, anchors, candidates, form, anchor, tau, q):
    """The loss from whole tables [n, d] and lists of item numbers, one pair after the other."""
    total = 0.0
    for i in anchors:
        own, every = None, []
        for j in candidates:
            one, two = (
                (projected[i], semantic[j]) if anchor == "collab" else (semantic[i], projected[j])
            )
            every.append(math.exp(cosine(one, two) / tau))
        one, two = projected[i], semantic[i]
        own = math.exp(cosine(one, two) / tau)
        if form == "infonce":
            total += -math.log(own / sum(every))
        else:
            total += (SHARE * (own + sum(every))) ** q / q - own**q / q
    return total / len(anchors)


def tables(seed, n=7, d=5):
    drawn = np.random.default_rng(seed)
    return drawn.normal(size=(n, d)), drawn.normal(size=(n, d))


def fast(projected, semantic, items, n, among, form, anchor, tau, q):
    anchors, candidates, own = contrasted(torch.tensor(items), n, among)
    p, s = torch.from_numpy(projected), torch.from_numpy(semantic)
    sides = (p[anchors], s[candidates]) if anchor == "collab" else (p[candidates], s[anchors])
    return float(align_loss(*sides, own, form=form, anchor=anchor, tau=tau, power=q))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    items=st.lists(st.integers(1, 6), min_size=1, max_size=9),
    among=st.sampled_from(["batch", "batch_all", "all"]),
    form=st.sampled_from(["infonce", "power"]),
    anchor=st.sampled_from(["collab", "llm"]),
)
def test_it_is_the_loop_in_every_switch(seed, items, among, form, anchor):
    projected, semantic = tables(seed)
    once = sorted(set(items))
    anchors = items if among == "batch_all" else once
    candidates = {"batch": once, "batch_all": items, "all": range(1, 7)}[among]
    wanted = slow(projected, semantic, anchors, candidates, form, anchor, 0.2, 0.01)
    found = fast(projected, semantic, items, 7, among, form, anchor, 0.2, 0.01)
    assert found == pytest.approx(wanted, abs=1e-8)  # float64 on both sides


@pytest.mark.parametrize("anchor", ["collab", "llm"])
def test_the_power_form_tends_to_infonce_with_the_positive_twice(anchor):
    projected, semantic = tables(3)
    items = list(range(1, 7))
    total = 0.0
    for i in items:
        sims = [
            cosine(projected[i], semantic[j])
            if anchor == "collab"
            else cosine(semantic[i], projected[j])
            for j in items
        ]
        own = math.exp(cosine(projected[i], semantic[i]) / 0.2)
        total += -math.log(own / (own + sum(math.exp(s / 0.2) for s in sims)))
    wanted = total / len(items) + math.log(SHARE)
    errors = [
        abs(fast(projected, semantic, items, 7, "batch", "power", anchor, 0.2, q) - wanted)
        for q in (1e-2, 1e-4, 1e-9)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6  # the error is of the order of q


def test_duplicates_are_negatives_of_themselves_only_where_they_stay():
    """One item in every row: each once, there is nothing to tell apart; with duplicates the loss is log B."""
    projected, semantic = tables(1)
    assert fast(projected, semantic, [2] * 4, 7, "batch", "infonce", "collab", 0.2, 0.01) == 0.0
    found = fast(projected, semantic, [2] * 4, 7, "batch_all", "infonce", "collab", 0.2, 0.01)
    assert found == pytest.approx(math.log(4), abs=1e-12)


def test_the_padding_item_is_no_candidate():
    _, candidates, own = contrasted(torch.tensor([3, 1]), 5, "all")
    assert candidates.tolist() == [1, 2, 3, 4]
    assert candidates[own].tolist() == [1, 3]


def test_projections_have_the_papers_shapes():
    def shapes(module):
        return [tuple(p.shape) for p in module.parameters()]

    assert shapes(sella_projection(256, 1024, 32)) == [(1024, 256), (1024,), (32, 1024), (32,)]
    assert shapes(collm_projection(8, 10, 32)) == [(80, 8), (80,), (32, 80), (32,)]
