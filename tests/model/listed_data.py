"""A tiny random Llama that knows the words of the tiny data set's titles, and experiments of models that list items in a prompt."""

from __future__ import annotations

import numpy as np
import torch

from recbole_ext.pipeline.training import Training, score_test
from recbole_ext.trainer.checkpoint import save_weights
from tests.model.test_sasrec import SMALL
from tests.problems import make_experiment, train

WORDS = [
    "red", "blue", "lamp", "chair", "table", "number", '"', ",", ".", "[", "]", "user", "The", "recommendation", "is",
    "bought", "item", "Recommend", "titles", "following", ":", *map(str, range(40)),
]  # fmt: skip
OWN = {
    "encoder": "hash:16", "match_dim": 6, "match_epochs": 2, "match_batch_size": 16, "protocols": "uni5", "draws": 2, "ks": "1,5",
    "prompt_items": 3, "train_candidates": 6, "projection_batch_rows": 8, "projection_learning_rate": 0.01, "eval_batch_rows": 16,
}  # fmt: skip
CODER = {"sae_dim": 12, "sae_k": 3, "sae_epochs": 3}


def write_llama(folder, layers=2, context=512, seed=0):
    """A random causal model with words as tokens and an end of a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: place for place, word in enumerate(["<unk>", "<pad>", "<end>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<end>"
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return f"lm:{folder}"


def experiment(name, tiny_path, backbone, **given):
    below = ("encoder", "match_dim", "match_epochs", "match_batch_size")
    shared = {k: v for k, v in OWN.items() if name != "LLaRA" or k not in below}
    own = {**SMALL, **shared, "backbone": backbone, **(CODER if name.startswith("SAUL") else {})}
    return make_experiment(name, "tiny", tiny_path, **{**own, **given})


def training(name, tiny_path, folder, backbone, **given):
    of = experiment(name, tiny_path, backbone, **given)
    return Training(of, of.embeddings(), folder / "scratch", folder), of


def fit(name, tiny_path, folder, backbone, **given):
    made, of = training(name, tiny_path, folder, backbone, **given)
    return made.fit(of.settings.params, name), of


def assert_repeats(name, tiny_path, folder, backbone, **given):
    """A second fit and a fit from saved weights have the tables of the first, which are given back."""
    fitted, of = fit(name, tiny_path, folder, backbone, **given)
    again, _ = fit(name, tiny_path, folder / "again", backbone, **given)
    save_weights(fitted.model, folder / "weights.safetensors")
    loaded = train(of, folder / "loaded", saved=folder / "weights.safetensors")
    first, *others = [score_test(one, of).ranked for one in (fitted, again, loaded)]
    for table in others:
        for mine, other in zip(first.lists["uni5"], table.lists["uni5"], strict=True):
            np.testing.assert_array_equal(mine, other)
    return first
