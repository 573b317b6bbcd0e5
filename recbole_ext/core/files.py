"""Files that are whole or not there, made by one process at a time, and where the ones go that can be made again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from recbole_ext.core.progress import say

PATIENCE = 2.0
"""Seconds that a lock is waited for in silence."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`; a wait for another process that is at `what` is said aloud."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        say(f"{what}: another process is at it, waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `path` so that a reader, or a reader after a crash, sees the old file or the whole new one."""
    with written_atomically(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def written_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content becomes `path` at the end of the block, and nothing where the block does not reach it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(
            temporary, 0o666 & ~mask
        )  # mkstemp's 0600 would keep a shared folder's other users out
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def digest_of(path: Path, kind: str = "sha256") -> str:
    """Of a file's content, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def default_cache() -> Path:
    """RECBOLE_EXT_CACHE, else recbole_ext below XDG_CACHE_HOME, else below ~/.cache."""
    if own := os.environ.get("RECBOLE_EXT_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "recbole_ext"
