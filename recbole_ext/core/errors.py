"""The one exception that a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar

_T = TypeVar("_T")
_ALIKE = 0.66
"""Share of two names' letters that agree in order, from which one may be the other mistyped: two letters of three changed
places reach it (mpl, mlp), names that share a beginning (threshold, threads) do not."""


class HarnessError(Exception):
    """Something the user can put right: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def nearest(word: str, known: Iterable[str], most: int = 3) -> str:
    """``", did you mean A, B?"`` for a mistyped name, or an empty string when nothing is close.

    Comparison ignores case, so that ``--model=l3ae`` finds ``L3AE``.
    """
    by_lower = {name.lower(): name for name in known}
    hits = difflib.get_close_matches(word.lower(), list(by_lower), n=most, cutoff=_ALIKE)
    return f", did you mean {' or '.join(by_lower[hit] for hit in hits)}?" if hits else ""


def one_of(name: str, value: _T, choices: Iterable[_T]) -> _T:
    """`value`, if it is one of the choices.

    Raises:
        HarnessError: it is not; the line gives them all.
    """
    known = list(choices)
    if value not in known:
        raise HarnessError(
            f"{name}={value} must be {either(known)}{nearest(str(value), map(str, known))}"
        )
    return value


def either(choices: Iterable[object]) -> str:
    """`a, b or c`."""
    *most, last = map(str, choices)
    return f"{', '.join(most)} or {last}" if most else last
