"""SVG by hand: text stays text, the same bytes for the same numbers, and a page of pictures costs milliseconds.

Three kinds of picture with labels beside their lines are all that a board draws; a plotting library needs half a second for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

COLOURS = (
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#003f5c", "#7f2704",
    "#00441b",
)  # fmt: skip
"""One for each line that has a colour, none used twice; readable on white and, with the white ground, in the dark."""
GREY = "#b5b5b5"
"""Of the lines that have none."""
_LINE = 14.0
"""Pixels between two labels."""


def number(value: float) -> str:
    """A coordinate: a tenth of a pixel is fine enough."""
    return f"{value:.1f}".removesuffix(".0")


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """A picture on white, with a title for those who do not see it."""
    size = f'width="{number(width)}" height="{number(height)}" viewBox="0 0 {number(width)} {number(height)}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(clean(title))} '
        'font-family="sans-serif" font-size="11">'
    )
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return (
        "\n".join([head, f"<title>{escape(clean(title))}</title>", ground, *parts, "</svg>"]) + "\n"
    )


def clean(text: str) -> str:
    """Without what XML has no place for."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def text(
    x: float,
    y: float,
    content: str,
    colour: str = "#222",
    anchor: str = "start",
    turned: bool = False,
) -> str:
    """Text that ends, begins or is centred at a point."""
    turn = f' transform="rotate(-90 {number(x)} {number(y)})"' if turned else ""
    return (
        f'<text x="{number(x)}" y="{number(y)}" fill="{colour}" text-anchor="{anchor}"{turn}>'
        f"{escape(clean(content))}</text>"
    )


def line(points: Sequence[tuple[float, float]], colour: str, width: float = 1.0) -> str:
    at = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    return f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="{number(width)}"/>'


def dot(x: float, y: float, colour: str, told: str) -> str:
    """A point that says what it is under the pointer."""
    return (
        f'<circle cx="{number(x)}" cy="{number(y)}" r="3.5" fill="{colour}">'
        f"<title>{escape(clean(told))}</title></circle>"
    )


def spread(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """Heights of labels near those wanted, none over another, in the order of the wanted ones."""
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    gap = min(_LINE, (high - low) / max(1, len(wanted) - 1))
    placed: dict[int, float] = {}
    at = low - gap
    for i in order:
        at = max(at + gap, min(wanted[i], high))
        placed[i] = at
    edge = high + gap
    for i in reversed(order):  # what ran over the edge is pushed back
        edge = placed[i] = min(placed[i], edge - gap)
    return [placed[i] for i in range(len(wanted))]


def ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers between two."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(s for s in (step / 5, step / 2, step, step * 2) if (high - low) / s <= 8)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten around two positive numbers."""
    return [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
