"""Pieces of pages: headings with tables and bullets, and pages that are no longer than they may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.columns import Column
from recbole_ext.leaderboard.links import definitions

T = TypeVar("T")

WRITTEN = "Written by `python run_bench.py board --publish` from the records; do not edit."


@dataclass(frozen=True)
class Block:
    """A heading with what stands below it."""

    text: str
    moves: int = 0
    """Where a page is too long, blocks with larger numbers go to the second page first; 0 stays."""


def block(
    heading: str,
    columns: Sequence[Column[T]],
    rows: Sequence[T],
    notes: Iterable[str] = (),
    moves: int = 0,
) -> Block:
    """A table under a heading, notes as bullets below it; both are escaped."""
    parts = [
        f"### {table.escaped(heading)}",
        "\n".join(table.markdown(columns, rows)),
        bullets(map(table.escaped, notes)),
    ]
    return Block("\n\n".join(filter(None, parts)), moves)


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def page(blocks: Iterable[str], linked: bool = True) -> str:
    """Blocks as a page, with the targets of its linked headings at its end."""
    text = "\n\n".join(blocks) + "\n"
    links = definitions(text) if linked else ""
    return f"{text}\n{links}\n" if links else text


def fitting(blocks: Sequence[Block], most_lines: int) -> tuple[list[Block], list[Block]]:
    """(blocks that make a page of at most so many lines, blocks that had to go), both in their order."""
    kept = list(blocks)
    while True:
        lines = page(block.text for block in kept).count("\n")
        movable = [i for i, block in enumerate(kept) if block.moves]
        if lines <= most_lines or not movable:
            return kept, [block for block in blocks if block not in kept]
        del kept[max(movable, key=lambda i: (kept[i].moves, i))]
