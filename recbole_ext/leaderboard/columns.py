"""The columns of a board, as a registry: a new column is one entry."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Generic, TypeVar

from recbole_ext.evaluator.findings import Corrected
from recbole_ext.evaluator.metrics import PARTS, POINTWISE, PointwiseMetric, heading_of
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.agreement import ESTIMATORS, Agreement, estimates
from recbole_ext.leaderboard.analysis import Analysis, Tested, Verdicts
from recbole_ext.leaderboard.rows import Cell, Row, Section, places
from recbole_ext.leaderboard.standings import Standing, standings
from recbole_ext.results import ResultRecord

MISSING = "–"


class Bold(str):
    """Text that stands out where there is a way to."""


Parts = tuple[str, ...]
"""The text of a cell in pieces that stand below one another, e.g. `0.1234` and `±0.0012`."""


T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """A heading and what stands under it, for rows of any kind T."""

    key: str
    heading: str
    value: Callable[[T], Any]
    """None where the row has none: shown as a dash."""
    show: Callable[[Any], Parts] = lambda value: (str(value),)
    numeric: bool = True
    priority: int = 0
    """Where a terminal is too narrow, columns with larger numbers go first; 0 stays."""

    def parts(self, row: T) -> Parts:
        value = self.value(row)
        return (MISSING,) if value is None else self.show(value)


def _interval(cell: Cell) -> Parts:
    seeds = f"(sd {cell.seed_sd:.4f})" if cell.seed_sd is not None else ""
    half = "" if cell.half is None else f"±{cell.half:.4f}"
    return f"{cell.mean:.4f}", half, seeds


def _metric(name: str, priority: int, section: Section, found: Verdicts) -> Column[Row]:
    letters = {row.label: section.letter(row) for row in section.rows}

    def value(row: Row) -> tuple[Cell, list[str]] | None:
        cell = row.cell("full", name)
        tested = found.get((row.label, name), {})
        beaten = [other for other, result in tested.items() if result.wins]
        return None if cell is None else (cell, beaten)

    def show(shown: tuple[Cell, list[str]]) -> Parts:
        cell, beaten = shown
        mean, *rest = _interval(cell)
        wins = ">" + runs(letters, beaten) if beaten else ""
        # Bold only what is better than every other row, and by more than noise.
        best = beaten and len(beaten) == len(section.rows) - 1
        return (Bold(mean) if best else mean, *rest, wins)

    return Column(name, heading_of(name), value, show, priority=priority)


def runs(letters: Mapping[str, str], labels: Collection[str]) -> str:
    """Letters of some rows: `b,d-f`. `letters` has all rows in their order."""
    found: list[str] = []
    for inside, group in itertools.groupby(letters, lambda label: label in labels):
        run = [letters[label] for label in group]
        if inside:
            found += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else run
    return ",".join(found)


def _fixed(digits: int) -> Callable[[Any], Parts]:
    return lambda value: (f"{value:.{digits}f}",)


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None


def _cost(key: str, heading: str, digits: int, priority: int) -> Column[Row]:
    def value(row: Row) -> float | None:
        return _mean(r.cost.get(key) for r in row.records)

    return Column(key, heading, value, _fixed(digits), priority=priority)


def _tuning(row: Row) -> str:
    if row.points is not None:
        return f"{row.points} points"
    if "run_file" in row.first.fingerprints:
        return "run file"
    return "untuned" if row.first.params else "no parameters"


def _tune_seconds(row: Row) -> float | None:
    return _mean(r.tuning["seconds"] for r in row.records if r.tuning)


def _marks(row: Row) -> str:
    return "".join(f"[{number}]" for number in row.marks) or "none"


MODEL: Column[Row] = Column("model", "Model", lambda row: row.label, numeric=False)


def main_columns(section: Section, found: Verdicts) -> tuple[Column[Row], ...]:
    """The first table of a section; `found` puts letters beside significant wins."""
    letters = (Column("row", "Row", section.letter, numeric=False),) if found else ()
    return (
        *letters,
        MODEL,
        Column("rank", "Rank", lambda row: row.place, priority=3),
        _metric("recall@10", 6, section, found),
        _metric("recall@20", 2, section, found),
        _metric("ndcg@10", 5, section, found),
        _metric("ndcg@20", 0, section, found),
        Column("tuning", "Tuning", _tuning, numeric=False, priority=1),
        Column("seeds", "Seeds", lambda row: len(row.records), priority=8),
        Column("tune_seconds", "Tune s", _tune_seconds, _fixed(1), priority=7),
        _cost("fit_seconds", "Fit s", 1, 4),
        _cost("evaluate_seconds", "Eval s", 1, 10),
        _cost("peak_memory_mb", "Peak MB", 0, 9),
        Column("flags", "Flags", _marks, numeric=False, priority=11),
    )


def lead_column(section: Section, found: Verdicts, metric: str) -> Column[Row]:
    """The first row's lead over each other row, with its interval, effect size and adjusted p-value."""
    first = section.rows[0].label

    def value(row: Row) -> Tested | None:
        return found.get((first, metric), {}).get(row.label)

    return Column(f"behind {metric}", f"First's lead in {heading_of(metric)}", value, _tested)


