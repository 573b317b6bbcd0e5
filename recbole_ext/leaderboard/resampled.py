"""Resampled estimates of a run, kept beside its ranks: each costs an EM, and a new row would otherwise make those of all others again."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.core.files import write_atomically
from recbole_ext.evaluator.ranks_file import RANKS

REVISION = 1
"""Raised by a change of the estimators or of how users are resampled."""
_OF = "of"

Estimates = dict[str, dict[str, Floats]]
"""Metric -> estimator -> [R] its value in each resample of the users."""


def recall(folder: Path, protocol: str, metrics: Sequence[str], count: int) -> Estimates | None:
    """What was kept of a run's ranks as they are now; None where that is not all that is asked for."""
    try:
        with np.load(_path(folder, protocol), allow_pickle=False) as kept:
            if str(kept[_OF]) != _digest(folder, count):
                return None
            found: Estimates = {}
            for name in kept.files:
                if name != _OF:
                    metric, _, estimator = name.partition(" ")
                    found.setdefault(metric, {})[estimator] = np.asarray(kept[name], np.float64)
    except (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile, zlib.error):
        return None  # none, or a damaged one: it is made again
    return {m: found[m] for m in metrics} if set(metrics) <= found.keys() else None


def remember(
    folder: Path, protocol: str, estimates: Mapping[str, Mapping[str, Floats]], count: int
) -> None:
    """Keep a run's estimates; a folder that may not be written to goes without."""
    out = io.BytesIO()
    arrays: dict[str, Any] = {
        f"{m} {kind}": values for m, of in estimates.items() for kind, values in of.items()
    }
    np.savez_compressed(out, **arrays | {_OF: np.array(_digest(folder, count))})
    try:
        write_atomically(_path(folder, protocol), out.getvalue())
    except OSError:
        return


def _path(folder: Path, protocol: str) -> Path:
    return folder / f"resampled-{protocol}.npz"


def _digest(folder: Path, count: int) -> str:
    """Of the ranks and of how they are resampled."""
    ranks = hashlib.sha256((folder / RANKS).read_bytes()).hexdigest()
    return f"{REVISION} {count} {ranks}"
