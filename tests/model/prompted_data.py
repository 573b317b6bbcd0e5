"""Labelled pairs with titles, and tiny random language models, for models that prompt one."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from tests.problems import make_experiment
from tests.tiny_lm import SHAPE

WORDS = [
    "Yes",
    "No",
    "red",
    "blue",
    "old",
    "new",
    "night",
    "day",
    "house",
    "river",
    "stone",
    "light",
    "long",
    "short",
]
SMALL = {
    "embedding_size": 8, "lora_r": 2, "text_batch_rows": 32, "eval_batch_rows": 64, "text_learning_rate": 0.01,
    "projection_batch_rows": 32, "collab_epochs": 2, "collab_batch_rows": 64, "align_epochs": 2, "projection_hidden": 12,
    "projection_times": 2, "coded_batch_rows": 32, "projection_learning_rate": 0.01,
}  # fmt: skip
OF = {
    "ZeroShot": ("eval_batch_rows",),
    "TALLRec": ("lora_r", "text_batch_rows", "eval_batch_rows", "text_learning_rate"),
    "Prompt4NR": ("lora_r", "text_batch_rows", "eval_batch_rows", "text_learning_rate"),
    "PersonPrompt": (
        "lora_r", "text_batch_rows", "eval_batch_rows", "text_learning_rate", "projection_batch_rows", "projection_learning_rate",
    ),
    "BinLLM": (
        "embedding_size", "lora_r", "text_batch_rows", "eval_batch_rows", "text_learning_rate", "collab_epochs", "collab_batch_rows",
        "coded_batch_rows",
    ),
    "CoLLM": tuple(key for key in SMALL if key not in ("align_epochs", "projection_hidden", "coded_batch_rows")),
    "SeLLaRec": tuple(key for key in SMALL if key not in ("projection_times", "coded_batch_rows")),
}  # fmt: skip
"""Which of them a model knows."""


def write_clicks(folder):
    """20 users and 15 items, titles of three words, Yes and No among them; times all different."""
    rng = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\tlabel:float\ttimestamp:float"]
    for user in range(20):
        for place, item in enumerate(rng.permutation(15)[: int(rng.integers(6, 12))]):
            label = int(rng.random() < (0.8 if (item + user) % 2 else 0.3))
            lines.append(f"u{user}\ti{item}\t{label}\t{1000 + 31 * user + 7 * place}")
    titles = [" ".join(rng.choice(WORDS, 3)) for _ in range(15)]
    (folder / "clicks").mkdir()
    (folder / "clicks" / "clicks.inter").write_text("\n".join(lines) + "\n")
    rows = [f"i{item}\t{title}" for item, title in enumerate(titles)]
    (folder / "clicks" / "clicks.item").write_text(
        "\n".join(["item_id:token\ttitle:token_seq", *rows]) + "\n"
    )
    return folder


def write_llama(folder, seed=0):
    """A random causal model of two layers with words as tokens and a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = [
        *WORDS,
        *[
            "Movie",
            ":",
            ".",
            ",",
            "[",
            "]",
            '"',
            "Answer",
            "Target",
            "title",
            "List",
            "of",
            "titles",
            "Person",
            "person",
        ],
    ]
    vocabulary = {
        word: place for place, word in enumerate(dict.fromkeys(["<unk>", "<pad>", *words]))
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")
    made.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}Answer : "
    made.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        **SHAPE,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def experiment(name, clicks, backbone, **given):
    own = {"keep_label": "true", "threads": 1, "split_ratio": "[0.6,0.2,0.2]", "max_length": 200}
    small = {key: SMALL[key] for key in OF[name]}
    return make_experiment(
        name, "clicks", clicks, **{**own, **small, "backbone": backbone, **given}
    )


@functools.cache
def small_keys(name):
    """Keys of a model over a random language model of two layers, for tests of every model."""
    folder = Path(tempfile.mkdtemp(prefix="llama"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {**{key: SMALL[key] for key in OF[name]}, "backbone": f"lm:{write_llama(folder)}"}