def _tested(result: Tested) -> Parts:
    paired = result.paired
    p = f"p {result.p:.4f}" if result.p >= 0.0001 else "p <0.0001"
    return (
        f"{paired.difference:+.4f}",
        f"[{paired.low:+.4f}, {paired.high:+.4f}]",
        f"d {paired.effect:+.2f}",
        p,
    )


def beside_full(section: Section, metric: str) -> tuple[Column[Row], ...]:
    """Full ranking, then each sampled protocol that has the metric: its place, and by how much it flatters a row."""
    sampled = [p for p in section.sampled if any(row.cell(p, metric) for row in section.rows)]
    drawn_last = sorted(sampled, key=lambda name: not protocol_of(name).closed)
    protocols = ["full", *sampled]
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


def pointwise_columns(section: Section) -> tuple[Column[Row], ...]:
    """The metrics of labelled pairs; one column alone where no row has any."""

    def column(name: str, metric: PointwiseMetric) -> Column[Row]:
        def value(row: Row) -> tuple[Cell, int | None] | None:
            cell = row.cell("ctr", name)
            return None if cell is None else (cell, _users(row, name))

        def show(shown: tuple[Cell, int | None]) -> Parts:
            cell, users = shown
            return *_interval(cell), f"({users:,} users)" if users is not None else ""

        return Column(name, metric.heading, value, show)

    return (
        MODEL,
        *(
            column(name, metric)
            for name, metric in POINTWISE.items()
            if any(row.cell("ctr", name) is not None for row in section.rows)
        ),
    )


def parts_columns(section: Section, metric: str) -> tuple[Column[Row], ...]:
    """A metric of labelled pairs within each part of them; one column alone where no row has any."""

    def column(part: str) -> Column[Row]:
        def value(row: Row) -> tuple[float, float] | None:
            found = [r.parts.get(part, {}).get("metrics", {}).get(metric) for r in row.records]
            if any(entry is None for entry in found):
                return None
            half = fmean((entry["high"] - entry["low"]) / 2 for entry in found)
            return fmean(entry["mean"] for entry in found), half

        of = next(r.parts[part] for r in section.records if metric in _metrics(r, part))
        users = of["metrics"][metric].get("users")
        heading = f"{part} ({of['rows']:,} rows{'' if users is None else f', {users:,} users'})"
        return Column(part, heading, value, lambda v: (f"{v[0]:.4f}", f"±{v[1]:.4f}"))

    names = [name for name in PARTS if any(metric in _metrics(r, name) for r in section.records)]
    return (MODEL, *map(column, names))


