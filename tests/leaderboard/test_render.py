"""The board is a pure function of the records: the same bytes in any order, anywhere, at any time."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.leaderboard.columns import MODEL, main_columns
from recbole_ext.leaderboard.data import render_summary
from recbole_ext.leaderboard.groups import groups
from recbole_ext.leaderboard.markdown import render_markdown
from recbole_ext.leaderboard.rows import sections
from recbole_ext.leaderboard.table import markdown, plain
from recbole_ext.leaderboard.terminal import render_text
from tests.leaderboard.factory import BOARD, drawn, record

MIXED = [
    *BOARD,
    record("C", 0.5, drawn(0.4), points=9),
    record("B", 0.4, drawn(0.6), points=64, lists="b", params={"p": 2}),
    record("A", 0.4, drawn(0.5), exclude="train+valid"),
    record("A", 0.41, drawn(0.5), created="2026-02-01T00:00:00+00:00"),
]
GOLDEN = """\
# Leaderboard

Written by `python run_bench.py board --publish` from the records beside it; do not edit.

* `0.1234 ±0.0012`: mean over test users and half its 95% bootstrap interval. With several seeds the mean over seeds
  (seconds and memory too), and in brackets the sample standard deviation over them. `–`: not measured.
* *Tuning* says how many points were tried on validation. An untuned row ran with the defaults, or with what was given to it (perhaps
  the best of another dataset), and is no fair opponent of a tuned one.
* The first table of a section looks at a user's whole list (joint-list metrics). Full and sampled ranking are compared
  on *per-positive* metrics only, where they differ by sampling alone: `uniM` ranks each positive against M frozen
  negatives (mean and ± standard deviation over draws), `expected@M` is its mean over all draws, in closed form.
* `#2` is the place in the column, equal values share it. `+1`: the protocol shows the row one place higher than full
  ranking does, counted among the rows that have both; it flatters the row. `=`: the same place.
* *Estimated from uniM*: full ranking as five estimators see it through M drawn negatives, each with half its bootstrap interval
  over users. *identified* is all that M negatives can say: every value in it belongs to a rank distribution with the same
  sampled ranks (`errors x 1.5`: none fits them before their errors are widened by that factor).
* *The order .. against full ranking's*: Kendall's τ-b and its bootstrap interval over users, whether the best row stays first,
  the pairs that change order and how many of these full ranking tells apart (p < 0.05 after Holm over all pairs), and
  the share of all pairs that the protocol itself tells apart.
* Seconds and memory are of the machine that is named, which may have had other work: read them as orders of magnitude.
* `[1]` is a remark, listed below the table.
* `>b,d-f`: better than rows b and d to f by more than noise: paired randomisation test over users, p < 0.05 after Holm's
  adjustment over every pair and metric of the table. **Bold**: better than every other row. Where runs were not
  compared there are no letters and nothing is bold.
* Headings lead to the formulas in [docs/protocols.md](../docs/protocols.md). What all this says of sampled protocols is in
  [docs/sampled-vs-full.md](../docs/sampled-vs-full.md).

## d

* 9 users, 8 items, 7,000 interactions; train 50, valid 10, test 10 of 9 users
* filters: min_user=0
* split=ratio, split_seed=1; no candidates at test: train
* data dddddddddddd, split 555555555555, uni19 lists aaaaaaaaaaaa
* ran on a cpu with 2 threads, python 3.11, torch 2.0, recbole 1.2.1

### Full ranking

