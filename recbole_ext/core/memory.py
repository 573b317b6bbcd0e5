"""How much memory can still be had, whoever sets the limit: the machine, a container or slice, or the shell."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path


def free_memory(device: str) -> int:
    """Bytes that can still be had on the device."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    machine = int(psutil.virtual_memory().available)
    return max(0, min([machine, *_left_by_groups(), *_left_by_shell()]))


def _left_by_groups(root: Path = Path("/")) -> Iterator[int]:
    """What each control group that this process is in leaves, its own and those around it (a slice, a container)."""
    mounts = root / "sys" / "fs" / "cgroup"
    with contextlib.suppress(OSError):
        for line in (root / "proc" / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                kind = ("memory.max", "memory.current", "inactive_file")
                top = mounts
            elif "memory" in controllers.split(","):
                kind = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                top = mounts / "memory"
            else:
                continue
            # A container may see its own group as the top, under a path of the machine around it.
            inner = top / path.lstrip("/")
            for folder in {top, inner, *(f for f in inner.parents if f.is_relative_to(top))}:
                left = _left(folder, *kind)
                if left is not None:
                    yield left


def _left(folder: Path, limit: str, used: str, cached: str) -> int | None:
    """Limit less use, files that were read and can be dropped not counted; None without a limit."""
    try:
        most = int((folder / limit).read_text())
        now = int((folder / used).read_text())
    except (OSError, ValueError):  # "max", or no such group
        return None
    with contextlib.suppress(OSError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, size = line.partition(" ")
            if name == cached:
                now -= int(size)
    return most - now


def _left_by_shell() -> Iterator[int]:
    """What the limits of this process leave (`ulimit -v`, `ulimit -d`)."""
    of = {resource.RLIMIT_AS: "VmSize:", resource.RLIMIT_DATA: "VmData:"}
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines if line[:2] == "Vm"}
        for kind, name in of.items():
            most = resource.getrlimit(kind)[0]
            if most != resource.RLIM_INFINITY:
                yield most - sizes[name]
