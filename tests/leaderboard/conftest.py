"""The committed records and their page, which several files of tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_ext.leaderboard.analysis import read_analysis
from recbole_ext.leaderboard.board import load_records
from recbole_ext.leaderboard.page.make import page_of

RECORDS = Path(__file__).resolve().parents[2] / "leaderboard" / "records"


@pytest.fixture(scope="module")
def published():
    records, damaged = load_records(RECORDS)
    assert not damaged
    return records


@pytest.fixture(scope="module")
def published_page(published):
    return page_of(published, read_analysis(RECORDS)[0])
