"""The committed board keeps to its sizes, and is checked in seconds."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from recbole_ext.leaderboard import board, dataset_page, front, sampled_vs_full

ROOT = Path(__file__).resolve().parents[2]
BOARD = ROOT / "leaderboard"
PAGES = sorted(BOARD.glob("*.md"))


def lines(path):
    return path.read_text().count("\n")


def test_pages_are_no_longer_than_they_may_be():
    first = BOARD / "LEADERBOARD.md"
    assert lines(first) <= front.MOST_LINES and first.stat().st_size <= front.MOST_BYTES
    for page in PAGES:
        if not page.stem.endswith("-protocols"):
            assert lines(page) <= dataset_page.MOST_LINES, page.name
    assert lines(ROOT / "docs" / "sampled-vs-full.md") <= sampled_vs_full.MOST_LINES


def test_files_are_no_larger_than_they_may_be():
    files = [
        path
        for path in BOARD.rglob("*")
        if path.is_file() and BOARD / "records" not in path.parents
    ]
    assert sum(path.stat().st_size for path in files) <= 4_000_000
    assert (BOARD / "summary.csv").stat().st_size <= 500_000
    assert all(path.stat().st_size <= 100_000 for path in files if path.suffix == ".svg")


def test_what_pages_link_to_is_there():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_a_check_takes_no_more_than_twice_what_it_does_beside_reading_the_records():
    """Reading them thrice tells how fast this machine is, and how busy: it takes 8 to 11 times that, eight to nine seconds of a slow one."""
    begun = time.process_time()
    for record in 3 * list((BOARD / "records").rglob("*.json")):
        json.loads(record.read_text())
    read = time.process_time()
    board.check(BOARD)
    assert time.process_time() - read < 15 * (read - begun)
