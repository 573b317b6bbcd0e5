"""How the benchmarks measure.

A figure is a ratio of two ways that were timed in turns, the least time of each: what else the machine does only adds
time, so that the least is what the work itself takes, and turns see the same machine.

`SPEED=full` is for claims: large sizes, all threads, wall time, on an idle machine. Without it sizes are small, there is one
thread, and the time is the processor's: that hardly depends on what else runs, and shows a regression anywhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FULL = os.environ.get("SPEED") == "full"
RESULTS = Path(".benchmarks/speed.json")
"""What pytest-benchmark wrote of the last run at full size."""


def size(full: int, small: int) -> int:
    return full if FULL else small


now = time.perf_counter if FULL else time.process_time


def least_seconds(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least time of each way; they take turns, after one turn that warms them up."""
    least = dict.fromkeys(ways, float("inf"))
    for turn in range(rounds + 1):
        for name, work in ways.items():
            begun = now()
            work()
            if turn:
                least[name] = min(least[name], now() - begun)
    return least


@dataclass(frozen=True)
class Machine:
    cpu: str
    vector: str
    """The widest vector instructions: AVX-512, AVX2 or neither."""
    threads: int
    busy: float | None
    """Share of the processors that others took just before, None where the system does not say."""
    load: float
    """Load average of the last minute."""


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    bound: str
    """As it was held to: `< 2.0`."""
    full: bool
    machine: Machine


def vector_instructions(cpuinfo: str) -> str:
    """Of the text of /proc/cpuinfo."""
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "").split()
    return "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "neither"


def busy_share(before: str, after: str) -> float:
    """Share of the processors' time that was not idle between two texts of /proc/stat."""
    first, last = ([int(x) for x in text.splitlines()[0].split()[1:9]] for text in (before, after))
    spent = [b - a for a, b in zip(first, last, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))  # idle, and waiting for a disk


def this_machine() -> Machine:
    """As it is while this process sleeps for half a second."""
    import torch

    from recbole_ext.core.environment import describe

    stat, cpuinfo = Path("/proc/stat"), Path("/proc/cpuinfo")
    here = {
        "cpu": describe("cpu")["cpu"],
        "vector": vector_instructions(cpuinfo.read_text() if cpuinfo.exists() else ""),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }
    if not stat.exists():
        return Machine(**here, busy=None)
    before = stat.read_text()
    time.sleep(0.5)
    return Machine(**here, busy=busy_share(before, stat.read_text()))


def as_line(figure: Figure) -> dict[str, Any]:
    return asdict(figure)


def from_line(line: dict[str, Any]) -> Figure:
    return Figure(**{**line, "machine": Machine(**line["machine"])})
