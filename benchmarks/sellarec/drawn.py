"""The pictures of figures 5 to 8, from lines of their tables; that of figure 6 from points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.sellarec.embeddings import BIN, Matrix
from benchmarks.sellarec.runs import Line
from recbole_ext.core.plotting import STYLE, svg
from recbole_ext.evaluator.metrics import COLD, SEEN, WARM
from recbole_ext.leaderboard import drawing

_MARKS = {WARM: ("o", "tab:red"), SEEN: ("s", "tab:orange"), COLD: ("D", "tab:blue")}
_ABOVE: Any = {"loc": "outside upper center", "ncols": 3, "frameon": False, "fontsize": 8}
"""Of a legend: over no point."""
_COLLAB, _SEMANTIC = "#ff7f0e", "#1f77b4"
_SIDE, _GAP, _TOP = 280.0, 16.0, 40.0
"""Pixels of a panel of figure 6, between two, and above them."""


def warm_and_cold(lines: Sequence[Line]) -> str:
    """Figure 5: AUC and UAUC of each model on each part, means over seeds, the best by AUC of rows both seen on top."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    values: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        for metric in ("auc", "uauc"):
            if line[metric]:
                values[line["model"]][line["part"], metric].append(float(line[metric]))

    def height(model: str) -> float:
        return float(np.mean(values[model].get((SEEN, "auc"), [0.0])))

    order = sorted(values, key=height)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 1.0 + 0.24 * len(order)), layout="constrained")
        for axis, metric in zip(figure.subplots(1, 2, sharey=True), ("auc", "uauc"), strict=True):
            for part, (mark, colour) in _MARKS.items():
                shown = [
                    (float(np.mean(values[model][part, metric])), place)
                    for place, model in enumerate(order)
                    if (part, metric) in values[model]
                ]
                across = [(x for x, _ in shown), (y for _, y in shown)]
                axis.plot(*map(list, across), mark, color=colour, markersize=4, label=part)
            axis.axvline(0.5, color="0.8", linewidth=0.6)
            axis.grid(axis="y", color="0.92", linewidth=0.5)
            axis.set_yticks(range(len(order)), order)
            axis.set_xlabel(metric.upper())
        figure.legend(*figure.axes[0].get_legend_handles_labels(), **_ABOVE)
        return svg(figure)


def cosines(lines: Sequence[Line]) -> str:
    """Figure 7: the distribution of both cosines, a panel for each run."""
    panels = _panels(lines)
    figure, axes, style = _figure(len(panels), height=2.6)
    with style:
        for axis, (title, own) in zip(axes, panels.items(), strict=True):
            for pair, colour in (("own", "tab:red"), ("random", "0.5")):
                found = {float(o["low"]): int(o["count"]) for o in own if o["pair"] == pair}
                total = sum(found.values())
                edges = np.arange(round(-1 / BIN), round(1 / BIN) + 1) * BIN
                shares = [found.get(round(float(at), 2), 0) / total for at in edges[:-1]]
                label = "one item" if pair == "own" else "two items"
                axis.stairs(shares, edges, color=colour, fill=pair == "random", alpha=0.5 if pair == "random" else 1.0, label=label)  # fmt: skip
            axis.set_title(title, fontsize=7)
        figure.supxlabel("cosine of Proj(E^C) and E^L", fontsize=8)
        figure.supylabel("share of items", fontsize=8)
        figure.legend(*axes[0].get_legend_handles_labels(), **_ABOVE)
        return svg(figure)


def attention(lines: Sequence[Line]) -> str:
    """Figure 8: a panel for each run and layer; a bar for each token and part, a line at what an even share would be."""
    panels: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        panels[f"{line['backbone']}, layer {line['layer']}\n{line['what']}"].append(line)
    figure, axes, style = _figure(len(panels), height=2.8)
    with style:
        for axis, (title, own) in zip(axes, panels.items(), strict=True):
            tokens = list(dict.fromkeys(line["token"] for line in own))
            for at, part in enumerate((WARM, COLD)):
                bars = [line for line in own if line["part"] == part]
                places = [tokens.index(line["token"]) + 0.38 * (at - 0.5) for line in bars]
                axis.bar(places, [float(line["mean"]) for line in bars], 0.36, color=_MARKS[part][1], label=part)  # fmt: skip
            even = float(np.mean([float(line["even"]) for line in own]))
            axis.axhline(even, color="0.3", linewidth=0.8, linestyle=":", label="even share")
            axis.set_xticks(range(len(tokens)), tokens)
            axis.set_title(title, fontsize=7)
        figure.supylabel("attention, mean over heads", fontsize=8)
        figure.legend(*axes[0].get_legend_handles_labels(), **_ABOVE)
        return svg(figure)


def _panels(lines: Sequence[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        found[f"{line['backbone']}\n{line['what']}"].append(line)
    return dict(found)


def _figure(panels: int, height: float) -> tuple[Any, list[Any], Any]:
    """(Figure, its axes in four columns that share their scales, the style in which it is drawn)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = mpl.rc_context(STYLE)
    columns = min(4, panels)
    rows = -(-panels // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * columns + 0.4, height * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel())
    for axis in axes[panels:]:
        axis.set_axis_off()
    return figure, axes[:panels], style


def embeddings(panels: Mapping[str, Matrix]) -> str:
    """Figure 6: title -> [2m, 2] points, Proj(e_i) before e_i^L. No point says which item it is.

    A point is three characters of a path beside its place: as elements of their own 6,000 would be half a megabyte.
    """
    parts = [
        drawing.text(_GAP, 15, "● Proj(E^C)", _COLLAB),
        drawing.text(_GAP + 90, 15, "● E^L", _SEMANTIC),
    ]
    for number, (title, points) in enumerate(panels.items()):
        left = _GAP + number * (_SIDE + _GAP)
        low, high = points.min(0), points.max(0)
        scaled = (points - low) / np.where(high > low, high - low, 1.0) * _SIDE
        placed = np.rint(scaled + np.array([left, _TOP])).astype(int)
        half = len(points) // 2
        parts.append(drawing.text(left, _TOP - 8, title))
        parts.append(_dots(placed[:half], _COLLAB))
        parts.append(_dots(placed[half:], _SEMANTIC))
    width = _GAP + len(panels) * (_SIDE + _GAP)
    return drawing.svg(width, _TOP + _SIDE + _GAP, "t-SNE of both vectors of the items", parts)


def _dots(places: Any, colour: str) -> str:
    path = "".join(f"M{x} {y}h0" for x, y in places)
    return f'<path d="{path}" stroke="{colour}" stroke-width="3" stroke-linecap="round" stroke-opacity=".45" fill="none"/>'
