"""Orders beside full ranking's, papers beside our rows, plots and the page that answers."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.findings import Paired
from recbole_ext.leaderboard.agreement import agreements, full_resolution
from recbole_ext.leaderboard.analysis import Analysis, pair_key, rows_key
from recbole_ext.leaderboard.data import render_trials
from recbole_ext.leaderboard.drawing import GREY, spread, ticks
from recbole_ext.leaderboard.groups import groups
from recbole_ext.leaderboard.links import anchor
from recbole_ext.leaderboard.papers import paper_tables
from recbole_ext.leaderboard.papers_beside import render_paper
from recbole_ext.leaderboard.plots import best_so_far, draw, plots_of
from recbole_ext.leaderboard.rows import sections
from tests.leaderboard.factory import BOARD, DOCS, drawn, pages, record

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
    page = pages(FOUR, known)["d-protocols.md"]
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
    page = pages(FOUR, known)["sampled-vs-full.md"]
    assert (
        "uni19 puts another model before A and swaps 3 of 6 pairs, against a significant difference: A under B, A under D and C under D."
        in page
    )
    assert page == pages(FOUR[::-1], known)["sampled-vs-full.md"]
    assert "No dataset has 4 models" in pages(FOUR[:3], known)["sampled-vs-full.md"]


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
        in pages([near])["amazon-games-2018.md"]
    )
    same = dataclasses.replace(
        record("EASE", 0.2, dataset="amazon-games", split=split), data={**near.data, **sizes}
    )
    assert paper.differences(sections([same])[0]) == []
    page = pages([same])["amazon-games.md"]
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
        "* Theirs only: LightGCN, SimGCL, RLMRecCon, RLMRecGen, AlphaRec, GFCF, BSPM, SGFCF, CosineText, SemanticEASE, CEASE, AddEASE, L3AE."
        in toys
    )
    assert (
        "| EASE  |    0.2000 | 0.0949 |    0.2000 | 0.1260 |  0.2000 | 0.0562 |  0.2000 | 0.0645 |"
        in toys
    )
    assert "No record on amazon-books yet" in page
    with pytest.raises(
        HarnessError,
        match="paper 'l3e' is unknown \\(alpharec, gowalla, l3ae\\), did you mean l3ae",
    ):
        render_paper("l3e", [])


def test_plots_are_sound_and_the_same_each_time():
    other, group = sorted(groups(sections(BOARD)), key=lambda g: g.dataset != "other")
    first = draw(group)
    names = {f"d-{group.reference.problem[:6]}-{x}.svg" for x in ("places", "cost")}
    assert first.keys() == plots_of(group).keys() == names and draw(group) == first
    for name, text in first.items():
        root = ET.fromstring(text)
        words = [
            "".join(node.itertext()).strip()
            for node in root.iter("{http://www.w3.org/2000/svg}text")
        ]
        if name.endswith("-places.svg"):
            # By hand: A, B, C under full ranking (D has no lists), B, A, C among 19.
            assert words[:3] == ["full", "uni19", "places by NDCG@10 per positive"]
            assert words[3:] == ["A 1", "B 2", "C 3", "2 A", "1 B", "3 C"]
        else:
            assert words[-4:] == ["D", "C", "B", "A"]
    assert plots_of(other) == {}  # one row


def test_at_most_twelve_models_have_a_colour_and_none_has_anothers():
    many = [record(f"M{i:02d}", 0.9 - i / 50, drawn(0.1 + i / 50)) for i in range(30)]
    (group,) = groups(sections(many))
    for text in draw(group).values():
        assert len(text.encode()) < 100_000
        drawn_in = {}
        for node in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}circle"):
            told = "".join(node.itertext()).partition(",")[0].partition(":")[0]
            drawn_in.setdefault(node.get("fill"), set()).add(told)
        grey = drawn_in.pop(GREY)
        assert len(grey) == 18 and len(drawn_in) == 12
        assert all(len(models) == 1 for models in drawn_in.values())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=20))
def test_labels_lie_inside_and_not_on_one_another(wanted):
    found = spread(wanted, 0.0, 300.0)
    # 1e-9: sums of gaps are rounded.
    assert all(-1e-9 <= at <= 300 + 1e-9 for at in found)
    by_wish = [found[i] for i in sorted(range(len(wanted)), key=lambda i: (wanted[i], i))]
    gap = min(14.0, 300 / max(1, len(wanted) - 1))
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(by_wish))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_inside(low, span):
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 9
    assert all(low - 1e-6 * span <= t <= low + span * (1 + 1e-6) for t in found) or span < 1e-3


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
    assert best_so_far(section.rows[0]) == [0.2, 0.2, 0.2, 0.3]
    (group,) = groups([section])
    (name,) = (name for name in draw(group) if name.endswith("-tuning.svg"))
    assert "best recall@20 on validation so far" in draw(group)[name]


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
