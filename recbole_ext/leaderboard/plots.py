"""Plots of a board as SVG: full against sampled places, and quality against cost. The same bytes for the same records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recbole_ext.core.plotting import STYLE, svg
from recbole_ext.evaluator.metrics import heading_of
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.agreement import ESTIMATORS, estimates
from recbole_ext.leaderboard.analysis import Analysis
from recbole_ext.leaderboard.labels import safe
from recbole_ext.leaderboard.rows import Row, Section, cell_places, places
from recbole_ext.leaderboard.standings import COMPARED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_NAME = 22
_PANEL_WIDTH = 5.0
_BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False}
"""A legend at the right of its panel, where it covers no line."""


def plots_of(section: Section) -> dict[str, str]:
    """File name -> what it shows, for a section that has something to show."""
    if len(section.rows) < 2:
        return {}
    name = f"{safe(section.first.experiment['dataset']['name'])}-{section.problem[:6]}"
    found = {}
    if any(row.cell(p, COMPARED[0]) is not None for p in section.sampled for row in section.rows):
        found[f"{name}-places.svg"] = "Places under full ranking, sampled protocols and estimates"
    if sum(_seconds(row) is not None for row in section.rows) > 1:
        found[f"{name}-cost.svg"] = "NDCG@20 against seconds of tuning and training"
    if any(len(_best_so_far(row)) > 1 for row in section.rows):
        found[f"{name}-tuning.svg"] = "Best validation score so far over the trials of tuning"
    return found


def draw(section: Section, known: Analysis) -> dict[str, str]:
    """File name -> SVG."""
    makers = {"places": _places_plot, "cost": _cost_plot, "tuning": _tuning_plot}
    return {
        name: makers[name.removesuffix(".svg").rpartition("-")[2]](section, known)
        for name in plots_of(section)
    }


def _name(section: Section, row: Row) -> str:
    """A row's label, or its model and letter where that is too long for a picture."""
    if len(row.label) <= _LONGEST_NAME:
        return row.label
    return f"{row.model}, row {section.letter(row)}"


