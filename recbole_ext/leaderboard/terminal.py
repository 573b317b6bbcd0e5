"""The board for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from recbole_ext.evaluator.metrics import POINTWISE, heading_of
from recbole_ext.leaderboard.analysis import Analysis, Verdicts
from recbole_ext.leaderboard.analysis import verdicts as verdicts_of
from recbole_ext.leaderboard.columns import (
    beside_full,
    main_columns,
    parts_columns,
    pointwise_columns,
)
from recbole_ext.leaderboard.labels import flat
from recbole_ext.leaderboard.notes import remarks, warnings
from recbole_ext.leaderboard.rows import Section, sections
from recbole_ext.leaderboard.standings import COMPARED, FIRST, compared, verdicts
from recbole_ext.leaderboard.table import plain, wrapped
from recbole_ext.results import ResultRecord

_OF_FULL = ("rank", "recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""Columns of the first table that are numbers of full ranking."""


def render_text(
    records: Iterable[ResultRecord], width: int = 160, known: Analysis | None = None
) -> str:
    """Main table and sampled beside full; no line is longer than `width` (from about 40 on)."""
    blocks = [
        block
        for section in sections(records)
        for block in _section(section, verdicts_of(section, known or Analysis()), width)
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) or "no records yet"


def _section(section: Section, found: Verdicts, width: int) -> list[list[str]]:
    first = section.first
    size, asked = first.data, first.experiment
    split = flat(asked["dataset"]["split"])
    about = (
        f"{section.title}: {size['users']:,} users, {size['items']:,} items, {size['interactions']:,} interactions, "
        f"{size['test_users']:,} test users, {'' if split in section.title else f'{split}, '}excluded {asked['exclude']}"
    )
    notes = [f"note: {text}" for text in warnings(section)]
    notes += remarks(section)
    letters = "; >b: better than row b, p < 0.05 after Holm" if found else ""
    columns = main_columns(section, found)
    heading = f"Full ranking (± half the 95% bootstrap interval over users{letters})"
    if not any("full" in record.metrics for row in section.rows for record in row.records):
        # A table of dashes says nothing; what the runs cost is said nowhere else.
        columns = tuple(column for column in columns if column.key not in _OF_FULL)
        heading = "Runs"
    blocks = [
        wrapped(about, width),
        wrapped(heading, width),
        plain(columns, section.rows, width)
        + [line for note in notes for line in wrapped(note, width)],
    ]
    beside = [metric for metric in compared(section) if metric in (COMPARED[0], FIRST)]
    for metric in beside if section.sampled else ():
        heading = (
            f"{heading_of(metric)}, sampled beside full (± over draws, #place, change against full)"
        )
        blocks += [
            wrapped(heading, width),
            plain(beside_full(section, metric), section.rows, width)
            + [line for text in verdicts(section, metric) for line in wrapped(f"* {text}", width)],
        ]
    labelled = pointwise_columns(section)
    if len(labelled) > 1:
        blocks += [
            wrapped("Labelled pairs of the test part (± half the 95% interval over users)", width),
            plain(labelled, section.rows, width),
        ]
    for of in POINTWISE.values():
        parts = parts_columns(section, of.key)
        if len(parts) > 1:
            heading = f"{of.heading} within parts of the labelled pairs"
            blocks += [wrapped(heading, width), plain(parts, section.rows, width)]
    return blocks
