"""LoRA: the base is the base, and a recommender that holds one holds nothing else of the backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.backbone import CausalBackbone, EncoderBackbone, make_backbone
from recbole_ext.lm.lora import Lora
from tests.lm.conftest import Make

LINEAR = {
    True: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    False: ["query", "key", "value", "dense", "dense", "dense"],
}
"""Linear layers of one layer of a LLaMA and of a BERT."""


class _Recommender(nn.Module):
    """As a prompted model is built: the backbone in a tuple, the LoRA beside it."""

    def __init__(self, backbone: CausalBackbone | EncoderBackbone, **options: object) -> None:
        super().__init__()
        self.held = (backbone,)
        self.lora = Lora(backbone, r=2, alpha=8, **options)  # type: ignore[arg-type]


def _read(backbone: CausalBackbone | EncoderBackbone) -> Tensor:
    ids = torch.tensor([[1, 3, 4, 5, 6], [1, 7, 8, 0, 0]])
    return backbone.read(backbone.embed(ids), torch.tensor([[1] * 5, [1, 1, 1, 0, 0]]))


def _move(model: nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_off_is_the_base_bit_for_bit_and_so_is_the_start_in_value(fresh: Make, dtype: str) -> None:
    want = _read(fresh(dtype=dtype))
    backbone = fresh(dtype=dtype)
    model = _Recommender(backbone).eval()
    assert torch.equal(_read(backbone), want), "B is zero"
    _move(model)
    assert not torch.allclose(_read(backbone), want, atol=1e-2)
    with model.lora.off():
        assert torch.equal(_read(backbone), want)
    changed = _read(backbone)
    assert not torch.allclose(changed, want, atol=1e-2)
    with pytest.raises(KeyError), model.lora.off():
        raise KeyError
    assert torch.equal(_read(backbone), changed), "on again after an error too"
    model.lora.remove()
    assert torch.equal(_read(backbone), want)
    assert {type(m).__module__.split(".")[0] for m in backbone.model.modules()} <= {
        "torch",
        "transformers",
    }


def test_the_state_is_the_adapters_and_survives_a_round_trip(fresh: Make) -> None:
    backbone = fresh()
    model = _Recommender(backbone).eval()
    state = model.state_dict()
    names = LINEAR[backbone.generative]
    assert len(state) == 2 * 2 * len(names), "two matrices for every linear layer of two layers"
    assert {key.rsplit(":", 2)[1] for key in state} == set(names)
    assert all(value.dtype == torch.float32 and 2 in value.shape for value in state.values())
    _move(model)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    want = _read(backbone)
    other = fresh()
    loaded = _Recommender(other).eval()
    loaded.load_state_dict(kept)
    assert torch.equal(_read(other), want), "what is loaded is what the backbone computes with"
    loaded.double().float()
    assert torch.equal(_read(other), want), "and so it is after the module was moved"


def test_the_value_is_the_formula(causal_folder: Path) -> None:
    backbone = make_backbone(f"lm:{causal_folder}")
    model = _Recommender(backbone, modules=["v_proj"]).eval()
    _move(model)
    layer = backbone.layers[1].self_attn.v_proj
    weights = model.lora.weights
    a, b = (weights[f"model:layers:1:self_attn:v_proj:{letter}"] for letter in "AB")
    given = torch.randn(3, 16)
    want = given.double() @ (layer.base_layer.weight.double() + 8 / 2 * b.double() @ a.double()).T
    # Sums of 16 products in float32.
    torch.testing.assert_close(layer(given).double(), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_exactly_the_adapters(fresh: Make, checkpointing: bool) -> None:
    backbone = fresh(checkpointing=checkpointing)
    model = _Recommender(backbone, dropout=0.0)
    _move(model)
    model.train()
    _read(backbone).square().sum().backward()
    own = {id(weight) for weight in model.parameters()}
    for name, weight in backbone.model.named_parameters():
        assert (weight.grad is not None) == (id(weight) in own), name
        assert weight.requires_grad == (id(weight) in own), name
    assert own <= {id(weight) for weight in backbone.model.parameters()}, "the same objects"
    assert all(bool(weight.grad.any()) for weight in model.parameters() if weight.grad is not None)


def test_a_frozen_lora_stays_frozen(fresh: Make) -> None:
    backbone = fresh()
    model = _Recommender(backbone).requires_grad_(False)
    with model.lora.off():
        _read(backbone)
    assert not any(weight.requires_grad for weight in backbone.model.parameters())
    assert not _read(backbone).requires_grad


def test_dropout_is_drawn_in_training_alone_and_none_of_the_bases(fresh: Make) -> None:
    backbone = fresh()
    model = _Recommender(backbone, dropout=0.5).eval()
    _move(model)
    still = _read(backbone)
    assert torch.equal(_read(backbone), still)
    model.train()
    torch.manual_seed(0)
    drawn = _read(backbone)
    assert not torch.equal(drawn, _read(backbone))
    torch.manual_seed(0)
    assert torch.equal(drawn, _read(backbone)), "by torch's generator"
    with model.lora.off():
        assert torch.equal(_read(backbone), _read(backbone)), "the base draws nothing"
    model.eval()
    assert torch.equal(_read(backbone), still)


def test_checkpointing_recomputes_with_the_same_dropout(fresh: Make) -> None:
    grads = []
    for checkpointing in (False, True):
        backbone = fresh(checkpointing=checkpointing)
        torch.manual_seed(1)
        model = _Recommender(backbone, dropout=0.5)
        _move(model)
        model.train()
        torch.manual_seed(2)
        _read(backbone).square().sum().backward()
        grads.append([weight.grad for weight in model.parameters()])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)


def test_two_loras_one_after_the_other(fresh: Make) -> None:
    backbone = fresh()
    first = Lora(backbone)
    with pytest.raises(ValueError, match=r"has a LoRA; remove\(\) it first"):
        Lora(backbone)
    first.remove()
    _move(second := Lora(backbone))
    assert {id(weight) for weight in second.parameters()} == {
        id(weight) for weight in backbone.model.parameters() if weight.requires_grad
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modules": ["q_porj", "v_proj"]}, "no linear layer 'q_porj', did you mean q_proj"),
        ({"modules": "query"}, "no linear layer 'query'; use all, or some of down_proj"),
        ({"modules": ["lm_head"]}, "no linear layer 'lm_head'"),
        ({"modules": []}, "lora_modules is empty"),
        ({"r": 0}, "lora_r=0 must be at least 1"),
        ({"alpha": 0}, "lora_alpha=0 must be above 0"),
        ({"dropout": 1.0}, "lora_dropout=1.0 must be at least 0 and below 1"),
    ],
)
def test_what_is_wrong_is_one_line(
    causal_folder: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(HarnessError, match=said) as caught:
        Lora(make_backbone(f"lm:{causal_folder}"), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
