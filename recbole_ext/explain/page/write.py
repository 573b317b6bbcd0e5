"""The page of `show --html` as one file that needs no network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from recbole_ext.core import web_page
from recbole_ext.core.web_page import filled
from recbole_ext.explain.page.data import Page

LARGE = 3_000_000
"""Bytes from which a page is slow to open on a phone."""


def write_page(page: Page, path: Path) -> list[str]:
    """Write the page; lines that say so.

    Raises:
        HarnessError: the file cannot be written.
    """
    size = web_page.write_page(
        path,
        rendered(page),
        LARGE,
        "smaller are shorter lists (--k), fewer strengths (--alpha=0,0.25,0.5) or neurons (--neurons)",
    )
    able = sum(bool(concept.knobs) for concept in page.concepts)
    return [
        f"{page.model} on {page.dataset}, run {page.run}: user {page.user}, {len(page.history)} items in the history",
        f"{able} concepts of {len(page.concepts)} at {len(page.board.strengths)} strengths, {size / 1e3:,.0f} kB",
        str(path),
    ]


def rendered(page: Page) -> str:
    """The whole file."""
    title = f"Knobs of {page.model} on {page.dataset}, user {page.user}"
    return filled(__package__, title, as_json(page))


def as_json(page: Page) -> str:
    """The data, safe within a script block."""
    return web_page.as_json(dataclasses.asdict(page))
