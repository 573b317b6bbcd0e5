from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.backbone import make_backbone
from recbole_ext.lm.likelihood import Prefix, read_over_prefix, shared_length
from tests.tiny_lm import write_mistral

# Sums in another order, in float32, of log-probabilities up to about 20.
CLOSE = 1e-4


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def backbone(request, causal_folder, qwen2_folder):
    return make_backbone(f"lm:{causal_folder if request.param == 'llama' else qwen2_folder}")


def _plain(backbone, embeds, tokens):
    """The whole sequence at once, without a cache, one token after the other."""
    whole = torch.cat([embeds, backbone.embed(torch.tensor(tokens))])
    states = backbone.states(whole[None], torch.ones(1, len(whole)))[0]
    chances = backbone.vocabulary(states).double().log_softmax(-1)
    return sum(float(chances[len(embeds) - 1 + at, token]) for at, token in enumerate(tokens))


def _continuations():
    generator = torch.Generator().manual_seed(3)
    lengths = [1, 4, 2, 9, 1, 3, 5]
    return [torch.randint(0, 20, (n,), generator=generator).tolist() for n in lengths]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_likelihoods_over_one_cache_are_those_of_whole_sequences(backbone, batch_size):
    embeds = torch.randn(6, backbone.width)
    found = Prefix(backbone, embeds).likelihood(_continuations(), batch_size=batch_size)
    expected = torch.tensor([_plain(backbone, embeds, tokens) for tokens in _continuations()])
    assert torch.allclose(found.total, expected.float(), atol=CLOSE)
    assert torch.allclose(found.mean * found.length, found.total)
    assert found.length.tolist() == [len(tokens) for tokens in _continuations()]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_several_beginnings_at_once_are_each_by_itself(backbone, batch_size):
    rows = [torch.randn(n, backbone.width) for n in (6, 2, 9)]
    words = _continuations()
    owner = [0, 2, 1, 2, 0, 1, 1]
    found = Prefix(backbone, *rows).likelihood(words, owner, batch_size)
    expected = [_plain(backbone, rows[o], tokens) for o, tokens in zip(owner, words, strict=True)]
    assert torch.allclose(found.total, torch.tensor(expected).float(), atol=CLOSE)


@pytest.mark.parametrize("window", [None, 4])
def test_a_window_of_attention_is_kept_behind_a_cache(tmp_path, window):
    """Where a layer does not attend to all that is before, continuations go through the model one by one."""
    backbone = make_backbone(f"lm:{write_mistral(tmp_path / 'm', window)}")
    rows = [torch.randn(n, backbone.width) for n in (6, 2, 9)]
    words, owner = _continuations(), [0, 2, 1, 2, 0, 1, 1]
    prefix = Prefix(backbone, *rows)
    assert prefix.plain == (window is None)
    expected = [_plain(backbone, rows[o], tokens) for o, tokens in zip(owner, words, strict=True)]
    found = prefix.likelihood(words, owner)
    assert torch.allclose(found.total, torch.tensor(expected).float(), atol=CLOSE)


def test_continuations_beside_each_other_are_those_one_by_one(backbone, monkeypatch):
    rows = [torch.randn(n, backbone.width) for n in (6, 2, 9)]
    words, owner = _continuations(), [0, 2, 1, 2, 0, 1, 1]
    beside = Prefix(backbone, *rows).likelihood(words, owner)
    monkeypatch.setattr(Prefix, "plain", False)
    alone = Prefix(backbone, *rows).likelihood(words, owner)
    assert torch.allclose(beside.total, alone.total, atol=CLOSE)


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed"])
def test_in_half_precision_too(causal_folder, dtype):
    backbone = make_backbone(f"lm:{causal_folder}", dtype=dtype)
    whole = make_backbone(f"lm:{causal_folder}")
    words, ids = _continuations(), [3, 1, 4]
    found = Prefix(backbone, ids).likelihood(words).mean
    # bfloat16 has 8 bits: relative 2^-8 of logits up to about 10, and a few layers of it.
    assert torch.allclose(found, Prefix(whole, ids).likelihood(words).mean, atol=0.2)


