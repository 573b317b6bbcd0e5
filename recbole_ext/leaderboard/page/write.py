"""The page of `board --html` as one file that needs no network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.core.progress import say
from recbole_ext.core.web_page import as_json, filled
from recbole_ext.leaderboard.page.data import BoardPage

LARGE = 2_000_000
"""Bytes that a page is not to have more of."""


def write_page(page: BoardPage, path: Path) -> list[str]:
    """Write the page; lines that say so.

    Raises:
        HarnessError: the file cannot be written.
    """
    content = rendered(page).encode("utf-8", "replace")  # a name may hold half of a character
    try:
        write_atomically(path, content)
    except OSError as error:
        raise HarnessError(f"--html={path}: {error.strerror or error}") from None
    if len(content) > LARGE:
        say(
            f"{path} is large ({len(content) / 1e6:.1f} MB); --dataset=NAME and --model=A,B make it smaller"
        )
    return [
        f"{len(page.rows)} rows of {page.records} records on {len({place.dataset for place in page.places})} datasets, "
        f"{len(content) / 1e3:,.0f} kB",
        str(path),
    ]


def rendered(page: BoardPage) -> str:
    """The whole file."""
    return filled(__package__, "Leaderboard", as_json(dataclasses.asdict(page)))
