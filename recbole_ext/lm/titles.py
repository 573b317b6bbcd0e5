"""Which of some titles an output names: by the exact title, by the rule of A-LLMRec's code, and by LLaRA's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recbole_ext.core.arrays import Bools


def normalised(title: str) -> str:
    """In small letters, its blanks single: what titles are compared by."""
    return " ".join(title.lower().split())


def quoted(output: str) -> str:
    """What an output names: its first line, between the first and the last double quote; all of the line where there are not two."""
    line = output.strip().split("\n", 1)[0]
    first, last = line.find('"'), line.rfind('"')
    return normalised(line[first + 1 : last] if last > first else line.replace('"', ""))


@dataclass(frozen=True)
class Named:
    """Which of m candidates an output is right with, if that candidate is what was asked for."""

    exact: Bools
    """[m] the title is the output. Several where titles are alike: a tie."""
    substring: Bools
    """[m] A-LLMRec's code: the title is a part of the output, so that short titles, and outputs of several titles, hit by accident."""
    llara: Bools
    """[m] LLaRA's code: the title is the only one of the candidates that the output's first line contains; else the output is invalid and is
    left out of its hit ratio's denominator."""


def named(output: str, titles: Sequence[str]) -> Named:
    """By all rules.

    Args:
        output: as it was generated.
        titles: [m] of the candidates; an empty one is never named.
    """
    own, said = [normalised(title) for title in titles], quoted(output)
    line = normalised(output.strip().split("\n", 1)[0])
    exact = np.array([bool(title) and title == said for title in own])
    part = np.array([bool(title) and title in said for title in own])
    inside = np.array([bool(title) and title in line for title in own])
    return Named(exact, part, inside if inside.sum() == 1 else np.zeros_like(inside))
