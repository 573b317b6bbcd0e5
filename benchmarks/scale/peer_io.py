"""What a peer's script reads and writes: NumPy and SciPy alone, for it runs in the peer's own interpreter.

    PYTHON -m benchmarks.scale.peer_NAME FOLDER OUTPUT THREADS OPTIONS

FOLDER holds `train.npz` (csr [m, n], ones), `masked.npz` (csr [U, n], what is no candidate of each asked user) and `users.npy` [U].
What is tested is not in it. OUTPUT gets `lists.npy` [U, 20], best first, and `told.json`.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

TOP = 20
_BYTES = 32 << 20
"""Of scores that are made at a time."""
_LEAST_ROWS = 32


@dataclass(frozen=True)
class Asked:
    """What a peer is fitted on and asked for."""

    train: sp.csr_matrix
    """[m, n] float32, 1 where a user had an item."""
    masked: sp.csr_matrix
    """[U, n] not zero where an item is no candidate."""
    users: npt.NDArray[np.int64]
    """[U] rows of `train`."""

    @classmethod
    def read(cls, folder: Path) -> Asked:
        return cls(
            sp.load_npz(folder / "train.npz"),
            sp.load_npz(folder / "masked.npz"),
            np.load(folder / "users.npy"),
        )

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sp.save_npz(folder / "train.npz", self.train, compressed=False)
        sp.save_npz(folder / "masked.npz", self.masked, compressed=False)
        np.save(folder / "users.npy", self.users)


@dataclass(frozen=True)
class Made:
    """A fitted peer."""

    lists: Callable[[Asked, int], npt.NDArray[np.int64]]
    """(asked, threads) -> [U, 20] items, best first; -1 where there is none."""
    told: Mapping[str, Any]
    """Of its weights, printed beside its numbers."""


def peak_bytes() -> int:
    """Most memory that this process has held. Not `ru_maxrss`, which a child begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def by_scores(
    score: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]],
) -> Callable[[Asked, int], npt.NDArray[np.int64]]:
    """`Made.lists` of what gives users [B] -> scores [B, n], which it may write into."""

    def lists(asked: Asked, threads: int) -> npt.NDArray[np.int64]:
        n = asked.train.shape[1]
        step = max(_LEAST_ROWS, _BYTES // (4 * n))
        found = []
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(asked.users), step):
                scores = score(asked.users[first : first + step])
                row, item = asked.masked[first : first + step].nonzero()
                scores[row, item] = -np.inf
                edges = np.linspace(0, len(scores), threads + 1).astype(int)
                parts = [scores[a:b] for a, b in itertools.pairwise(edges)]
                found += list(pool.map(_best, parts))
        return np.concatenate(found)

    return lists


def _best(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """[B, 20] the best of each row, -1 for what is masked or beyond the catalogue."""
    top = min(TOP, scores.shape[1])
    found = np.argpartition(scores, scores.shape[1] - top, axis=1)[:, -top:]
    values = np.take_along_axis(scores, found, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    out = np.full((len(scores), TOP), -1, dtype=np.int64)
    values = np.take_along_axis(values, order, axis=1)
    out[:, :top] = np.where(np.isneginf(values), -1, np.take_along_axis(found, order, axis=1))
    return out


def serve(
    fit: Callable[[Asked, dict[str, str], int], Made],
    packages: Sequence[str],
    given: list[str] | None = None,
) -> None:
    """Fit, list, and write both with what they cost; the time of importing `packages` is nobody's."""
    for name in packages:
        importlib.import_module(name)
    folder, output, threads, options = sys.argv[1:] if given is None else given
    asked = Asked.read(Path(folder))
    measured(
        lambda: fit(asked, json.loads(options), int(threads)), asked, int(threads), Path(output)
    )


def measured(fit: Callable[[], Made], asked: Asked, threads: int, output: Path) -> None:
    """As `serve`, of what is at hand."""
    before, begun = peak_bytes(), time.perf_counter()
    made = fit()
    fitted, peak_of_fit = time.perf_counter(), peak_bytes()
    lists = made.lists(asked, threads)
    ranked = time.perf_counter()
    told = {
        "fit_seconds": fitted - begun,
        "rank_seconds": ranked - fitted,
        "before_bytes": before,
        "fit_bytes": peak_of_fit,
        "peak_bytes": peak_bytes(),
        "told": dict(made.told),
    }
    output.mkdir(parents=True, exist_ok=True)
    np.save(output / "lists.npy", lists)
    (output / "told.json").write_text(json.dumps(told))
