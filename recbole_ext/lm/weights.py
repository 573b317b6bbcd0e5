"""Are the weights of a model in safetensors, and all there? Looked at before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from recbole_ext.core.errors import HarnessError


def check_weights(folder: Path, what: str) -> None:
    """Refuse pickled and missing weights, and adapters.

    A pickle can run any code, and the libraries fall back to one for each part of a model whose
    safetensors they do not find. An adapter pulls in a base model that its files do not pin.

    Args:
        folder: The model, parts of it in folders below.
        what: Names the model in messages, e.g. `encoder st:owner/name`.

    Raises:
        HarnessError: a part has pickled weights only, there are none, a shard is missing, or it is
            an adapter.
    """
    if any(folder.rglob("adapter_config.json")):
        raise HarnessError(
            f"{what}: it is an adapter to another model; merge the two "
            "(merge_and_unload in peft), save the result and name its folder"
        )
    for pickled in sorted(folder.rglob("pytorch_model*.bin")):
        if not any(pickled.parent.glob("model*.safetensors")):
            raise HarnessError(
                f"{what}: {pickled.relative_to(folder)} is pickled and is not loaded; "
                "save the model with safetensors, or choose one that has them"
            )
    missing = [] if any(folder.rglob("*.safetensors")) else ["*.safetensors"]
    for index in sorted(folder.rglob("*.safetensors.index.json")):
        missing += [shard for shard in _shards(index) if not (index.parent / shard).is_file()]
    if missing:
        raise HarnessError(
            f"{what}: its folder has no {missing[0]}; fetch the whole model "
            "(`hf download`), or choose one with safetensors weights"
        )


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"readable {index.name}"]
