"""Papers' tables with our rows beside them."""

from __future__ import annotations

from collections.abc import Iterable

from recbole_ext.evaluator.metrics import heading_of
from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.columns import MODEL, Column, Parts
from recbole_ext.leaderboard.labels import listed
from recbole_ext.leaderboard.papers import PaperTable, fits, tables_of
from recbole_ext.leaderboard.rows import Row, Section, sections
from recbole_ext.results import ResultRecord


def beside(section: Section, paper: PaperTable) -> str:
    """A block of a page."""
    heading, verdict, lines = _paper(section, paper)
    return f"{heading}\n\n{verdict}\n\n{lines}"


def _paper(section: Section, paper: PaperTable, link: bool = True) -> list[str]:
    def pair(metric: str) -> list[Column[Row]]:
        heading = heading_of(metric)

        def own(row: Row) -> float | None:
            cell = row.cell("full", metric)
            return None if cell is None else cell.mean

        def show(value: float) -> Parts:
            return (f"{value:.4f}",)

        def theirs(row: Row) -> float | None:
            return paper.value(row, metric)

        return [
            Column(metric, heading, own, show),
            Column(f"their {metric}", "theirs", theirs, show),
        ]

    columns = [MODEL, *(c for metric in paper.shown for c in pair(metric))]
    rows = [row for row in section.rows if row.model in paper.rows]
    missing = [model for model in paper.rows if model not in {row.model for row in rows}]
    differences = paper.differences(section)
    verdict = (
        f"**Not comparable** because of (theirs in brackets): {table.escaped('; '.join(differences))}."
        if differences
        else "Comparable: data, filters, split, exclusion and encoder agree."
    )
    return [
        f"### Beside the paper: {table.escaped(paper.title)}",
        f"* {verdict}" + (f"\n* Theirs only: {', '.join(missing)}." if missing else ""),
        "\n".join(table.markdown(columns, rows, link)),
    ]


def render_paper(paper: str, records: Iterable[ResultRecord]) -> str:
    """A paper's tables with our rows beside them, wherever there are any, and what differs said above each.

    Raises:
        HarnessError: no such paper.
    """
    every = sections(records)
    blocks = []
    for found in tables_of(paper):
        beside = [section for section in every if fits(found, section)]
        for section in beside:
            heading, verdict, lines = _paper(section, found, link=False)
            heading = f"## {table.escaped(found.title)}: ours on {table.escaped(section.title)}"
            blocks += [heading, verdict, lines]
        if not beside:
            nothing = f"* No record on {listed(list(found.datasets))} yet; theirs: {', '.join(found.rows)}."
            blocks += [f"## {table.escaped(found.title)}", nothing]
    return "\n\n".join(blocks) + "\n"
