"""Reading, publishing and checking a board on disk."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.leaderboard.analysis import Analysis, read_analysis, write_analysis
from recbole_ext.leaderboard.data import (
    as_parquet,
    board_table,
    render_summary,
    render_trials,
    same_table,
)
from recbole_ext.leaderboard.dataset_page import render_dataset
from recbole_ext.leaderboard.front import render_front
from recbole_ext.leaderboard.groups import Group, groups
from recbole_ext.leaderboard.labels import safe
from recbole_ext.leaderboard.papers import every_table
from recbole_ext.leaderboard.plots import draw
from recbole_ext.leaderboard.rows import once, sections
from recbole_ext.leaderboard.sampled_vs_full import render_answer
from recbole_ext.results import LeftAlone, ResultRecord, read_records

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_LINES = 20
WRITTEN = "Written by `python run_bench.py board --publish`"
"""What every page says of itself."""
_ANSWER = "sampled-vs-full.md"


def load_records(folder: Path) -> tuple[list[ResultRecord], list[HarnessError]]:
    """(records below `folder`, what is wrong with each file that cannot be trusted); a run is kept once."""
    found, damaged = read_records(folder)
    return sorted(once(record for _, record in found), key=lambda r: r.run_id), damaged


def published_records(board_folder: Path) -> tuple[list[ResultRecord], list[HarnessError]]:
    """`load_records` of a board, where each run has one file that is named by it."""
    found, damaged = read_records(board_folder / "records")
    first: dict[str, Path] = {}
    for path, record in found:
        if path.name != f"{record.run_id}.json":
            damaged.append(
                HarnessError(f"{path}: its run is {record.run_id}, not what its name says")
            )
        elif other := first.get(record.run_id):
            damaged.append(HarnessError(f"{path}: of the run that {other} is of"))
        else:
            first[record.run_id] = path
    return sorted(once(record for _, record in found), key=lambda r: r.run_id), damaged


def analysed(
    records: Iterable[ResultRecord],
    runs_folder: Path,
    keep_in: Path,
    deep: bool = True,
    before: tuple[Analysis, list[HarnessError]] | None = None,
) -> tuple[Analysis, list[HarnessError]]:
    """Everything known of rows that may be compared, found now or before; new findings are kept below `keep_in`.

    `deep` includes what only the published pages show: corrected estimates and intervals of rank correlations. `before` is
    what `keep_in` holds, where it has been read.

    Returns:
        (the analysis, what is wrong with each file that could not be trusted and was left out).
    """
    from recbole_ext.leaderboard.from_ranks import analyse

    known, damaged = before or read_analysis(keep_in)
    for section in sections(records):
        found, broken = analyse(section, runs_folder, known, deep)
        damaged += broken
        if found:
            known.update(found.rounded())
            name = safe(section.first.experiment["dataset"]["name"])
            write_analysis(keep_in / name, section, known)
    return known, damaged


def publish(runs_folder: Path, board_folder: Path) -> tuple[list[Path], list[HarnessError]]:
    """Copy the records of `runs_folder` to `board_folder/records/<dataset>/<model>/` and write the board anew.

    No record is removed, and a published one gives way only to a later one of the same run. Without new records the board
    is written from those already published. Each record and each analysis is read once.

    Returns:
        (the files written, remarks on rank tables that could not be trusted).

    Raises:
        HarnessError: a record is damaged, what is there is of a later version, or there is no record in either folder.
    """
    found, damaged = load_records(runs_folder)
    published, broken = published_records(board_folder)
    before = read_analysis(board_folder / "records")
    for error in [*damaged, *broken, *(e for e in before[1] if isinstance(e, LeftAlone))]:
        if isinstance(error, LeftAlone):
            raise error
        raise HarnessError(f"{error}; remove it before publishing")
    if not found and not published:
        raise HarnessError(
            f"{runs_folder} has no records; run something first: python run_bench.py --help"
        )
    every_table()  # a mistake in one is said before anything is written
    written = []
    records = sorted(once([*published, *found]), key=lambda r: r.run_id)
    there = {record.run_id: record for record in published}
    for record in records:
        if record != there.get(record.run_id):
            path = board_folder / _place(record)
            write_atomically(path, record.to_json())
            written.append(path)
    known, remarks = analysed(records, runs_folder, board_folder / "records", before=before)
    pages = _pages(board_folder, records, known)
    for path, content in pages.items():
        write_atomically(path, content if isinstance(content, str) else as_parquet(content))
        written.append(path)
    for path in _orphans(board_folder, pages):
        path.unlink()
    return written, remarks


def check(board_folder: Path) -> list[str]:
    """Lines in which the files differ from what the records say; empty when the board is fresh."""
    records, damaged = published_records(board_folder)
    known, broken = read_analysis(board_folder / "records")
    if damaged or broken:
        return [str(error) for error in damaged + broken]
    pages = _pages(board_folder, records, known)
    lines = [f"{path.name} shows nothing of the records" for path in _orphans(board_folder, pages)]
    for path, content in pages.items():
        if not path.is_file():
            lines.append(f"{path.name} is missing")
        elif isinstance(content, str):
            lines += _differences(path, content)
        elif not same_table(path.read_bytes(), content):
            lines.append(f"{path.name} holds another table")
    return lines


def _differences(path: Path, text: str) -> list[str]:
    raw = path.read_bytes()
    if raw == text.encode():
        return []
    there = raw.decode("utf-8", errors="backslashreplace")
    found = list(
        difflib.unified_diff(
            there.split("\n"), text.split("\n"), path.name, "from the records", lineterm="", n=0
        )
    )
    more = len(found) - _MOST_LINES
    return found[:_MOST_LINES] + ([f"({more} more lines of {path.name})"] if more > 0 else [])


def _pages(
    folder: Path, records: Sequence[ResultRecord], known: Analysis
) -> dict[Path, str | pa.Table]:
    """Every file of a board: text as it stands, a table as it is to be read back."""
    of = groups(sections(records))
    by_page: dict[str, list[Group]] = {}
    for group in of:
        by_page.setdefault(group.page, []).append(group)
    pages = {"LEADERBOARD.md": render_front(of, known)}
    for name, its in by_page.items():
        pages[f"{name}.md"], pages[f"{name}-protocols.md"] = render_dataset(its, known)
    answer = render_answer(of, known)
    docs = folder.parent / "docs"
    if not (docs / "protocols.md").is_file():
        # No checkout: a board keeps to its own folder, and its pages point at each other there.
        docs = folder
        pages = {
            name: page.replace(f"(../docs/{_ANSWER})", f"({_ANSWER})")
            for name, page in pages.items()
        }
        answer = answer.replace("(../leaderboard/", "(")
    return {
        **{folder / name: page for name, page in pages.items()},
        folder / "leaderboard.parquet": board_table(of, known),
        folder / "summary.csv": render_summary(of),
        folder / "trials.csv": render_trials(records),
        docs / _ANSWER: answer,
        **{folder / "plots" / name: svg for group in of for name, svg in draw(group).items()},
    }


def _orphans(folder: Path, pages: Iterable[Path]) -> list[Path]:
    """Plots and pages of what is no more, and the one big csv that a board once had; a page of somebody's own is none of them."""
    mine = {*(folder / "plots").glob("*.svg"), *folder.glob("leaderboard.csv")}
    mine |= {page for page in folder.glob("*.md") if WRITTEN in page.read_text("utf-8", "replace")}
    return sorted(mine - set(pages))


def _place(record: ResultRecord) -> Path:
    asked = record.experiment
    return Path(
        "records", safe(asked["dataset"]["name"]), safe(asked["model"]), f"{record.run_id}.json"
    )
