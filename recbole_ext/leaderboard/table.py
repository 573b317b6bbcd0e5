"""Columns and rows as aligned text: markdown that is readable raw, or a terminal's width."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TypeVar

from recbole_ext.leaderboard.columns import Bold, Column, Parts
from recbole_ext.leaderboard.links import linked

T = TypeVar("T")

_SHORTEST = 8
"""A cell is never cut below this many characters."""


def escaped(text: str) -> str:
    """Text that markdown leaves as it is: no emphasis, no code, no HTML, no link, no cell of its own."""
    return re.sub(r"([\\|*<`]|\](?=[(\[:]))", r"\\\1", " ".join(text.split()))


def _marked(text: str) -> str:
    return f"**{escaped(text)}**" if isinstance(text, Bold) else escaped(text)


def markdown(columns: Sequence[Column[T]], rows: Sequence[T], link: bool = True) -> list[str]:
    """Lines of a markdown table; with `link`, headings lead to their formulas."""
    filled = [
        _filled(
            linked(c.heading) if link else c.heading,
            [tuple(map(_marked, c.parts(r))) for r in rows],
        )
        for c in columns
    ]
    aligned = [_aligned(texts, c.numeric) for texts, c in zip(filled, columns, strict=True)]
    for texts, column in zip(aligned, columns, strict=True):
        width = len(texts[0])
        texts.insert(1, "-" * (width - 1) + ":" if column.numeric else "-" * width)
    return [f"| {' | '.join(line)} |" for line in zip(*aligned, strict=True)]


def compact(columns: Sequence[Column[T]], rows: Sequence[T]) -> list[str]:
    """Lines of a markdown table without a blank too many, for a page that must stay small; headings are markdown already."""
    lines = [[c.heading for c in columns], ["--:" if c.numeric else "---" for c in columns]]
    lines += [[" ".join(filter(None, map(_marked, c.parts(r)))) for c in columns] for r in rows]
    return [f"|{'|'.join(line)}|" for line in lines]


def plain(columns: Sequence[Column[T]], rows: Sequence[T], width: int) -> list[str]:
    """Lines of at most `width` characters; columns that had to go for it are named below."""
    kept = list(columns)
    filled = {c.key: _filled(c.heading, [c.parts(row) for row in rows]) for c in columns}
    dropped: list[str] = []

    def excess() -> int:
        widths = [max(map(len, filled[column.key])) for column in kept]
        return sum(widths) + 2 * (len(widths) - 1) - width

    while excess() > 0 and any(column.priority for column in kept):
        worst = max(kept, key=lambda column: column.priority)
        kept.remove(worst)
        dropped.append(worst.heading)
    label = filled[kept[0].key]
    if excess() > 0:  # only a long label is left to blame
        room = max(_SHORTEST, max(map(len, label)) - excess())
        label[:] = [text if len(text) <= room else f"{text[: room - 1]}…" for text in label]
    aligned = [_aligned(filled[column.key], column.numeric) for column in kept]
    lines = ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]
    if dropped:
        names = [column.heading for column in columns if column.heading in dropped]
        lines += wrapped(f"(not shown, the terminal is narrow: {', '.join(names)})", width)
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """A sentence on lines of at most `width` characters."""
    return textwrap.wrap(text, max(width, 2 * _SHORTEST), subsequent_indent="  ")


def _filled(heading: str, cells: Sequence[Parts]) -> list[str]:
    """The heading and a column's cells, their parts below one another."""
    whole = [cell for cell in cells if len(cell) > 1]
    count = max(map(len, whole), default=1)
    widths = [max(len(cell[i]) for cell in whole) for i in range(count)] if whole else []
    return [heading] + [
        " ".join(part.rjust(w) for part, w in zip(cell, widths, strict=True) if w)
        if len(cell) > 1
        else cell[0]
        for cell in cells
    ]


def _aligned(texts: Sequence[str], numeric: bool) -> list[str]:
    width = max(3, *map(len, texts))
    return [text.rjust(width) if numeric else text.ljust(width) for text in texts]
