"""The first page: answers with their numbers, one row per model, and never more than fits."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest

from recbole_ext.evaluator.findings import Paired
from recbole_ext.leaderboard import dataset_page, front, sampled_vs_full
from recbole_ext.leaderboard.analysis import Analysis, pair_key
from recbole_ext.leaderboard.rows import sections
from tests.leaderboard.factory import drawn, pages, record

P = 1e-6


def with_text(item, encoder="minilm"):
    return dataclasses.replace(item, text={"encoder": encoder, "fields": {}})


def everything_differs(records, p=P):
    """Every pair of a section compared, by the values in its records."""
    known = Analysis()
    for section in sections(records):
        for one, two in itertools.combinations(section.rows, 2):
            for protocol in ("full", *section.sampled):
                for metric in ("ndcg@20", "ndcg_pp@10"):
                    cells = [row.cell(protocol, metric) for row in (one, two)]
                    if None not in cells:
                        key, other_way = pair_key(one, two, protocol, metric)
                        d = (cells[0].mean - cells[1].mean) * (-1 if other_way else 1)
                        known.pairs[key] = Paired(d, d - 0.01, d + 0.01, d, p)
    return known


TWO = [
    with_text(record("L3AE", 0.5, drawn(0.3), points=4, dataset="one")),
    record("EASE", 0.4, drawn(0.4), points=4, dataset="one"),
    record("Pop", 0.1, drawn(0.1), params={}, dataset="one", fit_seconds=0.1),
    with_text(record("L3AE", 0.2, drawn(0.2), points=4, dataset="two")),
    record("EASE", 0.4, drawn(0.5), points=4, dataset="two"),
    record("Pop", 0.1, drawn(0.1), params={}, dataset="two"),
]


def test_answers_have_their_numbers_and_links():
    page = pages(TWO, everything_differs(TWO))["LEADERBOARD.md"]
    duel = (
        "on 1 of 2 datasets (NDCG@20, p < 0.05 after Holm): better on [one](one.md) L3AE 0.5000 to EASE 0.4000, +25%; "
        "worse on [two](two.md) L3AE 0.2000 to EASE 0.4000, -50%."
    )
    assert (
        f"* **Does text help?** The best model that reads it beats the best that does not {duel}"
        in page
    )
    assert (
        f"* **Does a language model beat EASE?** The best model with one beats EASE {duel} Their texts"
        in page
    )
    # On one: EASE passes L3AE among 19, one of three pairs; on two the order stays. τ-b is 1/3 and 1.
    assert (
        "uni19 puts another model first on 1 of 2 ([one](one.md)), swaps 1 of 6 pairs, 1 of them against a significant "
        "difference (τ-b +0.67)"
    ) in page
    assert (
        "**What is cheapest within noise of the best?** [one](one.md) L3AE (4 s, #1); [two](two.md) EASE (4 s, #1)"
        in page
    )
    assert "|EASE|closed form|1.50|3/0/1|0.4000|**0.4000**|4|–|+0.5|" in page
    assert "|L3AE|closed form, text, seen?|1.50|3/0/1|**0.5000**|0.2000|4|–|-0.5|" in page


def test_within_noise_the_cheapest_is_named_and_nothing_is_bold():
    page = pages(TWO, everything_differs(TWO, p=0.9))["LEADERBOARD.md"]
    assert "[one](one.md) Pop (0 s, #3)" in page and "**0." not in page
    assert "not told apart on [one](one.md) L3AE" in page and "|Pop|closed form|3.00|0/4/0|" in page


def test_what_was_not_compared_is_no_tie():
    page = pages(TWO)["LEADERBOARD.md"]
    assert "|Pop|closed form|3.00|–|" in page and "cheapest" not in page
    assert (
        "**Does text help?** The best model that reads it beats the best that does not on 0 of 2"
        in page
    )


def test_a_p_of_nothing_is_a_win_of_one_side_only():
    found = TWO[:2]
    page = pages(found, everything_differs(found, p=0.0))["LEADERBOARD.md"]
    assert (
        "|L3AE|closed form, text, seen?|–|1/0/0|" in page and "|EASE|closed form|–|0/0/1|" in page
    )


def test_a_claim_of_a_paper_that_ours_turn_round_is_named():
    # The paper has L3AE above EASE and EASE above SemanticEASE.
    split = {"split": "ratio", "split_seed": 1}
    values = {"EASE": 0.5, "L3AE": 0.3, "SemanticEASE": 0.1}
    found = [
        record(m, v, points=3, dataset="amazon-toys-2014", split=split) for m, v in values.items()
    ]
    page = pages(found, everything_differs(found))["LEADERBOARD.md"]
    where = "[amazon-toys-2014](amazon-toys-2014.md)"
    assert (
        "**Which claims did not hold?** Of 3 orders of two models that papers print, ours turn 1 round significantly, on the same "
        f"or a near dataset: L3AE over EASE ({where})."
    ) in page
    assert (
        "**Which published figures were met to the digit?** No score: each of the 2 tables of"
        in page
    )


def test_figures_are_met_to_the_digit_only_where_conditions_agree():
    split = {"split": "ratio", "split_ratio": [0.8, 0.1, 0.1], "split_seed": 1}
    same = record("EASE", 0.2448, dataset="amazon-games", split=split)
    same = dataclasses.replace(
        same, data={**same.data, "users": 5222, "items": 2676, "interactions": 85690}
    )
    page = pages([same])["LEADERBOARD.md"]
    # Recall@10, recall@20, NDCG@10, NDCG@20 are all 0.2448 here; the paper's recall@20 is.
    where = "[amazon-games](amazon-games.md)"
    assert f"1 of 4 scores of papers whose conditions agree ({where})." in page
    assert f"met to the digit?** Sizes of 1 of 1 datasets ({where});" in page
    other = dataclasses.replace(same, data={**same.data, "users": 5221})
    page = pages([other])["LEADERBOARD.md"]
    assert "Sizes of 0 of 1 datasets; no score: each of the 1 tables" in page
    assert "5,222 / 2,676 / 85,690 printed" in page


@pytest.mark.parametrize("models", [1, 12, 70])
def test_pages_keep_to_their_size_whatever_there_is(models):
    found = [
        with_text(record(f"A-model-with-a-name-{m}", 0.5 - m / 1000, drawn(m / 200), points=4, dataset=f"dataset-{d}"))
        for d in range(3)
        for m in range(models)
    ]  # fmt: skip
    found += [
        record(f"A-model-with-a-name-{m}", 0.1, params={"p": p}, dataset="dataset-0")
        for m in range(3)
        for p in range(9)
    ]
    made = pages(found)
    first = made["LEADERBOARD.md"]
    assert first.count("\n") <= front.MOST_LINES and len(first.encode()) <= front.MOST_BYTES
    shown = len(re.findall(r"^\|A-model", first, re.M))
    assert (
        shown == max(models, 3)
        or f"{models - shown} more models stand on the datasets' pages." in first
    )
    assert shown >= min(models, 12)
    assert made["sampled-vs-full.md"].count("\n") <= sampled_vs_full.MOST_LINES
    if models < 70:  # the models themselves are never moved
        assert made["dataset-0.md"].count("\n") <= dataset_page.MOST_LINES
    text = made["dataset-0.md"] + made["dataset-0-protocols.md"]
    for heading in (
        "### Models",
        "### Beside the models: Other systems",
        "per positive, sampled beside full",
    ):
        assert heading in text  # what the first page has no room for is on the second


def test_results_of_another_kind_have_tables_of_their_own_with_dashes():
    users = {"split": "users", "split_seed": 1}
    found = [
        record("A", 0.5, {"uni19": 0.5}, dataset="lists"),
        record("Chooser", None, {"uni19": 0.4}, dataset="lists", scoring="candidates"),
        record("A", 0.9, dataset="strong", split=users),
        record("B", 0.8, dataset="strong", split=users),
    ]  # fmt: skip
    for name, auc in (("Clicks", 0.7), ("A", 0.6)):
        item = record(name, None, dataset="pairs", scoring="pointwise")
        of = {"auc": {"mean": auc, "low": 0.5, "high": 0.9}}
        found.append(dataclasses.replace(item, metrics={"ctr": of}))
    page = pages(found)["LEADERBOARD.md"]
    blocks = {block.partition("\n")[0]: block for block in page.split("\n## ")}
    models = blocks["Models over datasets"]
    assert (
        "|A|" in models
        and "Chooser" not in models
        and "Clicks" not in models
        and "0.9000" not in models
    )
    assert "|[strong](strong.md) NDCG@20|" in blocks["Users that training has not seen"]
    assert "|A|–|0.9000|" in blocks["Users that training has not seen"]
    assert "|[lists](lists.md) NDCG@10 per positive of uni19|" in blocks["Given lists"]
    assert blocks["Given lists"].index("|A|–|0.5000|") < blocks["Given lists"].index(
        "|Chooser|–|0.4000|"
    )
    pairs = blocks["Labelled pairs"]
    assert "|[pairs](pairs.md) AUC|[pairs](pairs.md) UAUC|" in pairs
    assert pairs.index("|Clicks|–|0.7000|–|") < pairs.index("|A|–|0.6000|–|")
    assert "Labelled pairs" not in pages(TWO)["LEADERBOARD.md"]


def test_links_of_pages_lead_to_pages():
    made = pages(TWO, everything_differs(TWO))
    for name, text in made.items():
        if name.endswith(".md"):
            for target in re.findall(r"\]\(([^)#]+)\)", text):
                target = target.removeprefix("plots/").removeprefix("../leaderboard/")
                assert (
                    target.startswith("../docs/") or target in made or target == "protocols.md"
                ), (name, target)
