"""P(λ) made once for every model and process that asks for it: what is inverted is kept on disk, as a memory map.

A search for EASE and one for L3AE invert the same matrices, and so does every seed. What is read is bit for bit what
would have been computed: the key holds all that the bits depend on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import default_cache, locked, written_atomically
from recbole_ext.core.progress import say
from recbole_ext.linear.ridge import CONDITION_FLOAT32
from recbole_ext.linear.sides import ItemSide, UserSide, invert_, of_inverse, side_gram

_FORMAT = "recbole_ext inverse 1"
_WORTH = 2048
"""Rows from which an inverse is kept: a smaller one is made in less than half a second."""
_GIB = 2**30
_MOST = 32 * _GIB
_STALE = 3600.0
"""Seconds after which an unfinished file that nobody has written to is a killed process's."""
_VARIABLE = "RECBOLE_EXT_INVERSES"


class Inverses:
    """(XᵀX + λI)⁻¹ of one X, or by its other side, for one λ after the other."""

    def __init__(
        self, x: sp.csr_matrix, side: str, precision: str, device: torch.device | str
    ) -> None:
        """Arguments as of `linear.sides.invert_`; nothing is computed yet, not even the Gram matrix."""
        self.x, self.side, self.precision = x, side, precision
        self.device = torch.device(device)
        self._gram: torch.Tensor | None = None
        self._rows: str | None = None

    def at(self, ridge: float, last: bool = False) -> ItemSide | UserSide:
        """P at λ, the caller's own: it may be overwritten.

        Args:
            ridge: λ.
            last: no other λ will be asked for, so that the Gram matrix is overwritten and not copied.

        Raises:
            HarnessError: the matrix is not positive definite.
        """

        def make() -> torch.Tensor:
            if self._gram is None:
                self._gram = side_gram(self.x, self.side, self.device)
            g = self._gram if last else self._gram.clone()
            if last:
                self._gram = None
            made = invert_(self.x, g, ridge, self.side, self.precision)
            return made.p if isinstance(made, ItemSide) else made.kernel

        size = self.x.shape[1 if self.side == "items" else 0]
        inverse = make() if size < _WORTH else kept(self._key(ridge), size, make)
        return of_inverse(self.x, inverse.to(self.device), ridge, self.side)

    def _key(self, ridge: float) -> str:
        if self._rows is None:
            self._rows = _fingerprint(self.x)
        parts = (
            _FORMAT,
            self._rows,
            self.side,
            repr(float(ridge)),
            self._rule(),
            _machine(self.device),
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def _rule(self) -> str:
        return f"auto {CONDITION_FLOAT32:g}" if self.precision == "auto" else self.precision


def kept(key: str, n: int, make: Callable[[], torch.Tensor]) -> torch.Tensor:
    """A matrix [n, n] from disk, or made and put there.

    Processes that ask for the same at once wait for one of them to make it. What is read is mapped privately: pages are
    read when they are looked at, and copied where they are overwritten. Where it cannot be kept (no disk, a full one, one
    that may only be read, a limit that is too small) a line says so once, and it is made all the same.

    Args:
        key: all that its bits depend on, as a file's name.
        n: its size.
        make: computes it.
    """
    folder = default_cache() / "inverses"
    most = limit(folder)
    if not most:
        return make()
    path = folder / f"{key}.npy"
    # Unlocked first: a finished file never changes, and a cache that may only be read has its use.
    if (found := _read(path, n)) is not None:
        return torch.from_numpy(found)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(path.with_suffix(".lock"), "inverting"))
        except OSError as error:
            _not_kept(folder, error.strerror or type(error).__name__)
            return make()
        # Again: another process may have made it while this one waited.
        if (found := _read(path, n)) is not None:
            return torch.from_numpy(found)
        made = make()
        _write(path, made, most)
        return made


def limit(folder: Path) -> int:
    """Bytes that inverses may take: RECBOLE_EXT_INVERSES in GiB, 0 for none; else a quarter of what the disk has left
    for them, at most 32 GiB.

    Raises:
        HarnessError: the variable is no such number.
    """
    if (given := os.environ.get(_VARIABLE)) is not None:
        with contextlib.suppress(ValueError):
            if 0 <= (most := float(given)) < float("inf"):
                return int(most * _GIB)
        raise HarnessError(
            f"{_VARIABLE}={given}: not a size in GiB; give a number, 0 keeps no inverse on disk"
        )
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    own = sum(size for _, size, _ in _entries(folder))
    return min(_MOST, (shutil.disk_usage(place).free + own) // 4)


def _read(path: Path, n: int) -> npt.NDArray[Any] | None:
    """The matrix, None where there is none or the file is damaged; a damaged one is removed with a line."""
    try:
        found = np.load(path, mmap_mode="c", allow_pickle=False)
        with path.open("rb") as stream:
            stream.seek(-4, os.SEEK_END)
            told = int.from_bytes(stream.read(), "little")
        sound = found.shape == (n, n) and found.dtype in (np.float32, np.float64)
        if not sound or zlib.crc32(found.data) != told:
            raise ValueError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        say(f"the kept inverse {path} is damaged; it is made again")
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    with contextlib.suppress(OSError):  # a folder that may only be read
        os.utime(path)  # the least recently used goes first
    return np.asarray(found)


def _write(path: Path, made: torch.Tensor, most: int) -> None:
    """Keep it if it can be kept."""
    size = made.numel() * made.element_size()
    if size > most:
        _not_kept(
            path.parent,
            f"one takes {size / _GIB:.1f} GiB, the limit is {most / _GIB:.1f} ({_VARIABLE} sets it)",
        )
        return
    array = made.detach().cpu().contiguous().numpy()
    try:
        make_room(path.parent, most - size)
        with written_atomically(path) as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)
            stream.write(zlib.crc32(array.data).to_bytes(4, "little"))
    except OSError as error:
        _not_kept(path.parent, error.strerror or str(error))


def make_room(folder: Path, most: int) -> None:
    """Remove the inverses that were used longest ago until all take at most `most` bytes, and what killed processes left.

    A process that has one of them mapped keeps what it has.
    """
    entries = sorted(_entries(folder))
    total = sum(size for _, size, _ in entries)
    now = time.time_ns()
    for used, size, path in entries:
        unfinished = path.name.startswith(".")
        if unfinished and (now - used) / 1e9 < _STALE:
            continue
        if unfinished or total > most:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                total -= size


def _entries(folder: Path) -> list[tuple[int, int, Path]]:
    """(Nanoseconds of the last use, bytes, file) of inverses, finished or not."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.suffix == ".npy" or ".npy." in path.name:
                with contextlib.suppress(OSError):  # another process has removed it
                    stat = path.stat()
                    found.append((stat.st_mtime_ns, stat.st_size, path))
    return found


def _fingerprint(x: sp.csr_matrix) -> str:
    """Of a binary matrix."""
    rows = x if x.has_sorted_indices else x.sorted_indices()
    found = hashlib.sha256(repr(x.shape).encode())
    for part in (rows.indptr, rows.indices):
        found.update(np.ascontiguousarray(part, dtype=np.int64).data)
    return found.hexdigest()


def _machine(device: torch.device) -> tuple[Any, ...]:
    """What decides on the order of a factorisation's sums."""
    if device.type == "cuda":
        return torch.__version__, torch.cuda.get_device_name(device)
    return torch.__version__, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()


_said: set[tuple[Path, str]] = set()


def _not_kept(folder: Path, why: str) -> None:
    if (folder, why) not in _said:
        _said.add((folder, why))
        say(f"inverses are not kept in {folder}: {why}; models that share one will each make it")
