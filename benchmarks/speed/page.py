"""The page of the last run's figures: python -m benchmarks.speed.page [docs/speed.md]"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from benchmarks.speed.measure import RESULTS, Figure, Machine, from_line

IDLE = 0.05
"""Share of the processors that others may take on a machine that is called idle."""
_HEAD = """# Speed

Written by `make speed` from what `benchmarks/speed` measured; do not edit. A figure is a ratio of two ways timed in turns, the least
wall time of each. `make bench`, which `make test` runs, measures the same at small sizes on one thread and compares processor time.
"""


def page(figures: Iterable[Figure]) -> str:
    """Markdown: a table for each machine, and beside each figure whether the machine was idle just before."""
    lines = [_HEAD]
    for (cpu, vector, threads, full), group in groupby(
        figures, key=lambda f: (f.machine.cpu, f.machine.vector, f.machine.threads, f.full)
    ):
        lines += [
            f"## {cpu}, {_instructions(vector)}, {threads} thread{'s' * (threads != 1)}",
            ""
            if full
            else "\nSmall sizes and processor time: to see regressions, not to be quoted.\n",
            "| what | figure | held to | machine |",
            "|---|---:|---:|---|",
        ]
        lines += [
            f"| {one.what} | {one.value:.2f} | {one.bound} | {_state(one.machine)} |"
            for one in group
        ]
    return "\n".join(lines) + "\n"


def figures_of(results: Path) -> list[Figure]:
    """What the benchmarks of a file of pytest-benchmark measured; one that only checks has none."""
    tests = json.loads(results.read_text(encoding="utf-8"))["benchmarks"]
    return [from_line(line) for test in tests for line in test["extra_info"].get("figures", [])]


def _instructions(vector: str) -> str:
    return "no AVX2" if vector == "neither" else vector


def _state(machine: Machine) -> str:
    if machine.busy is None:
        return f"load {machine.load:.1f}"
    idle = "idle" if machine.busy < IDLE else "not idle"
    return f"{idle}: {machine.busy:.0%} busy, load {machine.load:.1f}"


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/speed.md")
    target.write_text(page(figures_of(RESULTS)), encoding="utf-8")
