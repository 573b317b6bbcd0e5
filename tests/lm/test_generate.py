from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.backbone import make_backbone
from recbole_ext.lm.generate import Draw, generate

PROMPTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5], [3, 5, 8, 9, 7, 9, 3]]


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def backbone(request, causal_folder, qwen2_folder):
    return make_backbone(f"lm:{causal_folder if request.param == 'llama' else qwen2_folder}")


def _theirs(backbone, prompt, most):
    """One prompt by transformers' own loop; it never ends early, for the model knows no end."""
    ids = torch.tensor([prompt])
    out = backbone.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


def test_the_likeliest_tokens_are_those_of_transformers(backbone):
    expected = [_theirs(backbone, prompt, 12) for prompt in PROMPTS]
    assert generate(backbone, PROMPTS, 12) == expected
    assert len({tuple(row) for row in expected}) > 1


def test_prompts_of_embeddings_are_continued_like_tokens(backbone):
    embeds = [backbone.embed(torch.tensor(prompt)) for prompt in PROMPTS]
    assert generate(backbone, embeds, 8) == generate(backbone, PROMPTS, 8)
    changed = [embeds[0], torch.randn(1, backbone.width) * 3, *embeds[2:]]
    found = generate(backbone, changed, 8)
    assert found[0] == generate(backbone, PROMPTS, 8)[0]


def test_a_row_ends_before_its_stop_and_the_others_go_on(backbone):
    free = generate(backbone, PROMPTS, 12)
    for stop in {token for row in free for token in row}:
        expected = [row[: row.index(stop)] if stop in row else row for row in free]
        assert generate(backbone, PROMPTS, 12, {stop}) == expected


def test_a_seed_draws_the_same_again_and_another_otherwise(backbone):
    drawn = [generate(backbone, PROMPTS, 12, draw=Draw(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    # Next to no temperature, one of one token, or next to no probability: nothing is left to chance.
    for draw in (Draw(1, temperature=1e-4), Draw(1, top_k=1), Draw(1, top_p=1e-6)):
        assert generate(backbone, PROMPTS, 12, draw=draw) == generate(backbone, PROMPTS, 12)


def test_tokens_are_drawn_as_often_as_the_model_says(backbone):
    first = [row[0] for row in generate(backbone, [PROMPTS[0]] * 4000, 1, draw=Draw(5))]
    ids = torch.tensor([PROMPTS[0]])
    logits = backbone.model(ids).logits[0, -1]
    share = torch.bincount(torch.tensor(first), minlength=len(logits)) / len(first)
    # The standard error of a share is at most 0.008.
    assert torch.allclose(share, logits.softmax(0), atol=0.04)


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(0.7, 0, 1.0), (1, 5, 1), (2, 9, 0.6)])
def test_chances_are_those_of_transformers(temperature, top_k, top_p):
    logits = torch.randn(6, 30, generator=torch.Generator().manual_seed(1)) * 2
    expected = TemperatureLogitsWarper(float(temperature))(None, logits)
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    found = Draw(0, temperature, top_k, top_p).chances(logits)
    assert torch.allclose(found, expected.softmax(1), atol=1e-6)


def test_nothing_asked_is_nothing_said_and_bad_prompts_are_refused(backbone):
    assert generate(backbone, [], 5) == []
    assert generate(backbone, [[1], [2]], 0) == [[], []]
    with pytest.raises(HarnessError, match="65 tokens does not fit into its context of 64"):
        generate(backbone, [[1] * 65], 5)
    with pytest.raises(ValueError, match="an empty prompt"):
        generate(backbone, [[1], []], 5)
    with pytest.raises(ValueError, match="generates nothing"):
        generate(SimpleNamespace(name="e", generative=False), [[1]], 5)


def test_each_row_ends_with_the_context(backbone):
    long = [[1] * 60, [3], [1] * 64, [1] * 62]
    found = generate(backbone, long, 9)
    assert [len(row) for row in found] == [4, 9, 0, 2]
    assert found[1] == generate(backbone, [[3]], 9)[0]
