"""The page of `show --html` as one file that needs no network: a template, its style and its script, and the data in JSON.

Titles and tags are anybody's words. They stand in a JSON script block, in which nothing can end it or begin another element, and
the script puts them on the page as text alone.
"""

from __future__ import annotations

import dataclasses
import html
import json
import re
from importlib import resources
from pathlib import Path

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.core.progress import say
from recbole_ext.explain.page.data import Page

LARGE = 3_000_000
"""Bytes from which a page is slow to open on a phone."""
_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
"""What could end a script block or a line of one; in JSON it stands within strings alone."""


def checked_path(path: Path) -> Path:
    """The path, if a file can be written there.

    Raises:
        HarnessError: it is a folder, or in none.
    """
    if path.is_dir():
        raise HarnessError(
            f"--html={path} is a folder; name a file in it, e.g. {path / 'knobs.html'}"
        )
    if not path.parent.is_dir():
        raise HarnessError(f"--html={path}: no folder {path.parent}; make it first")
    return path


def write_page(page: Page, path: Path) -> list[str]:
    """Write the page; lines that say so.

    Raises:
        HarnessError: the file cannot be written.
    """
    content = rendered(page).encode("utf-8", "replace")  # a title may hold half of a character
    try:
        write_atomically(path, content)
    except OSError as error:
        raise HarnessError(f"--html={path}: {error.strerror or error}") from None
    if len(content) > LARGE:
        say(
            f"{path} is large ({len(content) / 1e6:.1f} MB); smaller are shorter lists (--k), fewer strengths (--alpha=0,0.25,0.5) or "
            "neurons (--neurons)"
        )
    able = sum(bool(concept.knobs) for concept in page.concepts)
    return [
        f"{page.model} on {page.dataset}, run {page.run}: user {page.user}, {len(page.history)} items in the history",
        f"{able} concepts of {len(page.concepts)} at {len(page.board.strengths)} strengths, {len(content) / 1e3:,.0f} kB",
        str(path),
    ]


def rendered(page: Page) -> str:
    """The whole file."""
    parts = {
        "title": html.escape(f"Knobs of {page.model} on {page.dataset}, user {page.user}"),
        "style": _file("page.css"),
        "script": _file("page.js"),
        "data": as_json(page),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("page.html"))


def as_json(page: Page) -> str:
    """The data, safe within a script block."""
    text = json.dumps(
        dataclasses.asdict(page), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.translate(_ESCAPED)


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
