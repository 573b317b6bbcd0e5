"""The board is a pure function of the records: the same bytes in any order, anywhere, at any time."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.leaderboard.columns import MODEL, main_columns
from recbole_ext.leaderboard.rows import sections
from recbole_ext.leaderboard.table import markdown, plain
from recbole_ext.leaderboard.terminal import render_text
from tests.leaderboard.factory import BOARD, drawn, pages, record

MIXED = [
    *BOARD,
    record("C", 0.5, drawn(0.4), points=9),
    record("B", 0.4, drawn(0.6), points=64, lists="b", params={"p": 2}),
    record("A", 0.4, drawn(0.5), exclude="train+valid"),
    record("A", 0.41, drawn(0.5), created="2026-02-01T00:00:00+00:00"),
]
TABLE = """\
### Models

| Model | Rank |                [Recall@10] |                [Recall@20] |                  [NDCG@10] |                  [NDCG@20] | Tuning    | Seeds | Tune s | Fit s | Eval s | Peak MB | Flags |
| ----- | ---: | -------------------------: | -------------------------: | -------------------------: | -------------------------: | --------- | ----: | -----: | ----: | -----: | ------: | ----- |
| A     |    1 | 0.5000 ±0.0100             | 0.5000 ±0.0100             | 0.5000 ±0.0100             | 0.5000 ±0.0100             | untuned   |     1 |      – |   1.5 |    0.5 |     100 | none  |
| B     |    2 | 0.4000 ±0.0100             | 0.4000 ±0.0100             | 0.4000 ±0.0100             | 0.4000 ±0.0100             | 64 points |     1 |    2.0 |   1.5 |    0.5 |     100 | none  |
| C     |    3 | 0.3100 ±0.0100 (sd 0.0141) | 0.3100 ±0.0100 (sd 0.0141) | 0.3100 ±0.0100 (sd 0.0141) | 0.3100 ±0.0100 (sd 0.0141) | untuned   |     2 |      – |   1.5 |    0.5 |     100 | none  |
| D     |    4 | 0.2000 ±0.0100             | 0.2000 ±0.0100             | 0.2000 ±0.0100             | 0.2000 ±0.0100             | untuned   |     1 |      – |   1.5 |    0.5 |     100 | [1]   |

* [1] weights not saved: disk full (D)

![Places under full ranking and sampled protocols](plots/d-00117b-places.svg)
![NDCG@20 against seconds of tuning and training](plots/d-00117b-cost.svg)

### NDCG@10 per positive, sampled beside full

| Model |    [full] | [expected@19] |              [uni19] |
| ----- | --------: | ------------: | -------------------: |
| A     | 0.2500 #1 |  0.5000 #2 -1 | 0.5000 ±0.0141 #2 -1 |
| B     | 0.2000 #2 |  0.6000 #1 +1 | 0.6000 ±0.0141 #1 +1 |
| C     | 0.1550 #3 |  0.4100 #3  = | 0.4100 ±0.0141 #3  = |
| D     | 0.1000 #4 |             – |                    – |

### Models that choose from given lists: NDCG@10 per positive, sampled beside full

| Model |    [full] | [expected@19] |              [uni19] |
| ----- | --------: | ------------: | -------------------: |
| A     | 0.2500 #1 |  0.5000 #3 -1 | 0.5000 ±0.0141 #3 -1 |
| B     | 0.2000 #2 |  0.6000 #2 +1 | 0.6000 ±0.0141 #2 +1 |
| C     | 0.1550 #3 |  0.4100 #4  = | 0.4100 ±0.0141 #4  = |
| LM    |         – |  0.9000 #1  – | 0.9000 ±0.0141 #1  – |
"""
FRONT = """\
# Leaderboard

Written by `python run_bench.py board --publish` from the records; do not edit.

* **Does sampling mislead?** By NDCG@10 per positive uni19 puts another model first on 1 of 1 ([d](d.md)), swaps 1 of 3 pairs (τ-b +0.33). More: [docs/sampled-vs-full.md](sampled-vs-full.md).

## Models over datasets

|Model|Family|Mean place|W/T/L|[d](d.md)|[other](other.md)|s|uni100|uni19|
|---|---|--:|--:|--:|--:|--:|--:|--:|
|A|–|–|–|0.5000 untuned|–|2|–|-1.0|
|B|–|–|–|0.4000|–|4|–|+1.0|
|C|–|–|–|0.3100 untuned|–|2|–|+0.0|
|D|–|–|–|0.2000 untuned|–|2|–|–|
|E|–|–|–|–|0.3000|2|–|+0.0|

## Given lists

|Model|Family|[d](d.md) NDCG@10 per positive of uni19|
|---|---|--:|
|LM|–|0.9000|
|B|–|0.6000|
|A|–|0.5000|
|C|–|0.4100|

