"""Sentences from a causal language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.backbone import CausalBackbone
from recbole_ext.lm.loading import pretrained
from recbole_ext.lm.smollm2 import smollm2
from recbole_ext.lm.source import Source, find
from recbole_ext.text.batching import memory_told

_NEW_TOKENS = 64
_BATCH = 16


def make_writer(name: str, device: str = "cpu", trust_remote_code: bool = False) -> Writer:
    """The model that `lm:NAME` asks for: `smollm2`, which comes as a package, else a folder if one exists by that name, else
    a repository of the hub.

    Raises:
        HarnessError: another form, or a model that cannot be had.
    """
    kind, _, place = name.partition(":")
    if kind != "lm" or not place:
        raise HarnessError(
            f"--writer={name}: write lm:NAME, a causal language model of Hugging Face"
        )
    what, instead = f"--writer={name}", "another --writer=lm:NAME"
    if place == "smollm2":
        found = smollm2(what, instead)
    else:
        found = find(what, place, None, trust_remote_code, instead)
    return Writer(name, found, device, trust_remote_code)


@dataclass(frozen=True)
class Writer:
    """Continues prompts; a chat model gets them in its own template. Weights load at the first `write`."""

    name: str
    source: Source
    device: str
    trust_remote_code: bool

    def write(self, prompts: Sequence[str], seed: int | None = None) -> Iterator[str]:
        """The continuation of each prompt up to its first line break: the likeliest words, or drawn ones with a seed.

        Raises:
            HarnessError: the model cannot be loaded, or memory is short.
        """
        for start in range(0, len(prompts), _BATCH):
            batch = list(prompts[start : start + _BATCH])
            with memory_told(
                f"--writer={self.name}: out of memory while writing {len(batch)} queries at once on {self.device}; "
                "choose a smaller model, or --device=cpu"
            ):
                found = self._batch(batch, seed)
            yield from found

    def _batch(self, prompts: list[str], seed: int | None) -> list[str]:
        from recbole_ext.lm.generate import Draw, generate

        backbone, usual = self._backbone, self._model.generation_config
        chat = bool(getattr(self._tokenizer, "chat_template", None))
        rows = [
            backbone.frame[0] + backbone.tokenise(backbone.chat(None, prompt) if chat else prompt)
            for prompt in prompts
        ]
        ends = usual.eos_token_id
        draw = None
        if seed is not None:
            # What the model's authors draw by, where they say so.
            draw = Draw(seed, usual.temperature or 1.0, usual.top_k or 0, usual.top_p or 1.0)
        stop = {ends} if isinstance(ends, int) else set(ends or ())
        found = generate(backbone, rows, _NEW_TOKENS, stop, draw)
        texts = self._tokenizer.batch_decode(found, skip_special_tokens=True)
        return [(text.strip().splitlines() or [""])[0].strip() for text in texts]

    @cached_property
    def _backbone(self) -> CausalBackbone:
        return CausalBackbone(self.name, self.source, self._tokenizer, self._model, "causal")

    @cached_property
    def _tokenizer(self) -> Any:
        return self._read("AutoTokenizer")

    @cached_property
    def _model(self) -> Any:
        model = self._read("AutoModelForCausalLM", use_safetensors=True, dtype="auto")
        return model.to(self.device).eval()

    def _read(self, auto: str, **options: Any) -> Any:
        return pretrained(
            auto,
            f"--writer={self.name}",
            self.source,
            self.device,
            self.trust_remote_code,
            "a causal language model",
            **options,
        )
