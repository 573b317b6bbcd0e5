"""Pictures of a group's models as SVG: full against sampled places, quality against cost, and tuning. At most twelve models have a
colour, each its own, and a label at its line; the rest are grey."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from recbole_ext.evaluator.metrics import heading_of
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard import drawing
from recbole_ext.leaderboard.drawing import COLOURS, GREY, number
from recbole_ext.leaderboard.groups import Group
from recbole_ext.leaderboard.rows import Row, Section, cell_places, trailing_number
from recbole_ext.leaderboard.standings import COMPARED

_LONGEST_NAME = 26
_WIDTH, _HEIGHT = 640.0, 360.0
_LEFT, _TOP, _BOTTOM = 64.0, 16.0, 40.0
_LABELS = 180.0
"""Room for labels at the right of a picture."""


def plots_of(group: Group) -> dict[str, str]:
    """File name -> what it shows, for a group that has something to show."""
    main = group.main
    if main is None or len(main.rows) < 2:
        return {}
    name = f"{group.page}-{group.reference.problem[:6]}"
    found = {}
    if len(_orders(main)) > 1:
        found[f"{name}-places.svg"] = "Places under full ranking and sampled protocols"
    if sum(seconds(row) is not None for row in main.rows) > 1:
        found[f"{name}-cost.svg"] = "NDCG@20 against seconds of tuning and training"
    if any(len(best_so_far(row)) > 1 for row in main.rows):
        found[f"{name}-tuning.svg"] = "Best validation score so far over the trials of tuning"
    return found


def draw(group: Group) -> dict[str, str]:
    """File name -> SVG."""
    makers = {"places": _places_plot, "cost": _cost_plot, "tuning": _tuning_plot}
    out = {}
    for name, what in plots_of(group).items():
        assert group.main is not None
        kind = name.removesuffix(".svg").rpartition("-")[2]
        out[name] = makers[kind](group.main, f"{what}: {group.title}")
    return out


def _name(row: Row) -> str:
    return row.model if len(row.model) <= _LONGEST_NAME else f"{row.model[: _LONGEST_NAME - 1]}…"


def _colours(rows: Sequence[Row]) -> dict[str, str]:
    """The first rows' own colours, by label: the same ones in each picture of a group."""
    return {row.label: COLOURS[i] if i < len(COLOURS) else GREY for i, row in enumerate(rows)}


def _orders(section: Section) -> list[str]:
    """Full ranking, then drawn protocols from many negatives to few, that rank more than one row."""
    drawn = [p for p in section.sampled if protocol_of(p).drawn and section.comparable(p)]
    drawn = [p for p in drawn if sum(r.cell(p, COMPARED[0]) is not None for r in section.rows) > 1]
    return ["full", *sorted(drawn, key=lambda p: (-trailing_number(p), p))]


def _places_plot(section: Section, title: str) -> str:
    """A line per model through its places, among the rows that have all of them."""
    orders, metric = _orders(section), COMPARED[0]
    rows = [r for r in section.rows if all(r.cell(p, metric) is not None for p in orders)]
    placed = {p: cell_places([row.cell(p, metric) for row in rows]) for p in orders}
    colours = _colours(section.rows)
    step, height = 130.0, _TOP + 22.0 * (len(rows) + 2)
    width = 2 * _LABELS + step * (len(orders) - 1)
    x = {p: _LABELS + step * i for i, p in enumerate(orders)}

    def y(place: float | None) -> float:
        return _TOP + 22.0 * ((place or 0.0) + 0.5)

    parts = [drawing.text(x[p], _TOP + 4, p, anchor="middle") for p in orders]
    parts.append(drawing.text(8, height - 8, f"places by {heading_of(metric)}", "#666"))
    # Coloured lines lie above grey ones.
    for row in sorted(rows, key=lambda row: colours[row.label] != GREY):
        i, colour = rows.index(row), colours[row.label]
        at = [(x[p], y(placed[p][i])) for p in orders]
        parts.append(drawing.line(at, colour, 2))
        for p, point in zip(orders, at, strict=True):
            cell = row.cell(p, metric)
            assert cell is not None
            parts.append(
                drawing.dot(*point, colour, f"{row.model}, {p}: {cell.mean:.4f}, #{placed[p][i]}")
            )
    for end, anchor, off in ((orders[0], "end", -8.0), (orders[-1], "start", 8.0)):
        heights = drawing.spread([y(place) for place in placed[end]], y(1), y(len(rows)))
        for row, place, at_y in zip(rows, placed[end], heights, strict=True):
            shown = colours[row.label] if colours[row.label] != GREY else "#777"
            words = f"{_name(row)} {place}" if anchor == "end" else f"{place} {_name(row)}"
            parts.append(drawing.text(x[end] + off, at_y + 4, words, shown, anchor))
    return drawing.svg(width, height, title, parts)


def seconds(row: Row) -> float | None:
    """Tuning and the mean fit of a row."""
    fits = [r.cost["fit_seconds"] for r in row.records if r.cost.get("fit_seconds") is not None]
    if len(fits) < len(row.records):
        return None
    tuning = row.first.tuning
    return float(sum(fits) / len(fits)) + (float(tuning["seconds"]) if tuning else 0.0)


