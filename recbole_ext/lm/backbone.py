"""Frozen language models that take vectors in place of words, and say what they make of them.

Two kinds behind one interface: a causal model, read at its last token, and an encoder, read as the mean over
tokens. Both take batches padded on the right; what stands at padding changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from recbole_ext.core.errors import HarnessError, nearest, one_of
from recbole_ext.lm.frozen import Frozen, identity_of
from recbole_ext.lm.loading import loading, pretrained
from recbole_ext.lm.smollm2 import smollm2
from recbole_ext.lm.source import Source, find, minilm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BUNDLED = ("smollm2", "smollm2-6", "minilm")
"""Backbones whose weights come as Python packages."""
_KEPT = {"smollm2-6": ("smollm2", (0, 6, 12, 18, 24, 29))}
"""Name -> whose layers it has, and which, evenly from the first to the last (ours). Such a model says nothing of sense before it is trained."""
FORMS = (*BUNDLED, "lm:<hub id or folder>", "<owner/name>")
"""How a backbone may be named."""
DTYPES = ("auto", "float32", "bfloat16", "mixed")
"""Of weights and states; mixed: weights in float32, products in bfloat16."""
_CAUSAL = "a causal language model"
_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Configuration keys of models whose logits are more than a product with the read-out matrix."""


class Backbone(Protocol):
    """A frozen language model. B rows, T tokens, width d."""

    name: str
    """As it stands in records; of a local folder only the last part."""
    identity: dict[str, Any]
    """What decides its numbers, as JSON: files, kind, dtype."""
    width: int
    """d, of input embeddings and of states."""
    context: int
    """Most tokens of a row, the frame's included."""
    device: torch.device
    model: Any
    """The Hugging Face module, in eval mode; no parameter of its own is trained."""
    generative: bool
    """True: causal, with a vocabulary to read out. False: an encoder."""
    frame: tuple[list[int], list[int]]
    """Tokens before and after every prompt: [CLS] and [SEP], or what a tokenizer begins every text with."""
    filler: int
    """Token id at slots and at padding."""

    def tokenise(self, text: str, literal: bool = False) -> list[int]: ...
    def chat(self, system: str | None, user: str) -> str: ...
    def answers(self, yes: str, no: str) -> tuple[int, int]: ...
    def embed(self, ids: Tensor) -> Tensor: ...
    def states(self, embeds: Tensor, mask: Tensor, layer: int = -1) -> Tensor: ...
    def read(self, embeds: Tensor, mask: Tensor) -> Tensor: ...
    def attention(self, embeds: Tensor, mask: Tensor, layers: Sequence[int]) -> Tensor: ...


class CausalBackbone(Frozen):
    """A causal language model, read at its last token, the only one that sees all others."""

    generative = True
    _pooling = "last"

    def answers(self, yes: str, no: str) -> tuple[int, int]:
        """Token ids of the two answers.

        Raises:
            HarnessError: one is several tokens, or both are one.
        """
        found = []
        for word in (yes, no):
            ids = self.tokenise(word)
            if len(ids) != 1:
                raise HarnessError(
                    f"backbone {self.name}: the answer {word!r} is {len(ids)} tokens and has to be one; "
                    "choose other answers in the prompt template, or another backbone"
                )
            found += ids
        if found[0] == found[1]:
            raise HarnessError(
                f"backbone {self.name}: the answers {yes!r} and {no!r} are one token; "
                "choose other answers in the prompt template"
            )
        return found[0], found[1]

    def vocabulary(self, states: Tensor) -> Tensor:
        """[.., d] states -> [.., V] logits of every token, float32 after the model's own product."""
        head = self.model.get_output_embeddings()
        with self.products():
            return cast("Tensor", head(states.to(head.weight.dtype)).float())

    def of_tokens(self, states: Tensor, tokens: Sequence[int]) -> Tensor:
        """[.., d] states -> [.., len(tokens)] the logits of these tokens, float32; no others are computed."""
        from torch.nn.functional import linear

        head, which = self.model.get_output_embeddings(), list(tokens)
        bias = None if getattr(head, "bias", None) is None else head.bias[which].float()
        return linear(states.float(), head.weight[which].float(), bias)


class EncoderBackbone(Frozen):
    """A bidirectional encoder: it has a state to read and no words to answer with."""

    generative = False
    _pooling = "mean"

    def answers(self, yes: str, no: str) -> tuple[int, int]:
        """Refused: an encoder's answers are rows that a recommender trains.

        Raises:
            HarnessError: always.
        """
        raise HarnessError(
            f"backbone {self.name}: an encoder has no words to answer with; use a causal backbone"
        )


