"""Sentences from a causal language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.loading import pretrained
from recbole_ext.lm.source import Source, find
from recbole_ext.text.batching import memory_told

_NEW_TOKENS = 64
_BATCH = 16


def make_writer(name: str, device: str = "cpu", trust_remote_code: bool = False) -> Writer:
    """The model that `lm:NAME` asks for: a folder if one exists by that name, else a repository of the hub.

    Raises:
        HarnessError: another form, or a model that cannot be had.
    """
    kind, _, place = name.partition(":")
    if kind != "lm" or not place:
        raise HarnessError(
            f"--writer={name}: write lm:NAME, a causal language model of Hugging Face"
        )
    found = find(f"--writer={name}", place, None, trust_remote_code, "another --writer=lm:NAME")
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
        import torch

        tokenizer, model = self._tokenizer, self._model
        if tokenizer.chat_template:
            prompts = [
                tokenizer.apply_chat_template(
                    [{"role": "user", "content": prompt}],
                    tokenize=False,
                    add_generation_prompt=True,
                )
                for prompt in prompts
            ]
        rows = tokenizer(prompts, add_special_tokens=not tokenizer.chat_template)["input_ids"]
        # On the left, where the mask hides it: a continuation follows the last token.
        width = max(map(len, rows))
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, width - len(tokens) :] = torch.tensor(tokens)
            mask[row, width - len(tokens) :] = 1
        if seed is not None:
            torch.manual_seed(seed)
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                max_new_tokens=_NEW_TOKENS,
                do_sample=seed is not None,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id or 0,
            )
        found = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
        return [(text.strip().splitlines() or [""])[0].strip() for text in found]

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
