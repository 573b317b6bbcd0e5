"""How likely a language model holds the twenty titles of a prompt to be: beside each other in one row, against a row and a copy of the cache for each.

Layers of SmolLM2-135M's shape with drawn weights, in bfloat16: all thirty at full size, else four.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.speed.measure import least_seconds, size
from recbole_ext.lm.backbone import CausalBackbone, make_backbone
from recbole_ext.lm.likelihood import Prefix
from tests.tiny_lm import write_causal


def backbone_of(folder: Path) -> CausalBackbone:
    """SmolLM2-135M's shape over the tokenizer of the tiny one."""
    from transformers import LlamaConfig, LlamaForCausalLM

    write_causal(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1_024,  # what reads out is the same for both
        hidden_size=576,
        intermediate_size=1_536,
        num_hidden_layers=size(30, 4),
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2_048,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    made = make_backbone(f"lm:{folder}", dtype="bfloat16")
    assert isinstance(made, CausalBackbone)
    return made


def test_titles_of_a_prompt_beside_each_other(figure, tmp_path: Path) -> None:
    backbone = backbone_of(tmp_path / "lm")
    words = torch.Generator().manual_seed(0)

    def tokens(least: int, most: int) -> list[int]:
        count = int(torch.randint(least, most, (), generator=words))
        return torch.randint(0, 20, (count,), generator=words).tolist()

    prompts, answers = size(8, 4), 20
    titles = [tokens(8, 24) for _ in range(prompts * answers)]
    owner = [prompt for prompt in range(prompts) for _ in range(answers)]
    rows = [tokens(420, 560) for _ in range(prompts)]
    beside, apart = Prefix(backbone, *rows), Prefix(backbone, *rows)
    apart.plain = False
    took = least_seconds(
        {
            "beside": lambda: beside.likelihood(titles, owner),
            "apart": lambda: apart.likelihood(titles, owner, 32),
        },
        size(5, 3),
    )
    figure(
        f"titles apart, in titles beside each other ({size(30, 4)} layers)",
        took["apart"] / took["beside"],
        above=1.2,
    )
