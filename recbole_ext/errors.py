"""The one exception that a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Something the user can put right: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def nearest(word: str, known: Iterable[str], most: int = 3) -> str:
    """``", did you mean A, B?"`` for a mistyped name, or an empty string when nothing is close.

    Comparison ignores case, so that ``--model=l3ae`` finds ``L3AE``.
    """
    by_lower = {name.lower(): name for name in known}
    hits = difflib.get_close_matches(word.lower(), list(by_lower), n=most, cutoff=0.5)
    return f", did you mean {' or '.join(by_lower[hit] for hit in hits)}?" if hits else ""


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """`value`, if it is one of the choices.

    Raises:
        HarnessError: it is not; the line gives them all.
    """
    known = list(choices)
    if value not in known:
        listed = " or ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
        raise HarnessError(f"{name}={value} must be {listed}{nearest(str(value), known)}")
    return value
