from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.lm.batches import PromptBatch, bucketed, collate, rounded, splice
from recbole_ext.lm.prompts import Prompt


def _prompt(ids, **slots):
    return Prompt(ids, slots, 0, ())


def _batch(rows=3, width=6, names=("user", "item")):
    generator = torch.Generator().manual_seed(5)
    slots = torch.stack([torch.randperm(width, generator=generator) for _ in range(rows)])
    ids = torch.zeros(rows, width, dtype=torch.long)
    return PromptBatch(ids, ids + 1, {name: slots[:, at] for at, name in enumerate(names)})


def test_a_batch_is_padded_on_the_right():
    batch = collate([_prompt([5, 9, 6], u=1), _prompt([7, 8], u=0)], 9)
    assert batch.ids.tolist() == [[5, 9, 6], [7, 8, 9]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.slots["u"].tolist() == [1, 0] and len(batch) == 2


def test_prompts_of_other_slots_are_no_batch():
    with pytest.raises(ValueError, match="prompt 1"):
        collate([_prompt([5], u=0), _prompt([5], i=0)], 9)
    with pytest.raises(ValueError, match="no prompts"):
        collate([], 9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_spliced_embeddings_are_those_of_a_loop(dtype):
    batch = _batch()
    embeds = torch.randn(3, 6, 4).to(dtype)
    kept = embeds.clone()
    vectors = {name: torch.randn(3, 4) for name in ("item", "user")}  # in another order
    found = splice(embeds, batch, vectors)
    expected = embeds.clone()
    for row in range(3):
        for name in vectors:
            for axis in range(4):
                expected[row, batch.slots[name][row], axis] = vectors[name][row, axis]
    assert torch.equal(found, expected) and found.dtype == dtype
    assert torch.equal(embeds, kept)


def test_gradients_reach_the_vectors_and_not_what_they_replace():
    batch = _batch()
    embeds = torch.randn(3, 6, 4, requires_grad=True)
    vectors = {name: torch.randn(3, 4, requires_grad=True) for name in batch.slots}
    splice(embeds, batch, vectors).sum().backward()
    assert embeds.grad is not None
    for name, vector in vectors.items():
        assert torch.equal(vector.grad, torch.ones(3, 4))
        assert embeds.grad[range(3), batch.slots[name]].eq(0).all()
    assert embeds.grad.sum() == 3 * (6 - 2) * 4


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({"user": (3, 4)}, "slot 'item' gets no vectors"),
        ({"user": (3, 4), "item": (3, 4), "warm": (3, 4)}, "vectors for 'warm'"),
        ({"user": (3, 4), "item": (2, 4)}, r"slot 'item' takes \[3, 4\], not \[2, 4\]"),
        ({"user": (3, 5), "item": (3, 4)}, r"slot 'user' takes \[3, 4\], not \[3, 5\]"),
    ],
)
def test_vectors_that_do_not_fit_name_the_slot(vectors, said):
    with pytest.raises(ValueError, match=said):
        splice(torch.zeros(3, 6, 4), _batch(), {k: torch.zeros(v) for k, v in vectors.items()})


def test_without_slots_nothing_is_put_in():
    embeds = torch.randn(3, 6, 4)
    assert torch.equal(splice(embeds, _batch(names=()), {}), embeds)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 500), max_size=400),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 99),
)
def test_every_row_is_in_one_batch(lengths, size, drawn, seed):
    generator = torch.Generator().manual_seed(seed) if drawn else None
    batches = bucketed(lengths, size, generator)
    rows = np.concatenate(batches) if batches else np.array([], dtype=np.int64)
    assert sorted(rows.tolist()) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)  # as few as there can be
    if not drawn:
        assert [lengths[row] for row in rows] == sorted(lengths, reverse=True)


def test_little_of_a_drawn_batch_is_padding_and_the_order_is_drawn():
    lengths = np.random.default_rng(0).integers(40, 300, 3000)
    batches = bucketed(lengths, 16, torch.Generator().manual_seed(1))
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    # Unsorted batches of 16 of this spread are two fifths padding, sorted windows of 50 batches about one in forty.
    assert 1 - lengths.sum() / padded < 0.04
    firsts = [lengths[batch].max() for batch in batches]
    assert firsts != sorted(firsts) and firsts != sorted(firsts, reverse=True)
    again = bucketed(lengths, 16, torch.Generator().manual_seed(1))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    other = bucketed(lengths, 16, torch.Generator().manual_seed(2))
    assert not all(np.array_equal(a, b) for a, b in zip(batches, other, strict=True))


def test_batches_come_in_few_shapes_that_are_little_longer_and_within_the_context():
    lengths = range(1, 2049)
    wide = [rounded(length, 2048) for length in lengths]
    assert all(0 <= more - n <= max(7, n / 16) for more, n in zip(wide, lengths, strict=True))
    assert wide == sorted(wide) and len(set(wide)) < 100 and wide[-1] == 2048
    assert rounded(61, 62) == 62 and rounded(70, 62) == 70


def test_a_batch_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="0 rows"):
        bucketed([1, 2], 0)