| Model | Rank |                [Recall@10] |                [Recall@20] |                  [NDCG@10] |                  [NDCG@20] | Tuning    | Seeds | Tune s | Fit s | Eval s | Peak MB | Flags |
| ----- | ---: | -------------------------: | -------------------------: | -------------------------: | -------------------------: | --------- | ----: | -----: | ----: | -----: | ------: | ----- |
| A     |    1 | 0.5000 ±0.0100             | 0.5000 ±0.0100             | 0.5000 ±0.0100             | 0.5000 ±0.0100             | untuned   |     1 |      – |   1.5 |    0.5 |     100 | none  |
| B     |    2 | 0.4000 ±0.0100             | 0.4000 ±0.0100             | 0.4000 ±0.0100             | 0.4000 ±0.0100             | 64 points |     1 |    2.0 |   1.5 |    0.5 |     100 | none  |
| C     |    3 | 0.3100 ±0.0100 (sd 0.0141) | 0.3100 ±0.0100 (sd 0.0141) | 0.3100 ±0.0100 (sd 0.0141) | 0.3100 ±0.0100 (sd 0.0141) | untuned   |     2 |      – |   1.5 |    0.5 |     100 | none  |
| D     |    4 | 0.2000 ±0.0100             | 0.2000 ±0.0100             | 0.2000 ±0.0100             | 0.2000 ±0.0100             | untuned   |     1 |      – |   1.5 |    0.5 |     100 | [1]   |
| LM    |    – |                          – |                          – |                          – |                          – | untuned   |     1 |      – |     – |    0.5 |     100 | none  |

* [1] weights not saved: disk full (D)

![Places under full ranking, sampled protocols and estimates](plots/d-00117b-places.svg)

![NDCG@20 against seconds of tuning and training](plots/d-00117b-cost.svg)

### NDCG@10 per positive, sampled beside full

| Model |    [full] | [expected@19] |              [uni19] |
| ----- | --------: | ------------: | -------------------: |
| A     | 0.2500 #1 |  0.5000 #3 -1 | 0.5000 ±0.0141 #3 -1 |
| B     | 0.2000 #2 |  0.6000 #2 +1 | 0.6000 ±0.0141 #2 +1 |
| C     | 0.1550 #3 |  0.4100 #4  = | 0.4100 ±0.0141 #4  = |
| D     | 0.1000 #4 |             – |                    – |
| LM    |         – |  0.9000 #1  – | 0.9000 ±0.0141 #1  – |

### NDCG@10 per positive, the order of 3 rows against full ranking's

| Order by    | [τ-b] | [95% interval] | [First kept] | [Swaps] | [Significant swaps] | [Resolution] |
| ----------- | ----: | -------------: | -----------: | ------: | ------------------: | -----------: |
| expected@19 | +0.33 |              – |           no |  1 of 3 |                   – |            – |
| uni19       | +0.33 |              – |           no |  1 of 3 |                   – |            – |

* uni19 swaps 1 of 3 pairs: A falls below B (full not tested; uni19 not tested).

### Hit@10 per positive, sampled beside full

| Model |    [full] | [expected@19] |              [uni19] |
| ----- | --------: | ------------: | -------------------: |
| A     | 0.2500 #1 |  0.5000 #3 -1 | 0.5000 ±0.0141 #3 -1 |
| B     | 0.2000 #2 |  0.6000 #2 +1 | 0.6000 ±0.0141 #2 +1 |
| C     | 0.1550 #3 |  0.4100 #4  = | 0.4100 ±0.0141 #4  = |
| D     | 0.1000 #4 |             – |                    – |
| LM    |         – |  0.9000 #1  – | 0.9000 ±0.0141 #1  – |

### Hit@10 per positive, the order of 3 rows against full ranking's

| Order by    | [τ-b] | [95% interval] | [First kept] | [Swaps] | [Significant swaps] | [Resolution] |
| ----------- | ----: | -------------: | -----------: | ------: | ------------------: | -----------: |
| expected@19 | +0.33 |              – |           no |  1 of 3 |                   – |            – |
| uni19       | +0.33 |              – |           no |  1 of 3 |                   – |            – |

* uni19 swaps 1 of 3 pairs: A falls below B (full not tested; uni19 not tested).

## other

* 9 users, 8 items, 7,000 interactions; train 50, valid 10, test 10 of 9 users
* filters: min_user=0
* split=ratio, split_seed=1; no candidates at test: train
* data dddddddddddd, split 555555555555, uni19 lists aaaaaaaaaaaa
* ran on a cpu with 2 threads, python 3.11, torch 2.0, recbole 1.2.1

### Full ranking

