"""A web page taken apart, for tests of pages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources

from recbole_ext.core.web_page import FRAME

LOADING = ("img", "iframe", "object", "embed", "audio", "video", "base", "form")
"""Elements that fetch something, or send it."""
_ADDRESSES = ("src", "srcset", "href", "action", "data", "poster", "background")
_FETCHING = r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|WebSocket|import\("
_MARKUP = (
    "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval", "Function(", "srcdoc", "DOMParser", ".href", ".src",
)  # fmt: skip


def source(package: str, name: str) -> str:
    """A file of a page's package; `page.html` in the frame of every page."""
    text = resources.files(package).joinpath(name).read_text("utf-8")
    return FRAME.replace("{{body}}", text) if name == "page.html" else text


class Parsed(HTMLParser):
    """Elements with their attributes, and what stands in script blocks and in the title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.title = ""
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag in ("script", "style"):
            self.inside.append("")

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open in ("script", "style"):
            self.inside[-1] += data
        if self._open == "title":
            self.title += data


def loads_nothing(page: Parsed) -> None:
    """Fail if an element of a page, or its policy, would let it fetch anything."""
    for tag, attrs in page.elements:
        assert tag not in LOADING
        for name in _ADDRESSES:
            assert (attrs.get(name) or "data:").startswith("data:"), (tag, attrs)
    (policy,) = [
        attrs["content"] or "" for tag, attrs in page.elements
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    assert policy.startswith("default-src 'none';") and "http" not in policy


def writes_text_alone(script: str, *others: str) -> None:
    """Fail if a script makes markup of text, could end its own block, or it or other files of a page fetch anything."""
    for way in _MARKUP:
        assert way not in script, way
    assert "</" not in script and "<!--" not in script
    for own in (script, *others):
        # SVG elements are made in a namespace, whose name is an address that nobody opens.
        plain = own.replace("// ", "").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(_FETCHING, plain)