def test_a_prefix_of_tokens_is_that_of_their_embeddings(backbone):
    ids = [3, 1, 4, 1, 5]
    a = Prefix(backbone, ids).likelihood(_continuations())
    b = Prefix(backbone, backbone.embed(torch.tensor(ids))).likelihood(_continuations())
    assert torch.equal(a.total, b.total)


def test_continuations_of_one_length_have_all_probability_between_them(backbone):
    size = backbone.model.config.vocab_size
    found = Prefix(backbone, [3, 1]).likelihood([[a, b] for a in range(size) for b in range(size)])
    assert found.total.double().exp().sum() == pytest.approx(1, abs=CLOSE)


def test_one_prefix_serves_many_calls(backbone):
    prefix = Prefix(backbone, [3, 1, 4])
    first = prefix.likelihood(_continuations()).total
    assert torch.equal(prefix.likelihood(_continuations()).total, first)


def test_logits_in_parts_are_the_same(backbone, monkeypatch):
    whole = Prefix(backbone, [3, 1, 4]).likelihood(_continuations()).total
    monkeypatch.setattr("recbole_ext.lm.likelihood._LOGITS", 50)
    parts = Prefix(backbone, [3, 1, 4]).likelihood(_continuations()).total
    assert torch.allclose(whole, parts, atol=CLOSE)


def _rows(backbone, shared, own):
    """Rows that begin alike, padded on the right with what must not be read."""
    common = torch.randn(shared, backbone.width)
    embeds = torch.full((len(own), shared + max(own), backbone.width), 1e3)
    mask = torch.zeros(embeds.shape[:2], dtype=torch.long)
    for row, more in enumerate(own):
        embeds[row, : shared + more] = torch.cat([common, torch.randn(more, backbone.width)])
        mask[row, : shared + more] = 1
    return embeds, mask


@pytest.mark.parametrize(("shared", "own"), [(5, [3, 1, 4]), (0, [2, 3]), (4, [2])])
def test_rows_that_begin_alike_are_read_as_by_themselves(backbone, shared, own):
    embeds, mask = _rows(backbone, shared, own)
    found = read_over_prefix(backbone, embeds, mask)
    assert torch.allclose(found, backbone.read(embeds, mask), atol=CLOSE)


def test_the_shared_beginning_leaves_each_row_a_token(backbone):
    embeds, mask = _rows(backbone, 5, [3, 1, 4])
    assert shared_length(embeds, mask) == 5
    same = embeds[:1].expand(3, -1, -1)
    mask = torch.ones(3, embeds.shape[1])
    assert shared_length(same, mask) == embeds.shape[1] - 1
    mask[1, 3:] = 0
    assert shared_length(same, mask) == 2
    assert torch.allclose(
        read_over_prefix(backbone, same, mask), backbone.read(same, mask), atol=CLOSE
    )


def test_a_row_without_tokens_of_its_own_has_the_state_of_the_beginning(backbone):
    prefix = Prefix(backbone, [3, 1, 4])
    mask = torch.tensor([[1, 1], [0, 0]])
    found = prefix.read(torch.randn(2, 2, backbone.width), mask)
    assert torch.equal(found[1:], prefix.last.float()) and not torch.equal(found[0], found[1])


def test_what_is_too_long_or_empty_or_no_causal_model_is_refused(backbone):
    with pytest.raises(HarnessError, match="65 tokens"):
        Prefix(backbone, [1] * 65)
    prefix = Prefix(backbone, [1] * 60)
    assert len(prefix.likelihood([[1] * 5]).total) == 1  # the last token is not read
    with pytest.raises(HarnessError, match="of which 5 follow"):
        prefix.likelihood([[1] * 6])
    with pytest.raises(ValueError, match="continuation 1 is empty"):
        prefix.likelihood([[1], []])
    with pytest.raises(ValueError, match="an empty prefix"):
        Prefix(backbone, [])
    with pytest.raises(ValueError, match="it has no cache"):
        Prefix(SimpleNamespace(name="e", generative=False), [1])
