"""Reading, publishing and checking a board on disk."""

from __future__ import annotations

import difflib
from pathlib import Path

from recbole_ext.errors import HarnessError
from recbole_ext.leaderboard.render import render_csv, render_markdown
from recbole_ext.results import ResultRecord, find_records, read_record, write_atomically


def load_records(folder: Path) -> tuple[list[ResultRecord], list[str]]:
    """(records below `folder`, a line for each file that cannot be trusted); equal ids are kept once."""
    records: dict[str, ResultRecord] = {}
    damaged = []
    for path in find_records(folder):
        try:
            record = read_record(path)
        except HarnessError as error:
            damaged.append(str(error))
            continue
        records.setdefault(record.run_id, record)
    return list(records.values()), damaged


def publish(runs: Path, folder: Path) -> list[Path]:
    """Copy the records of `runs` to `folder/records/<dataset>/<model>/` and write the board anew.

    Nothing is removed. Returns the files written.
    """
    found, damaged = load_records(runs)
    if damaged:
        raise HarnessError(f"{damaged[0]}; remove it before publishing")
    if not found:
        raise HarnessError(
            f"{runs} has no records; run something first: python run_bench.py --help"
        )
    written = []
    for record in found:
        asked = record.experiment
        path = (
            folder / "records" / asked["dataset"]["name"] / asked["model"] / f"{record.run_id}.json"
        )
        write_atomically(path, record.to_json())
        written.append(path)
    for path, text in _pages(folder).items():
        write_atomically(path, text)
        written.append(path)
    return written


def check(folder: Path) -> list[str]:
    """Lines in which the files differ from what the records say; empty when the board is fresh."""
    lines = []
    for path, text in _pages(folder).items():
        there = path.read_text(encoding="utf-8") if path.is_file() else ""
        difference = difflib.unified_diff(
            there.splitlines(), text.splitlines(), path.name, "from the records", lineterm="", n=0
        )
        lines += list(difference)[:20]
    return lines


def _pages(folder: Path) -> dict[Path, str]:
    records, damaged = load_records(folder / "records")
    if damaged:
        raise HarnessError(damaged[0])
    return {
        folder / "LEADERBOARD.md": render_markdown(records),
        folder / "leaderboard.csv": render_csv(records),
    }