## Protocols
"""


def test_the_small_board_byte_for_byte():
    found = pages(BOARD)
    assert found["d.md"][found["d.md"].index("### Models\n") :].startswith(TABLE)
    assert found["LEADERBOARD.md"].startswith(FRONT)
    assert sorted(name for name in found if name.endswith(".md")) == [
        "LEADERBOARD.md", "d-protocols.md", "d.md", "other-protocols.md", "other.md", "sampled-vs-full.md",
    ]  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.permutations(MIXED))
def test_the_order_of_records_does_not_matter(shuffled):
    assert pages(shuffled) == pages(MIXED) and render_text(shuffled) == render_text(MIXED)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_hashing_locale_and_time_zone_do_not_matter_and_nothing_heavy_is_imported(seed):
    code = (
        "import hashlib, sys\n"
        "from recbole_ext.leaderboard import board, terminal\n"
        "from tests.leaderboard.test_render import whole\n"
        "print(hashlib.sha256(whole().encode()).hexdigest())\n"
    )
    light = (
        "import sys\nfrom recbole_ext.leaderboard import board, terminal\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'recbole'} & set(sys.modules)))\n"
    )
    changed = {"PYTHONHASHSEED": seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"}

    def run(text: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", text],
            env=os.environ | changed,
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    assert run(code) == hashlib.sha256(whole().encode()).hexdigest()
    assert run(light) == "[]"


def whole() -> str:
    return "".join(pages(MIXED).values()) + render_text(MIXED, 90)


def test_no_stray_blanks():
    for text in (*pages(MIXED).values(), render_text(MIXED, 100) + "\n"):
        lines = text.split("\n")
        assert lines[-1] == "" and lines[-2] != "" and lines[0] == lines[0].strip() != ""
        assert all(line == line.rstrip() for line in lines)
        assert not any(a == b == "" for a, b in itertools.pairwise(lines))


def test_markdown_tables_are_aligned():
    tables = [line for line in pages(MIXED)["d.md"].splitlines() if line.startswith("|")]
    for line, following in itertools.pairwise(tables):
        if "---" in following or "---" in line:
            assert [i for i, c in enumerate(line) if c == "|"] == [
                i for i, c in enumerate(following) if c == "|"
            ]


HOSTILE = "<script>alert(1)</script>[x](javascript:alert(1))|`*y*"


def test_markup_in_a_record_stays_text():
    odd = [
        record(HOSTILE, 0.5, drawn(0.5), flags=(f"a|b\n{HOSTILE}",), dataset=HOSTILE),
        record("Plain", 0.4, drawn(0.4), params={HOSTILE: HOSTILE}, dataset=HOSTILE),
        record("Plain", 0.3, drawn(0.4), params={HOSTILE: "z"}, dataset=HOSTILE),
    ]
    made = pages(odd)
    for name, text in made.items():
        assert "/" not in name and "<" not in name
        if name.endswith(".md"):
            assert not re.search(r"(?<!\\)<script", text) and not re.search(
                r"(?<!\\)\]\(javascript", text
            )
        if name.endswith(".svg"):
            ET.fromstring(text)
            assert "<script" not in text
    page = next(text for name, text in made.items() if name.endswith("y_.md"))
    # Every line of a table has the cells of its heading: no bar of a name makes another.
    for line, following in itertools.pairwise(page.splitlines()):
        if line.startswith("|") and following.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", following))


@settings(max_examples=60, deadline=None)
@given(st.integers(40, 220))
def test_no_line_is_wider_than_the_terminal(width):
    long = record("a-model-with-quite-a-long-name", 0.5, drawn(0.5), flags=("word " * 40,))
    for records in (MIXED, [*MIXED, long]):
        assert max(map(len, render_text(records, width).splitlines())) <= width


def test_what_a_narrow_terminal_drops_is_said():
    wide, narrow = render_text(BOARD, 400), render_text(BOARD, 100)
    assert "not shown" not in wide
    assert "(not shown, the terminal is narrow: " in narrow and "Eval s" in narrow
    header = next(line for line in narrow.splitlines() if line.startswith("Model"))
    assert "NDCG@20" in header and "Eval s" not in header
    sampled = render_text([record("A", 0.5, drawn(0.5))], 40)
    assert "expected@19)" in sampled and "uni19" in sampled


def test_one_model_without_sampled_protocols():
    made = pages([record("A", 0.5)])
    assert not any("per positive, sampled" in text for text in made.values())
    assert "per positive" not in render_text([record("A", 0.5)])


def test_no_records():
    made = pages([])
    assert "No records yet." in made["LEADERBOARD.md"] and len(made) == 4
    assert render_text([]) == "no records yet"
    assert len(made["summary.csv"].splitlines()) == 1


def test_differing_lists_are_noted_on_the_page_and_in_the_terminal():
    records = [record("A", 0.5, drawn(0.5)), record("B", 0.4, drawn(0.6), lists="b")]
    assert (
        "* **Note:** candidate lists differ: uni19 is aaaaaaaaaaaa for A" in pages(records)["d.md"]
    )
    assert "candidate lists differ between rows" in pages(records)["d-protocols.md"]
    assert "note: candidate lists differ: uni19" in render_text(records)
    row = next(line for line in render_text(records).splitlines() if "0.6000 ±" in line)
    assert "0.6000 ±0.0141 #– –" in row and "0.6000 #1 +1" in row


def test_a_column_is_one_entry():
    from recbole_ext.leaderboard.columns import Column

    epochs = Column("epochs", "Epochs", lambda row: row.first.cost["epochs"])
    rows = sections(BOARD)[1].rows
    assert markdown((MODEL, epochs), rows) == [
        "| Model | Epochs |",
        "| ----- | -----: |",
        "| E     |      – |",
    ]
    assert plain((MODEL, epochs), rows, 80) == ["Model  Epochs", "E           –"]
    columns = main_columns(sections(BOARD)[1], {})
    assert len({column.key for column in columns}) == len(columns)
