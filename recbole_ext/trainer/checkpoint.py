"""A model's weights as safetensors plus JSON: no pickle is written or read.

RecBole's models keep part of their state outside `state_dict` (`other_parameter`): tensors, arrays and SciPy matrices.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.backbone import backbone_fingerprint


def save_weights(model: Any, path: Path) -> None:
    """Write `model` to `path`.

    Raises:
        HarnessError: some state is neither tensor, array, SciPy matrix nor JSON; nothing is written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {f"state/{k}": v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    forms: dict[str, Any] = {}
    for name, value in model.other_parameter().items():
        if isinstance(value, torch.Tensor):
            tensors[f"other/{name}"] = value.detach().cpu().contiguous()
            forms[name] = "tensor"
        elif isinstance(value, np.ndarray):
            tensors[f"other/{name}"] = torch.from_numpy(np.ascontiguousarray(value))
            forms[name] = "matrix" if isinstance(value, np.matrix) else "array"
        elif sp.issparse(value):
            anything: Any = value
            csr = anything.tocsr()
            for part in ("data", "indices", "indptr"):
                tensors[f"other/{name}/{part}"] = torch.from_numpy(getattr(csr, part).copy())
            forms[name] = {"sparse": getattr(value, "format", "csr"), "shape": list(csr.shape)}
        elif value is None or isinstance(value, (bool, int, float, str)):
            forms[name] = {"value": value}
        else:
            raise HarnessError(
                f"'{name}' of {type(model).__name__} is a {type(value).__name__}, not an array"
            )
    metadata = {"other": json.dumps(forms)}
    if (backbone := _backbone(model)) is not None:
        metadata["backbone"] = backbone
    try:
        save_file(_untied(tensors), path, metadata=metadata)
    except SafetensorError as error:
        # It wraps the system's error; the number is what tells a full disk from a fault of ours.
        number = re.search(r"os error (\d+)", str(error))
        path.unlink(missing_ok=True)
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def _untied(tensors: dict[str, Any]) -> dict[str, Any]:
    """Tied tensors share storage, which the format refuses: each but the first gets its own, and the others are not copied."""
    taken: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        part = storage.nbytes() != tensor.numel() * tensor.element_size()
        tied = part or storage.data_ptr() in taken
        taken.add(storage.data_ptr())
        out[name] = tensor.clone() if tied else tensor
    return out


def load_weights(model: Any, path: Path) -> None:
    """Put saved weights into a freshly built model of the same configuration, wherever either was or is.

    Raises:
        HarnessError: the file is damaged, is of another model, or was trained over another language model.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            metadata = stored.metadata() or {}
            forms = json.loads(metadata.get("other", "{}"))
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        _check_backbone(model, metadata.get("backbone"), path)
        model.load_state_dict(
            {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
        )
    except (SafetensorError, OSError, RuntimeError) as error:
        why = " ".join(str(error).split())[:160]
        raise HarnessError(
            f"{path}: not the weights of this {type(model).__name__} ({why}); run again with --force"
        ) from None
    other: dict[str, Any] = {}
    for name, form in forms.items():
        if form == "tensor":
            other[name] = tensors[f"other/{name}"].to(getattr(model, "device", "cpu"))
        elif form in ("array", "matrix"):
            value = tensors[f"other/{name}"].numpy()
            other[name] = np.asmatrix(value) if form == "matrix" else value
        elif "sparse" in form:
            parts = (
                tensors[f"other/{name}/{part}"].numpy() for part in ("data", "indices", "indptr")
            )
            other[name] = sp.csr_matrix(tuple(parts), shape=form["shape"]).asformat(form["sparse"])
        else:
            other[name] = form["value"]
    model.load_other_parameter(other)


def _backbone(model: Any) -> str | None:
    """Name and identity of the language model that a model holds outside its weights, None where it holds none."""
    held: Any = getattr(model, "backbone", None)
    if not isinstance(getattr(held, "identity", None), dict):
        return None
    return f"{held.name} ({backbone_fingerprint(held.identity)})"


def _check_backbone(model: Any, theirs: str | None, path: Path) -> None:
    ours = _backbone(model)
    if theirs != ours:
        raise HarnessError(
            f"{path}: trained over the backbone {theirs or 'none'}, and this {type(model).__name__} has {ours or 'none'}; "
            "run again with --force, or name the other --backbone"
        )
