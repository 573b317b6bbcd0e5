"""Memory that can be had is what the strictest limit leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from recbole_ext.core import memory

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30


def groups(root, lines, files):
    """A made-up /proc/self/cgroup and /sys/fs/cgroup."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text("\n".join(lines) + "\n")
    for name, text in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return sorted(memory._left_by_groups(root))


def test_a_container_of_today(tmp_path):
    files = {"memory.max": 4 * GIB, "memory.current": 3 * GIB,
             "memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file 7"}  # fmt: skip
    assert groups(tmp_path, ["0::/"], files) == [2 * GIB]


def test_a_slice_within_a_slice(tmp_path):
    user = "user.slice/user-1000.slice"
    files = {
        f"{user}/memory.max": 6 * GIB,
        f"{user}/memory.current": 5 * GIB,
        f"{user}/run.scope/memory.max": "max",
        f"{user}/run.scope/memory.current": GIB,
        "user.slice/memory.max": 20 * GIB,
        "user.slice/memory.current": 5 * GIB,
    }
    assert groups(tmp_path, [f"0::/{user}/run.scope"], files) == [GIB, 15 * GIB]


@pytest.mark.parametrize("place", ["memory", "memory/docker/abc"])
def test_a_container_of_the_first_version(place, tmp_path):
    # Seen from within, the group is at the top although its path is the machine's.
    files = {f"{place}/memory.limit_in_bytes": 2 * GIB, f"{place}/memory.usage_in_bytes": GIB,
             f"{place}/memory.stat": "total_inactive_file 1024"}  # fmt: skip
    lines = ["9:name=systemd:/", "4:cpu,memory:/docker/abc", "0::/"]
    assert groups(tmp_path, lines, files) == [GIB + 1024]


def test_no_limit_at_all(tmp_path):
    assert groups(tmp_path, ["0::/"], {"memory.max": "max", "memory.current": GIB}) == []
    assert list(memory._left_by_groups(tmp_path / "no such system")) == []


def test_the_strictest_limit_counts(monkeypatch):
    machine = memory.free_memory("cpu")
    assert 0 < machine <= psutil.virtual_memory().total
    monkeypatch.setattr(memory, "_left_by_groups", lambda: iter([12_345, machine * 2]))
    assert memory.free_memory("cpu") == 12_345
    monkeypatch.setattr(memory, "_left_by_groups", lambda: iter([-5]))
    assert memory.free_memory("cpu") == 0


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_shell_counts(kind):
    program = (
        "import resource, psutil\nfrom recbole_ext.core.memory import free_memory\n"
        f"resource.setrlimit(resource.{kind}, (2**29, 2**29))\nprint(free_memory('cpu'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 2**28 < int(done.stdout) < 2**29
