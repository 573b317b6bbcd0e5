"""The part of a model that a stage sets, and files of such tensors with what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.core.files import write_atomically
from recbole_ext.core.progress import say

if TYPE_CHECKING:
    import torch


class Part:
    """Tensors of a model, by the names of its `state_dict`."""

    def __init__(self, model: Any, names: Iterable[str], what: str) -> None:
        """What belongs to some modules, parameters or buffers of `model`.

        Args:
            model: whose they are.
            names: theirs.
            what: that sets them, for the error.

        Raises:
            ValueError: the model has nothing of one of the names.
        """
        self.weights: dict[str, Any] = {}
        every = model.state_dict(keep_vars=True)
        for part in names:
            found = {k: v for k, v in every.items() if k == part or k.startswith(f"{part}.")}
            if not found:
                raise ValueError(f"{what} sets '{part}', which the model lacks")
            self.weights |= found

    def put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set all of them in the model."""
        import torch

        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(tensors[name])

    def clones(self) -> dict[str, torch.Tensor]:
        """As they are now, where they are."""
        return {name: value.detach().clone() for name, value in self.weights.items()}

    def copies(self) -> dict[str, torch.Tensor]:
        """As they are now, in memory of the CPU."""
        return {name: value.cpu() for name, value in self.clones().items()}


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
) -> None:
    """A safetensors file, whole or not there; `facts` are JSON."""
    from safetensors.torch import save

    alone = {name: value.contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, save(alone, metadata={"facts": json.dumps(facts)}))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and what is told with them; None where there is no such file. One that is damaged is set aside."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            return tensors, json.loads(stored.metadata()["facts"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        path.replace(path.with_suffix(".corrupt"))
        say(f"{path}: damaged ({' '.join(str(error).split())[:120]}); set aside, made again")
        return None
