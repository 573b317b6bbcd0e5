"""The page of `board --html` as one file that needs no network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from recbole_ext.core import web_page
from recbole_ext.core.web_page import as_json, filled
from recbole_ext.leaderboard.page.data import BoardPage

LARGE = 2_000_000
"""Bytes that a page is not to have more of."""


def write_page(page: BoardPage, path: Path) -> list[str]:
    """Write the page; lines that say so.

    Raises:
        HarnessError: the file cannot be written.
    """
    size = web_page.write_page(
        path, rendered(page), LARGE, "--dataset=NAME and --model=A,B make it smaller"
    )
    return [
        f"{len(page.rows)} rows of {page.records} records on {len({place.dataset for place in page.places})} datasets, "
        f"{size / 1e3:,.0f} kB",
        str(path),
    ]


def rendered(page: BoardPage) -> str:
    """The whole file."""
    return filled(__package__, "Leaderboard", as_json(dataclasses.asdict(page)))
