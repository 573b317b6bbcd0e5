"""Progress on long work: a bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUIET_SECONDS = 15.0


def say(line: str) -> None:
    """One line for the reader, on standard error so that standard output stays data."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Yields `advance(steps=1, note="")`; `total` is None where nobody knows it.

    Example:
        with progress("L3AE tuning", 64) as advance:
            advance(7, "recall@20 0.301")
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=what, leave=False) as bar:

            def advance(steps: int = 1, note: str = "") -> None:
                bar.set_postfix_str(note, refresh=False)
                bar.update(steps)

            yield advance
        return
    begun = last = time.monotonic()
    done = 0

    def line(steps: int = 1, note: str = "") -> None:
        nonlocal done, last
        done += steps
        if time.monotonic() - last >= _QUIET_SECONDS:
            last = time.monotonic()
            of = f"{done:,}" if total is None else f"{done}/{total}"
            say(f"{what}: {of} after {last - begun:.0f} s {note}".rstrip())

    yield line