def _looks(section: Section) -> dict[str, dict[str, Any]]:
    """Colour and marker by the rows' names: ten strong colours, their ten light ones, then again as squares and triangles."""
    from matplotlib import colormaps

    strong_first = [*range(0, 20, 2), *range(1, 20, 2)]
    return {
        _name(section, row): {
            "color": colormaps["tab20"](strong_first[i % 20]),
            "marker": "os^"[i // 20 % 3],
        }
        for i, row in enumerate(section.rows)
    }


def _places_plot(section: Section, known: Analysis) -> str:
    """A panel per metric and drawn protocol: places under full ranking, as sampled, and as estimated."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels: list[tuple[str, list[str], dict[str, list[int | None]]]] = []
    for metric in COMPARED:
        naive = [p for p in section.sampled if protocol_of(p).drawn]
        naive = [p for p in naive if any(row.cell(p, metric) is not None for row in section.rows)]
        by_protocol = {p: _cell_places(section, p, metric) for p in ("full", *naive)}
        panels.append(
            (f"{heading_of(metric)}: as sampled", ["full", *naive], _lines(section, by_protocol))
        )
        for protocol in naive:
            values = estimates(section, known, protocol, metric)
            if not values["full"]:
                continue
            by_estimate = {name: _value_places(section, of) for name, of in values.items()}
            names = ["full", *ESTIMATORS.values()]
            panels.append(
                (
                    f"{heading_of(metric)}: estimated from {protocol}",
                    names,
                    _lines(section, by_estimate),
                )
            )
    width = max(2, len(panels) // len(COMPARED))
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(_PANEL_WIDTH * width, (1.2 + 0.3 * len(section.rows)) * len(COMPARED)),
            layout="constrained",
        )
        axes, looks = figure.subplots(len(COMPARED), width, squeeze=False), _looks(section)
        for axis, (title, names, lines) in zip(axes.ravel(), panels, strict=False):
            _bump(axis, title, names, lines, looks)
        for axis in axes.ravel()[len(panels) :]:
            axis.set_visible(False)
        return svg(figure)


def _lines(
    section: Section, columns: dict[str, dict[str, int | None]]
) -> dict[str, list[int | None]]:
    return {
        _name(section, row): [found[row.label] for found in columns.values()]
        for row in section.rows
    }


def _cell_places(section: Section, protocol: str, metric: str) -> dict[str, int | None]:
    cells = [row.cell(protocol, metric) for row in section.rows]
    return dict(zip([r.label for r in section.rows], cell_places(cells), strict=True))


def _value_places(section: Section, values: dict[str, float]) -> dict[str, int | None]:
    labels = [row.label for row in section.rows]
    found = places([values.get(label) for label in labels])
    return dict(zip(labels, found, strict=True))


def _bump(
    axis: Axes,
    title: str,
    names: Sequence[str],
    lines: dict[str, list[int | None]],
    looks: dict[str, dict[str, Any]],
) -> None:
    for label, line in lines.items():
        points = [(x, place) for x, place in enumerate(line) if place is not None]
        if not points:
            continue
        axis.plot(*zip(*points, strict=True), **looks[label], linewidth=2)
        axis.annotate(
            f"{label} ", points[0], ha="right", va="center", xytext=(-7, 0),
            textcoords="offset points", color=looks[label]["color"],
        )  # fmt: skip
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xticks(range(len(names)), names)
    # Room for the longest name, in inches of the panel's.
    room, right = 0.2 + 0.066 * max(map(len, lines), default=0), len(names) - 0.7
    axis.set_xlim(-right * room / (_PANEL_WIDTH - 0.5 - room), right)
    axis.set_ylim(len(lines) + 0.5, 0.5)
    axis.set_yticks(range(1, len(lines) + 1))
    axis.spines["bottom"].set_visible(False)
    axis.tick_params(length=0)


def _seconds(row: Row) -> float | None:
    """Tuning and the mean fit of a row."""
    fits = [r.cost["fit_seconds"] for r in row.records if r.cost.get("fit_seconds") is not None]
    if len(fits) < len(row.records):
        return None
    tuning = row.first.tuning
    return float(sum(fits) / len(fits)) + (float(tuning["seconds"]) if tuning else 0.0)


def _cost_plot(section: Section, known: Analysis) -> str:
    import matplotlib as mpl

    found = [(row, row.cell("full", "ndcg@20"), _seconds(row)) for row in section.rows]
    shown = [(row, cell, t) for row, cell, t in found if cell is not None and t is not None]
    looks = _looks(section)
    with mpl.rc_context(STYLE):
        figure, axis = _panel(len(shown))
        for row, cell, seconds in shown:
            name, half = _name(section, row), cell.half or 0.0
            axis.errorbar(
                seconds, cell.mean, yerr=half, **looks[name], linestyle="", capsize=3, label=name
            )
        axis.legend(**_BESIDE)
        axis.set_xscale("log")
        axis.margins(x=0.15, y=0.1)
        axis.set_xlabel("seconds of tuning and of one training, log scale")
        axis.set_ylabel("NDCG@20, full ranking")
        return svg(figure)


def _panel(rows: int) -> tuple[Figure, Axes]:
    """A figure of one panel, with room at its right for a legend of so many rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, max(4.0, 0.24 * rows)), layout="constrained")
    return figure, figure.subplots()


def _best_so_far(row: Row) -> list[float]:
    """The best validation score after each trial; failed trials count and change nothing."""
    best, out = -float("inf"), []
    for trial in (row.first.tuning or {}).get("trials", ()):
        best = max(best, trial.get("value", best))
        out.append(best)
    return [value for value in out if value > -float("inf")]


def _tuning_plot(section: Section, known: Analysis) -> str:
    import matplotlib as mpl

    tuned = {_name(section, row): _best_so_far(row) for row in section.rows}
    tuned = {name: values for name, values in tuned.items() if len(values) > 1}
    read = sorted({r.experiment["valid_metric"] for r in section.records if r.tuning})
    looks = _looks(section)
    with mpl.rc_context(STYLE):
        figure, axis = _panel(len(tuned))
        for name, values in tuned.items():
            x = range(1, len(values) + 1)
            axis.step(
                x, values, where="post", **looks[name], markevery=[-1], linewidth=2, label=name
            )
        axis.legend(**_BESIDE)
        axis.set_xscale("log")
        axis.set_xlabel("trials, log scale")
        axis.set_ylabel(f"best {' or '.join(read)} on validation so far")
        return svg(figure)
