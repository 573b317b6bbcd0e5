"""Figures as SVG: the same bytes for the same numbers."""

from __future__ import annotations

import io
from typing import Any

STYLE: Any = {
    "svg.hashsalt": "recbole_ext",  # else ids are random
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
"""For `matplotlib.rc_context`."""


def svg(figure: Any) -> str:
    """A figure's text, without a date."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
