"""Reading, publishing and checking a board on disk."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.leaderboard.analysis import Analysis, read_analysis, write_analysis
from recbole_ext.leaderboard.csvfile import render_csv, render_trials
from recbole_ext.leaderboard.labels import safe
from recbole_ext.leaderboard.markdown import render_markdown
from recbole_ext.leaderboard.papers import every_table
from recbole_ext.leaderboard.plots import draw
from recbole_ext.leaderboard.rows import once, sections
from recbole_ext.leaderboard.sampled_vs_full import render_answer
from recbole_ext.results import LeftAlone, ResultRecord, read_records

_MOST_LINES = 20
_ANSWER = "sampled-vs-full.md"


def load_records(folder: Path) -> tuple[list[ResultRecord], list[HarnessError]]:
    """(records below `folder`, what is wrong with each file that cannot be trusted); a run is kept once."""
    found, damaged = read_records(folder)
    return sorted(once(record for _, record in found), key=lambda r: r.run_id), damaged


def analysed(
    records: Iterable[ResultRecord], runs_folder: Path, keep_in: Path, deep: bool = True
) -> tuple[Analysis, list[HarnessError]]:
    """Everything known of rows that may be compared, found now or before; new findings are kept below `keep_in`.

    `deep` includes what only the published page shows: corrected estimates and intervals of rank correlations.

    Returns:
        (the analysis, what is wrong with each file that could not be trusted and was left out).
    """
    from recbole_ext.leaderboard.from_ranks import analyse

    known, damaged = read_analysis(keep_in)
    for section in sections(records):
        found, broken = analyse(section, runs_folder, known, deep)
        damaged += broken
        if found:
            known.update(found)
            name = safe(section.first.experiment["dataset"]["name"])
            write_analysis(keep_in / name, section, known)
    return known, damaged


def publish(runs_folder: Path, board_folder: Path) -> tuple[list[Path], list[HarnessError]]:
    """Copy the records of `runs_folder` to `board_folder/records/<dataset>/<model>/` and write the board anew.

    No record is removed, and a published one gives way only to a later one of the same run. Without new records the board
    is written from those already published.

    Returns:
        (the files written, remarks on rank tables that could not be trusted).

    Raises:
        HarnessError: a record is damaged, what is there is of a later version, or there is no record in either folder.
    """
    found, damaged = load_records(runs_folder)
    published, broken = load_records(board_folder / "records")
    left = read_analysis(board_folder / "records")[1]
    for error in [*damaged, *broken, *(e for e in left if isinstance(e, LeftAlone))]:
        if isinstance(error, LeftAlone):
            raise error
        raise HarnessError(f"{error}; remove it before publishing")
    if not found and not published:
        raise HarnessError(
            f"{runs_folder} has no records; run something first: python run_bench.py --help"
        )
    every_table()  # a mistake in one is said before anything is written
    written = []
    records = once([*published, *found])
    for record in records:
        if record not in published:
            path = board_folder / _place(record)
            write_atomically(path, record.to_json())
            written.append(path)
    _, remarks = analysed(records, runs_folder, board_folder / "records")
    pages = _pages(board_folder)
    for path, text in pages.items():
        write_atomically(path, text)
        written.append(path)
    for path in _orphans(board_folder, pages):
        path.unlink()
    return written, remarks


def check(board_folder: Path) -> list[str]:
    """Lines in which the files differ from what the records say; empty when the board is fresh."""
    damaged = load_records(board_folder / "records")[1]
    damaged += read_analysis(board_folder / "records")[1]
    if damaged:
        return [str(error) for error in damaged]
    pages = _pages(board_folder)
    lines = [f"{path.name} shows no section" for path in _orphans(board_folder, pages)]
    for path, text in pages.items():
        if not path.is_file():
            lines.append(f"{path.name} is missing")
            continue
        there = path.read_bytes().decode("utf-8", errors="backslashreplace")
        difference = list(
            difflib.unified_diff(
                there.split("\n"), text.split("\n"), path.name, "from the records", lineterm="", n=0
            )
        )
        lines += difference[:_MOST_LINES]
        if len(difference) > _MOST_LINES:
            lines.append(f"({len(difference) - _MOST_LINES} more lines of {path.name})")
    return lines


def _pages(folder: Path) -> dict[Path, str]:
    records, _ = load_records(folder / "records")
    known, _ = read_analysis(folder / "records")
    plots = {
        folder / "plots" / name: svg
        for section in sections(records)
        for name, svg in draw(section, known).items()
    }
    page, answer = render_markdown(records, known), render_answer(records, known)
    docs = folder.parent / "docs"
    if not (docs / "protocols.md").is_file():
        # No checkout: a board keeps to its own folder, and its two pages point at each other there.
        docs = folder
        page = page.replace(f"(../docs/{_ANSWER})", f"({_ANSWER})")
        answer = answer.replace("(../leaderboard/LEADERBOARD.md)", "(LEADERBOARD.md)")
    return {
        folder / "LEADERBOARD.md": page,
        folder / "leaderboard.csv": render_csv(records, known),
        folder / "trials.csv": render_trials(records),
        docs / _ANSWER: answer,
        **plots,
    }


def _orphans(folder: Path, pages: Iterable[Path]) -> list[Path]:
    """Plots of sections that are no more."""
    return sorted(set((folder / "plots").glob("*.svg")) - set(pages))


def _place(record: ResultRecord) -> Path:
    asked = record.experiment
    return Path(
        "records", safe(asked["dataset"]["name"]), safe(asked["model"]), f"{record.run_id}.json"
    )