def _metrics(record: ResultRecord, part: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = record.parts.get(part, {}).get("metrics", {})
    return found


def _users(row: Row, name: str) -> int | None:
    """Over how many users a metric of labelled pairs is a mean."""
    users = row.first.metrics["ctr"][name].get("users")
    return None if users is None else int(users)


def corrected_columns(
    section: Section, known: Analysis, protocol: str, metric: str
) -> tuple[Column[Row], ...]:
    """Full ranking, then each estimate of it from one drawn protocol with its place, then what sampling leaves open."""

    def corrected(row: Row) -> Corrected | None:
        return known.corrected.get((row.ids, protocol, metric))

    def column(name: str, heading: str, values: dict[str, float]) -> Column[Row]:
        standing = dict(zip(values, places(list(values.values())), strict=True))

        def value(row: Row) -> Parts | None:
            own, found = values.get(row.label), corrected(row)
            if own is None or found is None:
                return None
            low, high = found.ends.get(name, (None, None))
            half = "" if low is None or high is None else f"±{(high - low) / 2:.4f}"
            return f"{own:.4f}", half, f"#{standing[row.label]}"

        return Column(name, heading, value, tuple)

    def ends(found: Corrected) -> Parts:
        wider = f"(errors x {found.widened:.1f})" if found.widened > 1 else ""
        return f"[{found.low:.4f}, {found.high:.4f}]", wider

    found = estimates(section, known, protocol, metric)
    return (
        MODEL,
        *(column(name, ESTIMATORS.get(name, name), values) for name, values in found.items()),
        Column("open", "identified", corrected, ends),
    )


def agreement_columns(full: float | None) -> tuple[Column[Agreement], ...]:
    """What an order keeps of full ranking's; `full` is full ranking's own resolution, for the heading."""

    def interval(found: Agreement) -> Parts | None:
        return found.ends and (f"[{found.ends[0]:+.2f}, {found.ends[1]:+.2f}]",)

    of_full = "" if full is None else f" (full {full:.2f})"
    return (
        Column("order", "Order by", lambda found: found.heading, numeric=False),
        Column("tau", "τ-b", lambda found: found.tau, lambda tau: (f"{tau:+.2f}",)),
        Column("ends", "95% interval", interval, tuple),
        Column("first", "First kept", lambda found: "yes" if found.first_kept else "no"),
        Column("swaps", "Swaps", lambda found: f"{len(found.flips)} of {found.pairs}"),
        Column(
            "significant",
            "Significant swaps",
            lambda found: (
                sum(flip.significant for flip in found.flips) if full is not None else None
            ),
        ),
        Column("resolution", f"Resolution{of_full}", lambda found: found.resolution, _fixed(2)),
    )


def every_row_columns(
    every: Sequence[Agreement], found: Sequence[Agreement]
) -> list[Column[Agreement]]:
    """τ-b over all rows of a split, ablations too, where that is another number."""
    by_heading = {agreement.heading: agreement for agreement in every}
    if not found or not every or every[0].rows == found[0].rows:
        return []

    def show(of: Agreement) -> tuple[str, ...]:
        ends = "" if of.ends is None else f"[{of.ends[0]:+.2f}, {of.ends[1]:+.2f}]"
        return (f"{of.tau:+.2f}" if of.tau is not None else "–", ends)

    heading = f"τ-b of all {every[0].rows} rows"
    return [Column("every", heading, lambda one: by_heading.get(one.heading), show)]


BEYOND = {
    "coverage@20": ("Coverage@20", 4),
    "gini@20": ("Gini@20", 4),
    "popularity@20": ("Popularity@20", 1),
    "tail@20": ("Tail@20", 4),
    "novelty@20": ("Novelty@20", 2),
}
"""What lists are like -> heading and digits."""


def beyond_columns(section: Section) -> tuple[Column[Row], ...]:
    """Coverage, concentration and popularity of the lists; one column alone where no row has any."""

    def of(name: str) -> Callable[[Row], float | None]:
        return lambda row: _mean_of_all(r.beyond.get(name) for r in row.records)

    return (
        MODEL,
        *(
            Column(name, heading, of(name), _fixed(digits))
            for name, (heading, digits) in BEYOND.items()
            if any(of(name)(row) is not None for row in section.rows)
        ),
    )


def strata_columns(section: Section, metric: str) -> tuple[Column[Row], ...]:
    """A metric within each part of the positives."""
    names = list(dict.fromkeys(name for r in section.records for name in r.strata))
    names = [name for name in _STRATA if name in names] + sorted(set(names) - set(_STRATA))

    def of(name: str) -> Callable[[Row], tuple[float, float] | None]:
        def value(row: Row) -> tuple[float, float] | None:
            entries = [r.strata.get(name, {}).get("metrics", {}).get(metric) for r in row.records]
            if any(entry is None for entry in entries):
                return None
            return (
                fmean(e["mean"] for e in entries),
                fmean((e["high"] - e["low"]) / 2 for e in entries),
            )

        return value

    def heading(name: str) -> str:
        found = next(r.strata[name] for r in section.records if name in r.strata)
        return f"{name} ({found['positives']:,})"

    return (
        MODEL,
        *(
            Column(name, heading(name), of(name), lambda v: (f"{v[0]:.4f}", f"±{v[1]:.4f}"))
            for name in names
        ),
    )


_STRATA = ("head items", "tail items", "low activity", "middle activity", "high activity")


def _mean_of_all(values: Iterable[Any]) -> float | None:
    known = list(values)
    return None if any(value is None for value in known) else fmean(known)


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
