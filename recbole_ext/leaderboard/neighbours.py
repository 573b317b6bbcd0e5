"""New records beside the rows that stand next to them, as markdown: what a pull request that brings results shows of itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.metrics import heading_of
from recbole_ext.leaderboard.analysis import Analysis, Tested, verdicts
from recbole_ext.leaderboard.columns import Column, Parts, main_columns
from recbole_ext.leaderboard.labels import listed
from recbole_ext.leaderboard.rows import Cell, Row, Section, once, sections
from recbole_ext.leaderboard.table import escaped, markdown
from recbole_ext.results import ResultRecord, read_record

AROUND = 2
"""Rows above a new one, and below it."""
_KEPT = ("rank", "model", "tuning", "seeds", "fit_seconds")


def new_records(folder: Path) -> list[ResultRecord]:
    """The records below a folder, every one of which is in order: what is to be merged is not left out with a remark.

    What lies beside a run's `record.json`, in hidden folders, or is an analysis, is no record and is not read.

    Raises:
        HarnessError: there is none, a file is no record, its id does not follow from it, or its name is not its id.
    """
    found = []
    for path in sorted(folder.rglob("*.json")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        of_a_run = path.name != "record.json" and (path.parent / "record.json").is_file()
        if hidden or of_a_run or path.name.startswith("analysis-"):
            continue
        record = read_record(path)
        if path.stem != record.run_id and (path.name, path.parent.name) != (
            "record.json",
            record.run_id,
        ):
            raise HarnessError(f"{path}: its run is {record.run_id}, not what its name says")
        found.append(record)
    if not found:
        raise HarnessError(f"{folder} has no records")
    return found


def render_neighbours(
    new: Sequence[ResultRecord], published: Sequence[ResultRecord], known: Analysis
) -> str:
    """A heading and a table for each new row, the new rows of a table of rows together."""
    ids = {record.run_id for record in new}
    blocks = []
    for section in sections(once([*published, *new])):
        fresh = [row for row in section.rows if ids & {r.run_id for r in row.records}]
        blocks += [_block(section, row, fresh, ids, known) for row in fresh]
    return "\n\n".join(blocks) + "\n"


def _block(
    section: Section, row: Row, fresh: Sequence[Row], ids: Collection[str], known: Analysis
) -> str:
    runs = listed([r.run_id for r in row.records if r.run_id in ids])
    heading = f"### {escaped(row.label)} on {escaped(section.title)}, run {runs}"
    if section.headline is None or row.place is None:
        why = f"* Has no place: {escaped(_unplaced(section, row))}."
        return f"{heading}\n\n{why}"
    protocol, metric = section.headline
    at = section.rows.index(row)
    shown = section.rows[max(0, at - AROUND) : at + AROUND + 1]
    placed = sum(other.place is not None for other in section.rows)
    told = f"* Place {row.place} of {placed} by {heading_of(metric)} under {protocol}."
    flags = [section.flags[number - 1] for number in row.marks]
    told += "".join(f"\n* Remark: {escaped(flag)}." for flag in flags)
    if len(section.rows) == 1:
        told += "\n* The only row on this data and split."
    columns = [
        Column[Row]("new", "", lambda other: "new" if other in fresh else "", numeric=False),
        *(column for column in main_columns(section, {}) if column.key in _KEPT),
        Column("headline", heading_of(metric), lambda other: other.cell(protocol, metric), _cell),
        _against(section, row, known),
    ]
    return f"{heading}\n\n{told}\n\n" + "\n".join(markdown(columns, shown, link=False))


def _unplaced(section: Section, row: Row) -> str:
    if section.headline is None:
        return "nothing orders the rows of this table"
    protocol, metric = section.headline
    return f"no {heading_of(metric)} under {protocol}, by which the rows of this table are ordered"


def _cell(cell: Cell) -> Parts:
    return f"{cell.mean:.4f}", "" if cell.half is None else f"±{cell.half:.4f}"


def _against(section: Section, row: Row, known: Analysis) -> Column[Row]:
    """The new row minus each other, as it was found when the board was written; a dash where nobody had both runs' ranks."""
    assert section.headline is not None
    protocol, metric = section.headline
    found = verdicts(section, known, protocol, (metric,)).get((row.label, metric), {})

    def show(tested: Tested) -> Parts:
        paired = tested.paired
        p = f"p {tested.p:.4f}" if tested.p >= 0.0001 else "p <0.0001"
        return f"{paired.difference:+.4f}", f"[{paired.low:+.4f}, {paired.high:+.4f}]", p

    return Column("against", "new minus this", lambda other: found.get(other.label), show)
