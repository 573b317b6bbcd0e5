"""Tiny random language models for tests, built here: no download, no trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from recbole_ext.core.errors import HarnessError
from recbole_ext.text import make_encoder

WORDS = "Yes No the film Heat is liked by a user will they like it ? , . story toy chase city night : user system"
SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
"""Of every tiny model."""
CHAT = (
    "{% for m in messages %}<s>{{ m.role }} : {{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %} system :{% endif %}"
)


def _tokenizer(folder: Path, before: str, after: str, specials: list[str], chat: bool) -> int:
    """One token a word; returns how many there are. `before` and `after` are put around every text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*specials, *dict.fromkeys(WORDS.split())]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, specials[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    framed = " ".join(filter(None, (before, "$A", after)))
    marks = [(mark, specials.index(mark)) for mark in (before, after) if mark]
    tokenizer.post_processor = processors.TemplateProcessing(framed, None, marks)
    names = {"unk_token": specials[0]}
    if before:
        names["bos_token" if not after else "cls_token"] = before
    if after:
        names["sep_token"] = after
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]
    if chat:
        fast.chat_template = CHAT
    fast.save_pretrained(folder)
    return len(words)


def write_causal(folder: Path, tied: bool = True, chat: bool = True, context: int = 64) -> Path:
    """A LLaMA of two layers and width 16, all in float32, with a token that begins every text."""
    from transformers import LlamaConfig, LlamaForCausalLM

    size = _tokenizer(folder, "<s>", "", ["<unk>", "<s>"], chat)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size,
        **SHAPE,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.5,
        tie_word_embeddings=tied,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_encoder(folder: Path, context: int = 64) -> Path:
    """A BERT of two layers and width 16 without a pooler, with [CLS] and [SEP] around every text."""
    from transformers import BertConfig, BertModel

    size = _tokenizer(folder, "[CLS]", "[SEP]", ["[UNK]", "[CLS]", "[SEP]"], False)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=size,
        **SHAPE,
        max_position_embeddings=context,
        initializer_range=0.5,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def _write_decoder(folder: Path, config: Any, model: Any, **more: object) -> Path:
    """Two layers of width 16 with the tokens of `write_causal`."""
    size = _tokenizer(folder, "<s>", "", ["<unk>", "<s>"], True)
    torch.manual_seed(0)
    # Its tokenizer may bring a token for padding.
    shape = {"vocab_size": size + 8, **SHAPE, "num_key_value_heads": 2, "initializer_range": 0.5}
    model(config(**shape, **more)).save_pretrained(folder)
    return folder


def write_qwen2(folder: Path, context: int = 64) -> Path:
    """A Qwen2."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return _write_decoder(folder, Qwen2Config, Qwen2ForCausalLM, max_position_embeddings=context)


def write_mistral(folder: Path, window: int | None) -> Path:
    """A Mistral whose tokens attend to the latest `window` only."""
    from transformers import MistralConfig, MistralForCausalLM

    more = {"max_position_embeddings": 64, "sliding_window": window}
    return _write_decoder(folder, MistralConfig, MistralForCausalLM, **more)


def write_no_model(folder: Path) -> Path:
    """A folder that looks like a model's from outside."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    save_file({"w": torch.zeros(2)}, folder / "model.safetensors")
    return folder


def refused(name: str, **options: object) -> str:
    """The one line by which an encoder of a name is refused."""
    with pytest.raises(HarnessError) as caught:
        make_encoder(name, **options).encode(["a text"])  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)
