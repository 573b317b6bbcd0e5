"""Tokens of users and items numbered in the order of their code points.

As Python's strings in Python's dictionaries: one long token would widen all of NumPy's strings, and neither these nor pandas'
`factorize` and `unique` tell a token from the same with a NUL behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd


class Numbering:
    """Tokens numbered as they come, each kept once whatever the number of its rows."""

    def __init__(self) -> None:
        self.number: dict[str, int] = {}

    def of(self, tokens: Iterable[str]) -> list[int]:
        """The number of each token; what is new gets the next one."""
        number = self.number
        return [number.setdefault(token, len(number)) for token in tokens]

    def categorical(self, codes: npt.NDArray[np.int32]) -> pd.Categorical:
        """Rows by the numbers `codes` [N]; categories in sorted order, so that nothing depends on who came first."""
        import pandas as pd

        tokens, place = _sorted(np.array(list(self.number), dtype=object))
        return pd.Categorical.from_codes(place[codes], categories=pd.Index(tokens, dtype=object))


def numbered(column: Any) -> tuple[list[str], npt.NDArray[np.int32]]:
    """(Tokens, sorted; [N] the place of each row's token among them).

    Args:
        column: [N] str with nothing missing: an array of objects, a Series, or a categorical one, all of whose categories
            are tokens.
    """
    if getattr(column, "cat", None) is not None:
        tokens, place = numbered(column.cat.categories)
        return tokens, place[column.cat.codes]
    numbering = Numbering()
    codes = np.array(numbering.of(column), dtype=np.int32)
    found, place = _sorted(np.array(list(numbering.number), dtype=object))
    return found.tolist(), place[codes]


def still_used(
    tokens: list[str], code: npt.NDArray[np.int32]
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Tokens that some row of `code` [N] still has, and the rows numbered by these."""
    used = np.bincount(code, minlength=len(tokens)) > 0
    left = [token for token, kept in zip(tokens, used, strict=True) if kept]
    return left, (np.cumsum(used) - 1)[code]


def _sorted(tokens: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """(Tokens in order, where each of the given ones is there)."""
    order = np.argsort(tokens, kind="stable")
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return tokens[order], place
