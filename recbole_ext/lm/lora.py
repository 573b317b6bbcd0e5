"""LoRA on a frozen backbone: the adapters are the module's parameters, the backbone is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn

from recbole_ext.core.errors import HarnessError, nearest

if TYPE_CHECKING:
    from recbole_ext.lm.frozen import Frozen

_NAME = "default"


class Lora(nn.Module):
    """Low-rank additions W + (α/r)·B·A to linear layers of a backbone, put into it by peft.

    The parameters here and those inside the backbone are the same objects: what trains, saves, loads or freezes this
    module does it to the backbone, whose own weights appear in no `state_dict`. `train()` and `eval()` reach the
    adapters' dropout and nothing else; like any module it is made in training mode. B is zero at first, so that the backbone says what it said before; A is drawn
    from torch's generator.

    Args:
        backbone: changed in place; one that has no LoRA yet.
        r: rank.
        alpha: scale α; the product is multiplied by α/r.
        dropout: share of an adapter's inputs that training drops.
        modules: "all" linear layers of attention and MLP, or their names, e.g. ["q_proj", "v_proj"].

    Raises:
        HarnessError: a value out of range, or a name of no linear layer.
        ValueError: the backbone has a LoRA.
    """

    def __init__(
        self,
        backbone: Frozen,
        r: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.05,
        modules: str | Sequence[str] = "all",
    ) -> None:
        super().__init__()
        from peft import LoraConfig, inject_adapter_in_model

        if r < 1:
            raise HarnessError(f"lora_r={r} must be at least 1")
        if alpha <= 0:
            raise HarnessError(f"lora_alpha={alpha} must be above 0")
        if not 0 <= dropout < 1:
            raise HarnessError(f"lora_dropout={dropout} must be at least 0 and below 1")
        chosen = _chosen(backbone, modules)
        if any(hasattr(module, "lora_A") for module in backbone.model.modules()):
            raise ValueError(f"backbone {backbone.name} has a LoRA; remove() it first")
        config = LoraConfig(
            r=r,
            lora_alpha=alpha,  # type: ignore[arg-type]
            lora_dropout=dropout,
            # As a pattern of whole paths: a bare name would also match layers outside the stack.
            target_modules="|".join(map(re.escape, chosen)),
        )
        inject_adapter_in_model(config, backbone.model, _NAME)
        layers = {name: backbone.model.get_submodule(name) for name in chosen}
        # In tuples, where torch does not look for submodules: neither is part of this one.
        self._held = (backbone.model,)
        self._layers = tuple(layers.items())
        pairs: dict[str, nn.Parameter] = {}
        for name, layer in layers.items():
            for letter in "AB":
                weight = getattr(layer, f"lora_{letter}")[_NAME].weight
                weight.data = weight.data.float()  # bfloat16 would lose small steps.
                pairs[f"{name.replace('.', ':')}:{letter}"] = weight
        self.weights = nn.ParameterDict(pairs)
        self.dropouts = nn.ModuleList(layer.lora_dropout[_NAME] for layer in layers.values())

    @contextmanager
    def off(self) -> Iterator[None]:
        """The backbone as it was, bit for bit, for this block.

        A backward pass belongs into the block too where the backbone is checkpointed: it computes layers again.
        """
        # peft's switch also sets what trains; a frozen LoRA has to come back frozen.
        trains = [weight.requires_grad for weight in self.weights.values()]
        self._enable(False)
        try:
            yield
        finally:
            self._enable(True)
            for weight, flag in zip(self.weights.values(), trains, strict=True):
                weight.requires_grad_(flag)

    def remove(self) -> None:
        """Take the adapters out of the backbone, which is what it was; this module is of no use after that."""
        model = self._held[0]
        for name, layer in self._layers:
            model.set_submodule(name, layer.base_layer)
        del model.peft_config

    def _enable(self, on: bool) -> None:
        for _, layer in self._layers:
            layer.enable_adapters(on)


def _chosen(backbone: Frozen, modules: str | Sequence[str]) -> list[str]:
    """Paths in the backbone's model of the linear layers that are meant."""
    from transformers.pytorch_utils import Conv1D

    layers = {id(module) for module in backbone.layers.modules()}
    linear: dict[str, str] = {
        path: path.rpartition(".")[2]
        for path, module in backbone.model.named_modules()
        if id(module) in layers and isinstance(module, (nn.Linear, Conv1D))
    }
    if modules == "all":
        return list(linear)
    wanted = [modules] if isinstance(modules, str) else list(modules)
    known = sorted(set(linear.values()))
    if not wanted:
        raise HarnessError(f"lora_modules is empty; use all, or some of {', '.join(known)}")
    for name in wanted:
        if name not in known:
            raise HarnessError(
                f"lora_modules: backbone {backbone.name} has no linear layer {name!r}{nearest(str(name), known)}; "
                f"use all, or some of {', '.join(known)}"
            )
    return [path for path, name in linear.items() if name in wanted]
