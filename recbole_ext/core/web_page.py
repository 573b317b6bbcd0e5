"""Pages that are one file and need no network: a body with its style, its script and its data, in a frame that lets nothing else in.

The data may be anybody's words. They stand in a JSON script block, in which nothing can end it or begin another element, and a
page's script is to put them on the page as text alone.
"""

from __future__ import annotations

import html
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.core.progress import say

_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
"""What could end a script block or a line of one; in JSON it stands within strings alone."""

FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{title}}</title>
<link rel="icon" href="data:,">
<style>
{{style}}</style>
</head>
<body>
{{body}}<script type="application/json" id="data">{{data}}</script>
<script>
{{script}}</script>
</body>
</html>
"""
"""Of every page; its policy lets a page load nothing."""


def checked_path(path: Path, example: str) -> Path:
    """The path, if a file can be written there; `example` is a name for one.

    Raises:
        HarnessError: it is a folder, or in none, or has no page's ending.
    """
    if path.is_dir():
        raise HarnessError(f"--html={path} is a folder; name a file in it, e.g. {path / example}")
    if not path.parent.is_dir():
        raise HarnessError(f"--html={path}: no folder {path.parent}; make it first")
    if path.suffix.lower() not in (".html", ".htm"):  # it may be somebody's data
        raise HarnessError(
            f"--html={path}: a page's name ends in .html, e.g. {path.with_name(example)}"
        )
    return path


def filled(package: str, title: str, data: str) -> str:
    """The whole file, of `page.html` (what is in its body), `page.css` and `page.js` of a package and of `as_json`'s data."""
    parts = {
        "body": _file(package, "page.html"),
        "title": html.escape(title),
        "style": _file(package, "page.css"),
        "script": _file(package, "page.js"),
        "data": data,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], FRAME)


def as_json(data: Any) -> str:
    """The data, safe within a script block."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPED)


def write_page(path: Path, page: str, large: int, smaller: str) -> int:
    """Write a page and give its bytes; one of more than `large` is said to be, with what makes it smaller.

    Raises:
        HarnessError: the file cannot be written.
    """
    content = page.encode("utf-8", "replace")  # anybody's words may hold half of a character
    try:
        write_atomically(path, content)
    except OSError as error:
        raise HarnessError(f"--html={path}: {error.strerror or error}") from None
    if len(content) > large:
        say(f"{path} is large ({len(content) / 1e6:.1f} MB); {smaller}")
    return len(content)


def _file(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
