"""The columns of a board, as a registry: a new column is one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recbole_ext.leaderboard.rows import Cell, Row, Section, places

MISSING = "–"
COMPARED = ("ndcg_pp@10", "hit_pp@10")
"""Per-positive metrics that are set beside full ranking."""


@dataclass(frozen=True)
class Column:
    """A heading and what stands under it."""

    heading: str
    text: Callable[[Row], str]
    numeric: bool = True
    priority: int = 0
    """Where a terminal is too narrow, columns with larger numbers go first; 0 stays."""


def show(cell: Cell | None) -> str:
    """`0.1234 ±0.0012`, with several seeds `0.1234 ±0.0012 (sd 0.0003)`."""
    if cell is None:
        return MISSING
    seeds = f" (sd {cell.seed_sd:.4f})" if cell.seed_sd is not None else ""
    return f"{cell.mean:.4f} ±{cell.half:.4f}{seeds}"


def _metric(name: str, heading: str, priority: int = 0) -> Column:
    return Column(heading, lambda row: show(row.cell("full", name)), priority=priority)


def _cost(key: str, heading: str, digits: int, priority: int) -> Column:
    def text(row: Row) -> str:
        value = row.cost(key)
        return MISSING if value is None else f"{value:.{digits}f}"

    return Column(heading, text, priority=priority)


def _tuning(row: Row) -> str:
    if row.points is not None:
        return f"{row.points} points"
    return "untuned" if row.first.params else "no parameters"


def _tuning_seconds(row: Row) -> str:
    seconds = [r.tuning["seconds"] for r in row.records if r.tuning is not None]
    return f"{sum(seconds) / len(seconds):.1f}" if seconds else MISSING


MAIN: tuple[Column, ...] = (
    Column("Model", lambda row: row.label, numeric=False),
    _metric("recall@10", "Recall@10", 5),
    _metric("recall@20", "Recall@20"),
    _metric("ndcg@10", "NDCG@10", 4),
    _metric("ndcg@20", "NDCG@20"),
    Column("Tuning", _tuning, numeric=False),
    Column("Seeds", lambda row: str(len(row.records)), priority=6),
    Column("Tune s", _tuning_seconds, priority=3),
    _cost("fit_seconds", "Fit s", 1, 2),
    _cost("evaluate_seconds", "Eval s", 1, 8),
    _cost("peak_memory_mb", "Peak MB", 0, 7),
)


def beside_full(section: Section, metric: str) -> tuple[Column, ...]:
    """Full ranking, then each sampled protocol with its place and by how much it flatters a row."""
    full_places = _places(section, "full", metric)
    columns = [
        Column("Model", lambda row: row.label, numeric=False),
        Column(
            "full", lambda row: _placed(row.cell("full", metric), full_places[row.label], False)
        ),
    ]
    for protocol in section.sampled:
        here = _places(section, protocol, metric)

        def text(row: Row, protocol: str = protocol, here: dict[str, int | None] = here) -> str:
            found = _placed(row.cell(protocol, metric), here[row.label], True)
            return f"{found} {_change(full_places[row.label], here[row.label])}".rstrip()

        columns.append(Column(protocol, text))
    return tuple(columns)


def _places(section: Section, protocol: str, metric: str) -> dict[str, int | None]:
    cells = [row.cell(protocol, metric) for row in section.rows]
    found = places([None if cell is None else cell.mean for cell in cells])
    return {row.label: place for row, place in zip(section.rows, found, strict=True)}


def _placed(cell: Cell | None, place: int | None, sampled: bool) -> str:
    if cell is None:
        return MISSING
    draws = f" ±{cell.draw_sd:.4f}" if sampled and cell.draw_sd is not None else ""
    return f"{cell.mean:.4f}{draws} #{place}"


def _change(full: int | None, here: int | None) -> str:
    if full is None or here is None:
        return ""
    return "=" if full == here else f"{full - here:+d}"
