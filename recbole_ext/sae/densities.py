"""The paper's figure 3: how entropy decrease and divergence are spread, over neurons and over concepts, for several systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.core.plotting import STYLE, svg
from recbole_ext.sae.monosemanticity import Monosemanticity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 200
_LOOKS = ("-", "--", "-.", ":")
_HIGHEST = 6.0
"""Times the flattest curve's peak, that a panel is high: raw coordinates are so alike that their spike would hide all else."""
_PANELS = (
    ("neurons", "decrease", "Neurons to concepts", "Entropy decrease"),
    ("concepts", "decrease", "Concepts to neurons", "Entropy decrease"),
    ("neurons", "divergence", "Neurons to concepts", "KL divergence (nats)"),
    ("concepts", "divergence", "Concepts to neurons", "KL divergence (nats)"),
)


def densities(systems: Mapping[str, Monosemanticity], title: str = "") -> str:
    """An SVG of four panels with a curve for each system, by name. The two of one measure share their axes, and what is more
    than `_HIGHEST` times as high as the flattest curve runs out at the top."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 2.9), layout="constrained")
        panels: list[Any] = list(figure.subplots(1, len(_PANELS)))
        peaks: dict[str, list[float]] = {what: [] for _, what, _, _ in _PANELS}
        for panel, (rows, what, heading, label) in zip(panels, _PANELS, strict=True):
            for place, (name, system) in enumerate(systems.items()):
                values = getattr(getattr(system, rows), what)
                look = {"color": f"C{place % 10}", "linestyle": _LOOKS[place % len(_LOOKS)]}
                peaks[what].extend(_curve(panel, values, name, look))
            panel.set_title(heading, fontsize=9)
            panel.set_xlabel(label)
        for pair, heights in zip((panels[:2], panels[2:]), peaks.values(), strict=True):
            _share(pair[0], pair[1], heights)
        panels[0].set_ylabel("Density")
        panels[0].xaxis.set_major_formatter("{x:.0%}")
        panels[1].xaxis.set_major_formatter("{x:.0%}")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=max(1, len(names)), frameon=False
        )
        if title:
            figure.suptitle(title, fontsize=9)
        return svg(figure)


def _curve(axis: Axes, values: Floats, name: str, look: dict[str, Any]) -> list[float]:
    """Draws a Gaussian kernel density (Scott's width) from the least value to the largest, as the authors cut it, and returns
    its peak; without one, and with a line at the value, where all are the same."""
    from scipy.stats import gaussian_kde

    if len(values) < 2 or np.ptp(values) < 1e-9:
        axis.plot([], [], label=name, **look)  # in the legend, be there rows or not
        if len(values):
            axis.axvline(float(values[0]), **look)
        return []
    x = np.linspace(values.min(), values.max(), _POINTS)
    y = gaussian_kde(values)(x)
    axis.plot(x, y, linewidth=1.2, label=name, **look)
    axis.fill_between(x, y, color=look["color"], alpha=0.1, linewidth=0)
    return [float(y.max())]


def _share(left: Axes, right: Axes, peaks: list[float]) -> None:
    """The same limits for both, from 0 up in height."""
    low = min(left.get_xlim()[0], right.get_xlim()[0])
    high = max(left.get_xlim()[1], right.get_xlim()[1])
    top = 1.05 * min(max(peaks), _HIGHEST * min(peaks)) if peaks else 1.0
    for axis in (left, right):
        axis.set_xlim(low, high)
        axis.set_ylim(0.0, top)
