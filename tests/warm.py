"""Commands in processes of their own that need not import everything first: what a test kills is the command's work."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([
    "tests.warm",
    "recbole_ext.cli",
    "recbole_ext.pipeline.plan",
    "recbole_ext.pipeline.execute",
    "recbole_ext.leaderboard.board",
    "recbole_ext.model.l3ae",
    "recbole_ext.model.pop",
    "recbole.trainer",
    "pyarrow.parquet",
    "safetensors.torch",
])  # fmt: skip


def started(argv: list[str], out: Path, file_size: int | None = None) -> BaseProcess:
    """A command that runs on its own: `process.kill()` is kill -9.

    Args:
        argv: what is typed after run_bench.py.
        out: a file for what it prints; what it says goes to the same name with `.err`.
        file_size: bytes beyond which the kernel lets no file grow, as a full disk would.
    """
    process = _FORKS.Process(target=_run, args=(argv, str(out), file_size))
    process.start()
    return process


def _run(argv: list[str], out: str, file_size: int | None) -> None:
    from recbole_ext.__main__ import run

    for number, path in ((1, out), (2, f"{out}.err")):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.argv = ["run_bench.py", *argv]
    sys.exit(run())