def make_backbone(
    name: str,
    *,
    revision: str | None = None,
    device: str = "cpu",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    checkpointing: bool = False,
) -> CausalBackbone | EncoderBackbone:
    """Load the backbone that `name` asks for.

    Args:
        name: one of `FORMS`; a folder if one exists by that name, else a repository of the hub.
        revision: branch, tag or commit of a hub model; None is its main branch.
        device: as torch spells it.
        dtype: of weights and states; "auto" is float32 on a CPU and bfloat16 on a GPU; "mixed" keeps weights in float32 and makes products in bfloat16.
        trust_remote_code: let a hub model run Python code of its repository.
        checkpointing: spend time in the backward pass for memory.

    Raises:
        HarnessError: an unknown name or dtype, or a model that cannot be had, is no causal model, or computes its
            logits in a way of its own.
    """
    chosen = chosen_dtype(dtype, device)
    mixed = chosen == "mixed"
    found = find_backbone(name, revision, trust_remote_code)
    label, source, what = found.label, found.source, f"backbone {found.label}"
    kept = _KEPT[name][1] if name in _KEPT else None
    with loading(what, device, _CAUSAL):
        import torch

    def read(auto: str, **options: Any) -> Any:
        return pretrained(auto, what, source, device, trust_remote_code, _CAUSAL, **options)

    weights = {
        "use_safetensors": True,
        "dtype": torch.bfloat16 if chosen == "bfloat16" else torch.float32,
    }
    backbone: CausalBackbone | EncoderBackbone
    if found.kind == "encoder":
        model = read("AutoModel", add_pooling_layer=False, **weights).to(device)
        backbone = EncoderBackbone(label, source, read("AutoTokenizer"), model, found.kind, mixed)
    else:
        _require_causal(what, read("AutoConfig"))
        tokenizer = read("AutoTokenizer")
        model = read("AutoModelForCausalLM", **weights).to(device)
        if kept is not None:
            keep_layers(model, kept)
        backbone = CausalBackbone(label, source, tokenizer, model, found.kind, mixed)
    if checkpointing:
        backbone.checkpoint()
    return backbone


@dataclass(frozen=True)
class Found:
    """A backbone whose weights are not loaded."""

    label: str
    """As it stands in records."""
    source: Source
    kind: str
    """`causal` or `encoder`."""

    def identity(self, dtype: str) -> dict[str, Any]:
        """That of the backbone, once it is loaded with weights of a dtype; `auto` is none."""
        return identity_of(self.source, self.kind, dtype)


def find_backbone(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Found:
    """Where the backbone that `name` asks for is; as `make_backbone`, which loads it."""
    bundled = name in BUNDLED
    place = name.removeprefix("lm:")
    what = f"backbone {name}"
    if bundled and revision is not None:
        raise HarnessError(f"{what}: a revision belongs to a hub model; leave it out")
    if not bundled and (not place or (place == name and not _is_place(name))):
        hint = nearest(name.partition(":")[0], (*BUNDLED, "lm"))
        raise HarnessError(f"unknown backbone {name!r}{hint}; the forms are {', '.join(FORMS)}")
    if name == "minilm":
        source = minilm(what, "another backbone")
    elif bundled:
        source = smollm2(what, "minilm")
        if name in _KEPT:
            told = f"{source.identity} layers {' '.join(map(str, _KEPT[name][1]))}"
            source = replace(source, identity=told, label=name)
    else:
        source = find(what, place, revision, trust_remote_code, "--backbone=smollm2")
    label = name if bundled else f"lm:{source.label}"
    return Found(label, source, "encoder" if is_encoder(name) else "causal")


def is_encoder(name: str) -> bool:
    """Whether the backbone that `name` asks for has no words to answer with; nothing is looked up, all others are causal."""
    return name == "minilm"


def keep_layers(model: Any, kept: Sequence[int]) -> None:
    """Leave some layers of a causal model, in the order of `kept`, each knowing its new place among the keys and values that are kept."""
    from torch import nn

    inner = model.base_model
    layers = nn.ModuleList(inner.layers[place] for place in kept)
    for place, layer in enumerate(layers):
        attention: Any = layer.self_attn
        attention.layer_idx = place
    inner.layers = layers
    config = model.config
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[place] for place in kept]


def backbone_fingerprint(identity: Mapping[str, Any]) -> str:
    """An identity in a line, for records: `gguf:<sha256>, causal, float32`."""
    return ", ".join(str(identity[key]) for key in ("source", "kind", "dtype"))


def chosen_dtype(dtype: str, device: str) -> str:
    """What `auto` is on a device.

    Raises:
        HarnessError: an unknown dtype.
    """
    one_of("backbone dtype", dtype, DTYPES)
    usual = "bfloat16" if device.partition(":")[0] == "cuda" else "float32"
    return usual if dtype == "auto" else dtype


def _is_place(name: str) -> bool:
    """A folder, or a repository, whose name has an owner."""
    return "/" in name or Path(name).expanduser().is_dir()


def _require_causal(what: str, config: Any) -> None:
    if config.is_encoder_decoder:
        raise HarnessError(f"{what}: it is an encoder-decoder; choose {_CAUSAL}")
    for key in _SCALED:
        if getattr(config, key, None) not in (None, 1, 1.0):
            raise HarnessError(
                f"{what}: its logits are rescaled ({key}), which is not supported; choose another model"
            )
