"""The columns of a board, as a registry: a new column is one entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from recbole_ext.evaluator.findings import Corrected
from recbole_ext.leaderboard.analysis import Analysis, Tested, Verdicts, row_ids
from recbole_ext.leaderboard.beside import Standing, standings
from recbole_ext.leaderboard.rows import DECIMALS, Cell, Row, Section

MISSING = "–"


class Bold(str):
    """Text that stands out where there is a way to."""


Parts = tuple[str, ...]
"""The text of a cell in pieces that stand below one another, e.g. `0.1234` and `±0.0012`."""


@dataclass(frozen=True)
class Column:
    """A heading and what stands under it."""

    key: str
    heading: str
    value: Callable[[Row], Any]
    """None where the row has none: shown as a dash."""
    show: Callable[[Any], Parts] = lambda value: (str(value),)
    numeric: bool = True
    priority: int = 0
    """Where a terminal is too narrow, columns with larger numbers go first; 0 stays."""

    def parts(self, row: Row) -> Parts:
        value = self.value(row)
        return (MISSING,) if value is None else self.show(value)


def _interval(cell: Cell) -> Parts:
    seeds = f"(sd {cell.seed_sd:.4f})" if cell.seed_sd is not None else ""
    half = "" if cell.half is None else f"±{cell.half:.4f}"
    return f"{cell.mean:.4f}", half, seeds


def _metric(name: str, heading: str, priority: int, section: Section, found: Verdicts) -> Column:
    letters = {row.label: section.letter(row) for row in section.rows}

    def value(row: Row) -> tuple[Cell, list[str]] | None:
        cell = row.cell("full", name)
        tested = found.get((row.label, name), {})
        beaten = [other for other, result in tested.items() if result.wins]
        return None if cell is None else (cell, beaten)

    def show(shown: tuple[Cell, list[str]]) -> Parts:
        cell, beaten = shown
        mean, *rest = _interval(cell)
        wins = ">" + ",".join(sorted(letters[other] for other in beaten)) if beaten else ""
        # Bold only what is better than every other row, and by more than noise.
        best = beaten and len(beaten) == len(section.rows) - 1
        return (Bold(mean) if best else mean, *rest, wins)

    return Column(name, heading, value, show, priority=priority)


def _fixed(digits: int) -> Callable[[Any], Parts]:
    return lambda value: (f"{value:.{digits}f}",)


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None


def _cost(key: str, heading: str, digits: int, priority: int) -> Column:
    def value(row: Row) -> float | None:
        return _mean(r.cost.get(key) for r in row.records)

    return Column(key, heading, value, _fixed(digits), priority=priority)


def _tuning(row: Row) -> str:
    if row.points is not None:
        return f"{row.points} points"
    return "untuned" if row.first.params else "no parameters"


def _tune_seconds(row: Row) -> float | None:
    return _mean(r.tuning["seconds"] for r in row.records if r.tuning)


def _marks(row: Row) -> str:
    return "".join(f"[{number}]" for number in row.marks) or "none"


MODEL = Column("model", "Model", lambda row: row.label, numeric=False)


def main_columns(section: Section, found: Verdicts) -> tuple[Column, ...]:
    """The first table of a section; `found` puts letters beside significant wins."""
    letters = (Column("row", "Row", section.letter, numeric=False),) if found else ()
    return (
        *letters,
        MODEL,
        Column("rank", "Rank", lambda row: row.place, priority=3),
        _metric("recall@10", "Recall@10", 6, section, found),
        _metric("recall@20", "Recall@20", 2, section, found),
        _metric("ndcg@10", "NDCG@10", 5, section, found),
        _metric("ndcg@20", "NDCG@20", 0, section, found),
        Column("tuning", "Tuning", _tuning, numeric=False, priority=1),
        Column("seeds", "Seeds", lambda row: len(row.records), priority=8),
        Column("tune_seconds", "Tune s", _tune_seconds, _fixed(1), priority=7),
        _cost("fit_seconds", "Fit s", 1, 4),
        _cost("evaluate_seconds", "Eval s", 1, 10),
        _cost("peak_memory_mb", "Peak MB", 0, 9),
        Column("flags", "Flags", _marks, numeric=False, priority=11),
    )


def difference_columns(section: Section, found: Verdicts) -> tuple[Column, ...]:
    """The first row's lead over each other row, with its interval, effect size and adjusted p-value."""
    first = section.rows[0].label

    def lead(metric: str, heading: str) -> Column:
        def value(row: Row) -> Tested | None:
            return found.get((first, metric), {}).get(row.label)

        return Column(metric, heading, value, _tested)

    return (MODEL, lead("recall@20", "Recall@20"), lead("ndcg@20", "NDCG@20"))