| Model | Rank |    [Recall@10] |    [Recall@20] |      [NDCG@10] |      [NDCG@20] | Tuning        | Seeds | Tune s | Fit s | Eval s | Peak MB | Flags |
| ----- | ---: | -------------: | -------------: | -------------: | -------------: | ------------- | ----: | -----: | ----: | -----: | ------: | ----- |
| E     |    1 | 0.3000 ±0.0100 | 0.3000 ±0.0100 | 0.3000 ±0.0100 | 0.3000 ±0.0100 | no parameters |     1 |      – |   1.5 |    0.5 |     100 | none  |

### NDCG@10 per positive, sampled beside full

| Model |    [full] | [expected@19] |             [uni19] |
| ----- | --------: | ------------: | ------------------: |
| E     | 0.1500 #1 |   0.3000 #1 = | 0.3000 ±0.0141 #1 = |

* There is one row, and no order to change.

### Hit@10 per positive, sampled beside full

| Model |    [full] | [expected@19] |             [uni19] |
| ----- | --------: | ------------: | ------------------: |
| E     | 0.1500 #1 |   0.3000 #1 = | 0.3000 ±0.0141 #1 = |

* There is one row, and no order to change.

[95% interval]: ../docs/protocols.md#agreement-of-orders
[First kept]: ../docs/protocols.md#agreement-of-orders
[NDCG@10]: ../docs/protocols.md#joint-list-metrics-full-only
[NDCG@20]: ../docs/protocols.md#joint-list-metrics-full-only
[Recall@10]: ../docs/protocols.md#joint-list-metrics-full-only
[Recall@20]: ../docs/protocols.md#joint-list-metrics-full-only
[Resolution]: ../docs/protocols.md#agreement-of-orders
[Significant swaps]: ../docs/protocols.md#agreement-of-orders
[Swaps]: ../docs/protocols.md#agreement-of-orders
[expected@19]: ../docs/protocols.md#expected-sampled-metric
[full]: ../docs/protocols.md#who-is-ranked-against-whom
[uni19]: ../docs/protocols.md#who-is-ranked-against-whom
[τ-b]: ../docs/protocols.md#agreement-of-orders
"""


def test_the_small_board_byte_for_byte():
    assert render_markdown(BOARD) == GOLDEN


@settings(max_examples=30, deadline=None)
@given(st.permutations(MIXED))
def test_the_order_of_records_does_not_matter(shuffled):
    for render in (render_markdown, summary, render_text):
        assert render(shuffled) == render(MIXED)


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


def summary(records) -> str:
    return render_summary(groups(sections(records)))


def whole() -> str:
    return render_markdown(MIXED) + summary(MIXED) + render_text(MIXED, 90)


def test_no_stray_blanks():
    for text in (render_markdown(MIXED), render_text(MIXED, 100) + "\n", summary(MIXED)):
        lines = text.split("\n")
        assert lines[-1] == "" and lines[-2] != "" and lines[0] == lines[0].strip() != ""
        assert all(line == line.rstrip() for line in lines)
        assert not any(a == b == "" for a, b in itertools.pairwise(lines))


def test_markdown_tables_are_aligned():
    tables = [line for line in render_markdown(MIXED).splitlines() if line.startswith("|")]
    for line, following in itertools.pairwise(tables):
        if "---" in following or "---" in line:
            assert [i for i, c in enumerate(line) if c == "|"] == [
                i for i, c in enumerate(following) if c == "|"
            ]


def test_markup_in_a_record_stays_text():
    odd = record("A|B", 0.5, flags=("a|b\n<i>*x*",))
    text = render_markdown([odd])
    assert "| A\\|B  |" in text and "* [1] a\\|b \\<i>\\*x\\* (A\\|B)\n" in text


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
    text = render_markdown([record("A", 0.5)])
    assert "No sampled protocol was asked for." in text and "per positive, sampled" not in text
    assert "per positive" not in render_text([record("A", 0.5)])


def test_no_records():
    assert render_markdown([]).endswith("No records yet.\n")
    assert render_text([]) == "no records yet"
    assert len(summary([]).splitlines()) == 1


def test_differing_lists_are_noted_on_the_page_and_in_the_terminal():
    records = [record("A", 0.5, drawn(0.5)), record("B", 0.4, drawn(0.6), lists="b")]
    assert "* **Note:** candidate lists differ: uni19 is aaaaaaaaaaaa for A" in render_markdown(
        records
    )
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
