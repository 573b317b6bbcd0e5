"""Orders beside full ranking's, papers beside our rows, plots and the page that answers."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import xml.etree.ElementTree as ET

import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.findings import Paired
from recbole_ext.leaderboard.agreement import agreements, full_resolution
from recbole_ext.leaderboard.analysis import Analysis, pair_key, rows_key
from recbole_ext.leaderboard.data import render_trials
from recbole_ext.leaderboard.links import anchor
from recbole_ext.leaderboard.markdown import render_markdown, render_paper
from recbole_ext.leaderboard.papers import paper_tables
from recbole_ext.leaderboard.plots import _best_so_far, draw, plots_of
from recbole_ext.leaderboard.rows import sections
from recbole_ext.leaderboard.sampled_vs_full import render_answer
from tests.leaderboard.factory import BOARD, DOCS, drawn, record

FOUR = [
    record(m, f, drawn(s))
    for m, f, s in (("A", 0.5, 0.4), ("B", 0.4, 0.6), ("C", 0.3, 0.3), ("D", 0.2, 0.5))
]


def compared(section, p):
    """Every pair under full ranking and uni19, with p-values by pair of models."""
    known = Analysis()
    for one, two in itertools.combinations(section.rows, 2):
        for protocol in ("full", "uni19"):
            key, other_way = pair_key(one, two, protocol, "ndcg_pp@10")
            difference = (
                one.cell(protocol, "ndcg_pp@10").mean - two.cell(protocol, "ndcg_pp@10").mean
            )
            sign = -1 if other_way else 1
            known.pairs[key] = Paired(sign * difference, -1, 1, 0.1, p[one.model + two.model])
    known.taus[rows_key(section), "uni19", "ndcg_pp@10"] = (-0.2, 0.4)
    return known


def test_swaps_with_their_p_values_by_hand():
    (section,) = sections(FOUR)
    p = {"AB": 0.001, "AC": 0.001, "AD": 0.001, "BC": 0.2, "BD": 0.001, "CD": 0.04}
    known = compared(section, p)
    found = {a.protocol: a for a in agreements(section, known, "ndcg_pp@10")}
    uni = found["uni19"]
    # Full: A B C D. Sampled: B D A C. Turned: A-B, A-D, C-D.
    assert [(f.first, f.second) for f in uni.flips] == [("A", "B"), ("A", "D"), ("C", "D")]
    assert (uni.pairs, uni.rows, uni.first, uni.first_kept) == (6, 4, "A", False)
    assert uni.tau == pytest.approx(0.0) and uni.ends == (-0.2, 0.4)
    # Holm over six: 0.04 is the second largest, twice it is above 0.05.
    assert [f.significant for f in uni.flips] == [True, True, False]
    assert [round(f.full.p, 3) for f in uni.flips] == [0.006, 0.006, 0.08]
    assert uni.flips[0].full.paired.difference == pytest.approx(0.05)
    assert uni.flips[0].here.paired.difference == pytest.approx(-0.2)
    assert uni.resolution == full_resolution(section, known, "ndcg_pp@10") == pytest.approx(4 / 6)
    assert found["expected@19"].ends is None and found["expected@19"].resolution is None
    page = render_markdown(FOUR, known)
    assert (
        "uni19 swaps 3 of 6 pairs: A falls below B (full +0.0500, p 0.006; uni19 -0.2000, p 0.006)"
        in page
    )
    line = next(x for x in page.splitlines() if x.startswith("| uni19 "))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["uni19", "+0.00", "[-0.20, +0.40]", "no", "3 of 6", "2", "0.67"]
    assert "Resolution (full 0.67)" in page


def test_the_page_that_answers_says_it_in_sentences():
    (section,) = sections(FOUR)
    known = compared(section, dict.fromkeys(("AB", "AC", "AD", "BC", "BD", "CD"), 0.001))
    page = render_answer(FOUR, known)
    assert (
        "uni19 puts another model before A and swaps 3 of 6 pairs, against a significant difference: A under B, A under D and C under D."
        in page
    )
    assert page == render_answer(FOUR[::-1], known)
    assert "No dataset has 4 models" in render_answer(FOUR[:3], known)


def test_numbers_of_a_paper_stand_beside_ours_with_what_differs():
    split = {"split": "ratio", "split_ratio": [0.8, 0.1, 0.1], "split_seed": 1}
    sizes = {"users": 5222, "items": 2676, "interactions": 85690}
    near = record("L3AE", 0.2, dataset="amazon-games-2018", split=split)
    named = {table.title: table for table in paper_tables(sections([near])[0])}
    assert list(named) == ["L3AE (CIKM 2025), Table 2, Games", "L3AE (CIKM 2025), Table 3, Games"]
    paper = named["L3AE (CIKM 2025), Table 2, Games"]
    (section,) = sections([near])
    assert paper.value(section.rows[0], "recall@20") == 0.2737
    assert paper.differences(section) == [
        "dataset amazon-games-2018 (amazon-games)", "users 9 (5,222)", "items 8 (2,676)", "interactions 7,000 (85,690)",
    ]  # fmt: skip
    assert (
        "**Not comparable** because of (theirs in brackets): dataset amazon-games-2018"
        in render_markdown([near])
    )
    same = dataclasses.replace(
        record("EASE", 0.2, dataset="amazon-games", split=split), data={**near.data, **sizes}
    )
    assert paper.differences(sections([same])[0]) == []
    page = render_markdown([same])
    assert "Comparable: data, filters, split, exclusion and encoder agree." in page
    with_text = dataclasses.replace(same, text={"encoder": "minilm"})
    assert paper.differences(sections([with_text])[0]) == ["encoder minilm (NV-Embed-v2)"]
    assert not paper_tables(sections(BOARD)[0])


def test_a_papers_tables_are_printed_with_ours_beside_them():
    page = render_paper("l3ae", [record("EASE", 0.2, dataset="amazon-toys-2014")])
    assert page.count("## L3AE (CIKM 2025), Table") == 12
    toys = page.split("## L3AE (CIKM 2025), Table 2, Toys: ours on amazon-toys-2014")[1].split(
        "##"
    )[0]
    assert (
        "* Theirs only: LightGCN, SimGCL, AlphaRec, CosineText, SemanticEASE, CEASE, AddEASE, L3AE."
        in toys
    )
    assert (
        "| EASE  |    0.2000 | 0.0949 |    0.2000 | 0.1260 |  0.2000 | 0.0562 |  0.2000 | 0.0645 |"
        in toys
    )
    assert "No record on amazon-books yet" in page
    with pytest.raises(
        HarnessError, match="paper 'l3e' is unknown \\(alpharec, l3ae\\), did you mean l3ae"
    ):
        render_paper("l3e", [])


def test_plots_are_sound_and_the_same_each_time():
    section = next(s for s in sections(BOARD) if s.title == "d")
    known = Analysis()
    first = draw(section, known)
    assert (
        first.keys()
        == plots_of(section).keys()
        == {f"d-{section.problem[:6]}-{x}.svg" for x in ("places", "cost")}
    )
    assert draw(section, known) == first
    for text in first.values():
        root = ET.fromstring(text)
        words = {
            "".join(node.itertext()).strip()
            for node in root.iter("{http://www.w3.org/2000/svg}text")
        }
        assert {"A", "B", "C"} <= words and "LM" not in words - {"LM"}
    assert plots_of(next(s for s in sections(BOARD) if s.title == "other")) == {}  # one row


def test_trials_are_lines_of_a_csv_and_a_plot_of_the_best_so_far():
    tuned = record("A", 0.5, points=4)
    trials = [
        {"point": {"x": 1}, "value": 0.2, "seconds": 1.5},
        {"point": {"x": 2}, "seconds": 0.5, "error": "nan, and a comma"},
        {"point": {"x": 3}, "value": 0.1, "seconds": 2.0, "epochs": 7},
        {"point": {"x": 4}, "value": 0.3, "seconds": 1.0},
    ]
    tuned = dataclasses.replace(tuned, tuning={**tuned.tuning, "trials": trials})
    rows = list(csv.DictReader(io.StringIO(render_trials([tuned, record("B", 0.4)]))))
    assert [(r["trial"], r["point"], r["value"], r["epochs"]) for r in rows] == [
        ("1", '{"x":1}', "0.2", ""), ("2", '{"x":2}', "", ""), ("3", '{"x":3}', "0.1", "7"), ("4", '{"x":4}', "0.3", ""),
    ]  # fmt: skip
    assert rows[1]["error"] == "nan, and a comma" and {r["model"] for r in rows} == {"A"}
    (section,) = sections([tuned, record("B", 0.4)])
    assert _best_so_far(section.rows[0]) == [0.2, 0.2, 0.2, 0.3]
    assert any(name.endswith("-tuning.svg") for name in draw(section, Analysis()))


def test_every_metric_on_the_page_leads_to_a_heading_of_the_docs():
    text = DOCS.read_text()
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    slugs = {
        "".join(c for c in h.lower().replace(" ", "-") if c.isalnum() or c in "-_")
        for h in headings
    }
    for name in ("Recall@20", "NDCG@10", "Gini@20", "tail items (3,344)", "items with text (5)", "full", "uni19", "pop100",
                 "expected@100", "recbole-uni100", "MLE", "BV(0.1)", "identified", "τ-b", "Resolution (full 0.90)"):  # fmt: skip
        assert anchor(name) in slugs, name
    assert anchor("Fit s") is None and anchor("Model") is None
