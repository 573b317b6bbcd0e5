"""From a column's heading to the formula behind it."""

from __future__ import annotations

import re

from recbole_ext.evaluator.metrics import JOINT, POINTWISE
from recbole_ext.evaluator.protocols import parsed

PAGE = "../docs/protocols.md"
_ANCHORS = (
    *((rf"{re.escape(metric.heading)}@\d+", metric.anchor) for metric in JOINT.values()),
    *((re.escape(metric.heading), metric.anchor) for metric in POINTWISE.values()),
    (r"(Coverage|Gini|Popularity|Tail|Novelty)@\d+", "what-lists-are-like"),
    (r".+ (items|activity|text) \([\d,]+\)", "parts-of-the-positives"),
    (r"naive|plug-in|BV\(0\.1\)|MLE|BV-MLE|identified", "from-sampled-back-to-full-ranking"),
    (r"τ-b|95% interval|First kept|Swaps|Significant swaps|Resolution.*", "agreement-of-orders"),
)


def anchor(heading: str) -> str | None:
    """Where docs/protocols.md explains a heading, None for one that needs no formula."""
    protocol = parsed(heading)
    if protocol is not None:
        return protocol.anchor
    return next((a for pattern, a in _ANCHORS if re.fullmatch(pattern, heading)), None)


def linked(heading: str) -> str:
    """A heading as a reference-style link, which stays readable in the raw page."""
    return f"[{heading}]" if anchor(heading) else heading


def definitions(page: str) -> str:
    """The targets of all linked headings on a page."""
    names = {name for name in re.findall(r"\| *\[([^\]|]+)\] *(?=\|)", page) if anchor(name)}
    return "\n".join(f"[{name}]: {PAGE}#{anchor(name)}" for name in sorted(names))
