"""Text of official files: entities decoded, whitespace collapsed; of pages the tags and scripts taken out, and no more.

What a file escapes is text: tags are looked for before entities are decoded, so that `&lt;3` and `&lt;b&gt;` stay what
they say. A literal `<` is a tag's only where an element of HTML follows it: `<3`, `a < b > c` and `<Limited Edition>` stay.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import dataclass, field
from html.entities import html5
from pathlib import Path

from recbole_ext.core.progress import say

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]*);")
_ELEMENTS = (
    "a|abbr|b|big|blockquote|body|br|center|cite|dd|del|div|dl|dt|em|embed|font|form|h[1-6]|head|hr|html|i|iframe|img|"
    "input|ins|li|link|meta|nobr|noscript|object|ol|option|p|param|pre|s|script|select|small|span|strike|strong|style|"
    "sub|sup|table|tbody|td|tfoot|th|thead|tr|tt|u|ul|wbr|(?:o|v|w|st1):[a-z]+"
)
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<!doctype\b[^<>]*>|<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)"
    rf"|</?(?:{_ELEMENTS})(?:\s[^<>]*=[^<>]*)?\s*/?>",
    re.IGNORECASE | re.DOTALL,
)
"""A comment, a script or style with what it holds (all that follows, where it has no end), or a tag: an element's name and nothing after it but attributes."""
_SCRIPT = re.compile(
    r"[\s(;!]*(?:(?:var|let|const)\s+[\w$]+\s*=[^;]*;|function\s*[\w$]*\s*\([\w$\s,]*\)\s*\{|window\.[\w$.]+\s*=)"
)
"""What begins so is a program, like the `var aPageStart = (new Date()).getTime();` that the crawl of 2018 took for a title."""


def plain(text: str) -> str:
    """`text` with its entities decoded (those that end in a semicolon), and one space for any whitespace."""
    return " ".join(_ENTITY.sub(_decoded, text).split())


def _decoded(entity: re.Match[str]) -> str:
    # By itself `unescape` takes the beginning of a longer word for an entity: `&notes;` is no `&not`.
    name = entity[0][1:]
    return html.unescape(entity[0]) if name.startswith("#") or name in html5 else entity[0]


@dataclass
class Page:
    """Texts that were cut out of the pages of one file, and how many of them said nothing but markup."""

    path: Path
    emptied: Counter[str] = field(default_factory=Counter)
    """What they were -> how many."""
    first: str = ""

    def text(self, of_page: str) -> str:
        """`of_page` without tags and as `plain` has it; "" where it is a script."""
        found = plain(_TAG.sub(" ", of_page))
        script = bool(_SCRIPT.match(found))
        if script or (not found and plain(of_page)):
            self.empty("scripts" if script else "nothing but tags", of_page)
        return "" if script else found

    def empty(self, what: str, text: str, count: int = 1) -> None:
        """`count` more are emptied, of which `text` is the first."""
        self.emptied[what] += count
        self.first = self.first or " ".join(text.split())[:60]

    def report(self) -> None:
        """Say how many texts were emptied, and the first of them, if any."""
        if self.emptied:
            kinds = ", ".join(f"{what}: {count:,}" for what, count in sorted(self.emptied.items()))
            say(
                f"{self.path.name}: {self.emptied.total():,} texts left out as markup ({kinds}; first: {self.first})"
            )
