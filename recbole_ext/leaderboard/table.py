"""Columns and rows as aligned text: markdown that is readable raw, or a terminal's width."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_ext.leaderboard.columns import Column
from recbole_ext.leaderboard.rows import Row


def _texts(columns: Sequence[Column], rows: Sequence[Row]) -> list[list[str]]:
    return [
        [column.heading for column in columns],
        *([c.text(row) for c in columns] for row in rows),
    ]


def _aligned(line: list[str], columns: Sequence[Column], widths: list[int], between: str) -> str:
    cells = [
        text.rjust(width) if column.numeric else text.ljust(width)
        for text, column, width in zip(line, columns, widths, strict=True)
    ]
    return between.join(cells)


def markdown(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Lines of a markdown table."""
    lines = [[text.replace("|", "\\|") for text in line] for line in _texts(columns, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    rule = [
        "-" * (w - 1) + ":" if c.numeric else "-" * w for c, w in zip(columns, widths, strict=True)
    ]
    out = [f"| {_aligned(line, columns, widths, ' | ')} |" for line in lines]
    return [out[0], f"| {' | '.join(rule)} |", *out[1:]]


def plain(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[str]:
    """Lines of at most `width` characters as far as columns may be dropped; what was dropped is said."""
    kept = list(columns)
    dropped: list[str] = []
    while True:
        lines = _texts(kept, rows)
        widths = [max(len(line[i]) for line in lines) for i in range(len(kept))]
        out = [_aligned(line, kept, widths, "  ").rstrip() for line in lines]
        loose = [column for column in kept if column.priority]
        if max(map(len, out)) <= width or not loose:
            break
        worst = max(loose, key=lambda column: column.priority)
        kept.remove(worst)
        dropped.append(worst.heading)
    if dropped:
        out.append(f"(not shown, the terminal is narrow: {', '.join(dropped)})")
    return out