def _tested(result: Tested) -> Parts:
    paired = result.paired
    p = f"p {result.p:.4f}" if result.p >= 0.0001 else "p <0.0001"
    return (
        f"{paired.difference:+.4f}",
        f"[{paired.low:+.4f}, {paired.high:+.4f}]",
        f"d {paired.effect:+.2f}",
        p,
    )


def beside_full(section: Section, metric: str) -> tuple[Column, ...]:
    """Full ranking, then each sampled protocol with its place and by how much it flatters a row."""
    drawn_last = sorted(section.sampled, key=lambda name: not name.startswith("expected"))
    protocols = ["full", *section.sampled]
    columns = []
    for protocol in protocols:
        found = standings(section, protocol, metric)

        def value(row: Row, found: dict[str, Standing] = found) -> Standing | None:
            return found[row.label] if found[row.label].cell else None

        show = _place if protocol == "full" else _change
        # A closed form has a drawn twin that says the same: it goes first where room is short.
        priority = 0 if protocol == "full" else len(protocols) - drawn_last.index(protocol)
        columns.append(Column(protocol, protocol, value, show, priority=priority))
    return (MODEL, *columns)


ESTIMATORS = {
    "naive": "naive",
    "plug_in": "plug-in",
    "bv": "BV(0.1)",
    "mle": "MLE",
    "bv_mle": "BV-MLE",
}
"""Field of `Corrected` -> heading, from what a sampled paper prints to what knows most."""


def estimates(
    section: Section, known: Analysis, protocol: str, metric: str
) -> dict[str, dict[str, float]]:
    """`full` and each estimator -> label -> value, of the rows that have all of them."""
    out: dict[str, dict[str, float]] = {name: {} for name in ("full", *ESTIMATORS)}
    for row in section.rows:
        cell, found = (
            row.cell("full", metric),
            known.corrected.get((row_ids(row), protocol, metric)),
        )
        if cell is None or found is None:
            continue
        out["full"][row.label] = cell.compared
        for name in ESTIMATORS:
            out[name][row.label] = round(getattr(found, name), DECIMALS)
    return out


def corrected_columns(
    section: Section, known: Analysis, protocol: str, metric: str
) -> tuple[Column, ...]:
    """Full ranking, then each estimate of it from one drawn protocol with its place, then what sampling leaves open."""

    def column(name: str, heading: str, values: dict[str, float]) -> Column:
        def value(row: Row) -> tuple[float, int] | None:
            own = values.get(row.label)
            return None if own is None else (own, 1 + sum(other > own for other in values.values()))

        return Column(name, heading, value, lambda shown: (f"{shown[0]:.4f}", f"#{shown[1]}"))

    def interval(row: Row) -> Corrected | None:
        return known.corrected.get((row_ids(row), protocol, metric))

    found = estimates(section, known, protocol, metric)
    return (
        MODEL,
        *(column(name, ESTIMATORS.get(name, name), values) for name, values in found.items()),
        Column("open", "identified", interval, lambda c: (f"[{c.low:.4f}, {c.high:.4f}]",)),
    )


def _place(standing: Standing) -> Parts:
    assert standing.cell is not None
    return f"{standing.cell.mean:.4f}", f"#{standing.place or MISSING}"


def _change(standing: Standing) -> Parts:
    assert standing.cell is not None
    draws = f"±{standing.cell.draw_sd:.4f}" if standing.cell.draw_sd is not None else ""
    change = MISSING if standing.change is None else f"{standing.change:+d}"
    return (
        f"{standing.cell.mean:.4f}",
        draws,
        f"#{standing.place or MISSING}",
        "=" if standing.change == 0 else change,
    )