def _cost_plot(section: Section, title: str) -> str:
    found = [(row, row.cell("full", "ndcg@20"), seconds(row)) for row in section.rows]
    shown = [(r, c.mean, c.half or 0.0, max(t, 1e-3)) for r, c, t in found if c is not None and t is not None]  # fmt: skip
    if not shown:
        return drawing.svg(_WIDTH, _HEIGHT, title, [])
    colours = _colours(section.rows)
    x = _log_scale([t for *_, t in shown])
    y = _scale([v for _, mean, half, _ in shown for v in (mean - half, mean + half)])
    parts = [
        *x.axis("seconds of tuning and of one training, log scale"),
        *y.axis("NDCG@20, full ranking"),
    ]
    ends = []
    for row, mean, half, t in reversed(shown):
        colour, told = colours[row.label], f"{row.model}: {mean:.4f} ±{half:.4f}, {t:.1f} s"
        parts.append(drawing.line([(x(t), y(mean - half)), (x(t), y(mean + half))], colour))
        parts.append(drawing.dot(x(t), y(mean), colour, told))
        ends.append((_name(row), colour, (x(t), y(mean))))
    return drawing.svg(_WIDTH + _LABELS, _HEIGHT, title, [*parts, *_labels(ends)])


def best_so_far(row: Row) -> list[float]:
    """The best validation score after each trial; failed trials count and change nothing."""
    best, out = -math.inf, []
    for trial in (row.first.tuning or {}).get("trials", ()):
        best = max(best, trial.get("value", best))
        out.append(best)
    return [value for value in out if value > -math.inf]


def _tuning_plot(section: Section, title: str) -> str:
    tuned = {row.label: best_so_far(row) for row in section.rows}
    rows = [row for row in section.rows if len(tuned[row.label]) > 1]
    read = sorted({r.experiment["valid_metric"] for row in rows for r in row.records})
    colours = _colours(section.rows)
    x = _log_scale([1.0, *(float(len(tuned[row.label])) for row in rows)])
    y = _scale([value for row in rows for value in tuned[row.label]])
    parts = [
        *x.axis("trials, log scale"),
        *y.axis(f"best {' or '.join(read)} on validation so far"),
    ]
    ends = []
    for row in reversed(rows):
        values, colour = tuned[row.label], colours[row.label]
        # Only where it rises does a curve need a point.
        at = [(1.0, values[0])]
        for trial, value in enumerate(values[1:], 2):
            if value != at[-1][1]:
                at += [(float(trial), at[-1][1]), (float(trial), value)]
        at.append((float(len(values)), values[-1]))
        points = [(x(trial), y(value)) for trial, value in at]
        parts += [drawing.line(points, colour, 2), drawing.dot(*points[-1], colour, row.model)]
        ends.append((_name(row), colour, points[-1]))
    return drawing.svg(_WIDTH + _LABELS, _HEIGHT, title, [*parts, *_labels(ends)])


def _labels(ends: Sequence[tuple[str, str, tuple[float, float]]]) -> list[str]:
    """Names at the right, each joined to its point; grey ones go without."""
    named = [end for end in ends if end[1] != GREY]
    heights = drawing.spread([y for *_, (_, y) in named], _TOP, _HEIGHT - _BOTTOM)
    parts = []
    for (name, colour, (x, y)), at in zip(named, heights, strict=True):
        joint = [(x + 5, y), (_WIDTH - 6, at)]
        parts.append(
            f'<path d="M{number(joint[0][0])} {number(joint[0][1])}L{number(joint[1][0])} {number(joint[1][1])}" '
            f'stroke="{colour}" stroke-width="0.5" stroke-dasharray="1 3"/>'
        )
        parts.append(drawing.text(_WIDTH, at + 4, name, colour))
    return parts


class _Axis:
    """Values to pixels, and the axis that says so."""

    def __init__(
        self, place: Callable[[float], float], marks: Mapping[float, str], upright: bool
    ) -> None:
        self.place, self.marks, self.upright = place, marks, upright

    def __call__(self, value: float) -> float:
        return self.place(value)

    def axis(self, heading: str) -> list[str]:
        right, low = _WIDTH - 12, _HEIGHT - _BOTTOM
        parts = []
        for value, told in self.marks.items():
            at = self(value)
            if self.upright:
                parts.append(drawing.line([(_LEFT, at), (right, at)], "#eee"))
                parts.append(drawing.text(_LEFT - 6, at + 4, told, "#666", "end"))
            else:
                parts.append(drawing.line([(at, _TOP), (at, low)], "#eee"))
                parts.append(drawing.text(at, low + 15, told, "#666", "middle"))
        if self.upright:
            return [*parts, drawing.text(14, (_TOP + low) / 2, heading, "#444", "middle", True)]
        return [*parts, drawing.text((_LEFT + right) / 2, _HEIGHT - 6, heading, "#444", "middle")]


def _scale(values: Sequence[float]) -> _Axis:
    """Upright, with a little room around the values."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = low - room, high + room
    bottom, top = _HEIGHT - _BOTTOM, _TOP

    def place(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    return _Axis(place, {t: f"{t:.4g}" for t in drawing.ticks(low, high)}, True)


def _log_scale(values: Sequence[float]) -> _Axis:
    low, high = math.log10(min(values)), math.log10(max(values))
    room = 0.06 * (high - low) or 0.5
    low, high = low - room, high + room
    left, right = _LEFT, _WIDTH - 12

    def place(value: float) -> float:
        return left + (math.log10(value) - low) / (high - low) * (right - left)

    marks = [t for t in drawing.decades(min(values), max(values)) if low <= math.log10(t) <= high]
    return _Axis(place, {t: f"{t:g}" for t in marks}, False)
