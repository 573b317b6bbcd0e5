"""What SeLLa-Rec's stages cost on a language model of the paper's size, whose weights are random: speed does not mind.

    python -m benchmarks.sellarec.scale --device=cuda                      # Qwen2 of 7B's shape, bfloat16, about 35 GiB
    python -m benchmarks.sellarec.scale --layers=2 --hidden=128 --rows=64  # small, on a CPU

trains all stages on generated titles by the harness's own trainer and prints one JSON line: tokens a second of the two stages that
go through the language model, the share of the products that it needs, peak memory, and the device.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from recbole_ext.lm.backbone import CausalBackbone, chosen_dtype
from recbole_ext.lm.smollm2 import smollm2
from recbole_ext.lm.source import Source
from recbole_ext.pipeline.training import Training
from recbole_ext.testing import make_experiment

_WORDS = [
    "amber",
    "bridge",
    "cedar",
    "delta",
    "ember",
    "forest",
    "garden",
    "harbor",
    "island",
    "jungle",
    "kernel",
    "lantern",
    "meadow",
    "north",
    "ocean",
]
_STAGES = ("text", "projection")
"""Those that train through the language model."""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--hidden", type=int, default=3584)
    parser.add_argument("--rows", type=int, default=512, help="that each stage trains on")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--checkpointing", default="false")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(given, Path(folder))))


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train once, and read what the trainer wrote of each stage."""
    import torch

    write_clicks(folder, given.rows)
    experiment = make_experiment(
        "SeLLaRec", "generated", folder, keep_label="true", threads=0, device=given.device, backbone="smollm2",
        rows=given.rows, text_batch_rows=given.batch, projection_batch_rows=given.batch, align_epochs=1, eval_batch_rows=given.batch,
        checkpointing=given.checkpointing,
    )  # fmt: skip
    random = backbone(given.layers, given.hidden, given.device)
    every = sum(p.numel() for p in random.model.parameters())
    per_token = 4 * sum(p.numel() for p in random.layers.parameters())
    with mock.patch("recbole_ext.model.asking.make_backbone", lambda *_, **__: random):
        fitted = Training(experiment, None, folder, folder).fit(experiment.settings.params, "scale")
    told = [json.loads(path.read_text()) for path in folder.glob(".stages/*/stage.json")]
    model = fitted.model
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if given.device != "cpu" else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "dtype": str(random.model.dtype).removeprefix("torch."),
        "parameters": every,
        "batch_rows": given.batch,
    }  # fmt: skip
    for stage in (s for s in told if s["stage"] in _STAGES):
        prompts = model.text_prompts if stage["stage"] == "text" else model.token_prompts
        tokens = sum(len(p.ids) for p in prompts.of(model.item.tolist(), model.row.tolist()))
        speed = tokens / stage["seconds"]
        found[stage["stage"]] = {
            "trains": stage["parameters"],
            "tokens_a_row": round(tokens / stage["rows"], 1),
            "tokens_a_second": round(speed),
            "rows_a_second": round(stage["rows"] / stage["seconds"], 2),
            # Two products a weight forwards, two backwards to the inputs; the frozen weights' own gradients are never made.
            "tflops_of_frozen_weights": round(per_token * speed / 1e12, 2),
        }
    if given.device != "cpu":
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    return found


def write_clicks(folder: Path, rows: int) -> None:
    """Labelled rows with titles of five words; enough that `rows` of them train."""
    rng = np.random.default_rng(0)
    users, items = max(8, rows // 8), 200
    (folder / "generated").mkdir()
    lines = ["user_id:token\titem_id:token\tlabel:float\ttimestamp:float"]
    for user in range(users):
        for place, item in enumerate(rng.permutation(items)[:16]):
            lines.append(f"u{user}\ti{item}\t{rng.integers(2)}\t{1000 + place}")
    titles = [f"i{item}\t{' '.join(rng.choice(_WORDS, 5))}" for item in range(items)]
    head = folder / "generated" / "generated"
    Path(f"{head}.inter").write_text("\n".join(lines) + "\n")
    Path(f"{head}.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *titles]) + "\n")


def backbone(layers: int, hidden: int, device: str) -> CausalBackbone:
    """A random Qwen2 of 7B's proportions with smollm2's tokenizer."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    heads = max(4, hidden // 128)
    config = Qwen2Config(
        vocab_size=152_064, hidden_size=hidden, intermediate_size=hidden * 18_944 // 3_584 // 8 * 8, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=4, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device(device):
        torch.set_default_dtype(getattr(torch, chosen_dtype("auto", device)))
        try:
            model = Qwen2ForCausalLM(config)
        finally:
            torch.set_default_dtype(torch.float32)
    here = smollm2()
    tokenizer = AutoTokenizer.from_pretrained(here.folder)
    return CausalBackbone(
        "random", Source(here.folder, "random", "random"), tokenizer, model, "causal"
    )


if __name__ == "__main__":
    main()
