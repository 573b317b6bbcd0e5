"""Tokens of users and items numbered in the order of their code points.

As Python's strings, never as NumPy's of a fixed width: one long token would widen all of them, and a last NUL would be lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def numbered(column: Any) -> tuple[list[str], npt.NDArray[np.int32]]:
    """(Distinct tokens, sorted; [N] the place of each row's token among them).

    Args:
        column: [N] str: a Series, categorical or not, or an array of objects; nothing missing.
    """
    import pandas as pd

    codes, found = pd.factorize(column)
    tokens = np.asarray(found, dtype=object)
    order = np.argsort(tokens, kind="stable")
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return tokens[order].tolist(), place[codes]


def still_used(
    tokens: list[str], code: npt.NDArray[np.int32]
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Tokens that some row of `code` [N] still has, and the rows numbered by these."""
    used = np.bincount(code, minlength=len(tokens)) > 0
    left = [token for token, kept in zip(tokens, used, strict=True) if kept]
    return left, (np.cumsum(used) - 1)[code]
