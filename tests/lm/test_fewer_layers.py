"""A causal model of which some layers are kept: it runs them in order, its cache too, and its name and files say so."""

from __future__ import annotations

import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm import backbone as module
from recbole_ext.lm.backbone import find_backbone, keep_layers, make_backbone
from recbole_ext.lm.generate import generate
from recbole_ext.lm.source import Source
from tests.model.listed_data import write_llama


@pytest.fixture
def four(tmp_path, monkeypatch):
    """A source of four layers in the place of the packed model's, of which the short one has two."""
    write_llama(tmp_path / "four", layers=4)
    source = Source(tmp_path / "four", "gguf:abc", "smollm2")
    monkeypatch.setattr(module, "smollm2", lambda *_: source)
    monkeypatch.setitem(module._KEPT, "smollm2-6", ("smollm2", (0, 3)))
    return source


def test_its_states_are_those_of_the_kept_layers_one_after_the_other(four):
    whole, short = make_backbone("smollm2"), make_backbone("smollm2-6")
    assert len(short.layers) == 2 and len(whole.layers) == 4
    embeds = torch.randn(2, 5, 16)
    base = whole.base
    with torch.no_grad():
        position = torch.arange(5)[None]
        rotary = base.rotary_emb(embeds, position)
        causal = torch.full((5, 5), float("-inf")).triu(1)[None, None]
        x = embeds
        for place in (0, 3):
            x = base.layers[place](
                x, attention_mask=causal, position_ids=position, position_embeddings=rotary
            )
            x = x[0] if isinstance(x, tuple) else x
        expected = base.norm(x)
        found = short.states(embeds, torch.ones(2, 5))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)  # fused and plain attention


def test_what_it_generates_over_its_cache_is_what_a_pass_over_all_says(four):
    short = make_backbone("smollm2-6")
    ids = [3, 9, 4, 7]
    (found,) = generate(short, [ids], 5)
    with torch.no_grad():
        for token in found:
            given = torch.tensor([ids])
            state = short.states(short.embed(given), torch.ones_like(given))[0, -1]
            assert int(short.vocabulary(state).argmax()) == token
            ids = [*ids, token]


def test_its_name_and_its_files_tell_it_from_the_whole_model(four):
    whole, short = find_backbone("smollm2"), find_backbone("smollm2-6")
    assert short.label == "smollm2-6" and whole.label == "smollm2"
    assert short.source.identity == "gguf:abc layers 0 3" != whole.source.identity
    made = make_backbone("smollm2-6")
    assert made.name == "smollm2-6" and made.identity == short.identity("float32")
    with pytest.raises(HarnessError, match=r"unknown .*smollm2"):
        find_backbone("smollm2-7")


def test_the_shipped_one_has_six_of_thirty_from_the_first_to_the_last():
    assert module._KEPT["smollm2-6"] == ("smollm2", (0, 6, 12, 18, 24, 29))


def test_layers_that_differ_in_kind_keep_theirs(four):
    model = make_backbone("smollm2").model
    model.config.layer_types = ["a", "b", "c", "d"]
    keep_layers(model, (3, 1))
    assert model.config.layer_types == ["d", "b"] and model.config.num_hidden_layers == 2
    assert [layer.self_attn.layer_idx for layer in model.base_model.layers] == [0, 1]
