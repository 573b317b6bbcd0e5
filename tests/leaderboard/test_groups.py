"""Which row stands for a model, what is compared with what, and what family a model is of: by hand."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from recbole_ext.evaluator.findings import Paired
from recbole_ext.leaderboard.analysis import Analysis, pair_key, verdicts
from recbole_ext.leaderboard.family import MEANING, tags_of
from recbole_ext.leaderboard.groups import groups, page_name
from recbole_ext.leaderboard.rows import sections
from tests.leaderboard.factory import drawn, pages, record


def validated(item, value):
    return dataclasses.replace(item, validation={"metric": "recall@20", "value": value})


def table_of(records, kind="full"):
    (group,) = groups(sections(records))
    table = group.table(kind)
    return None if table is None else {row.model: row for row in table.section.rows}


def test_a_model_stands_by_the_tuned_row_that_validation_likes_best_whatever_the_test_says():
    one = validated(record("A", 0.3, points=9, params={"p": 1}), 0.9)
    two = validated(record("A", 0.5, points=9, params={"p": 2}), 0.2)
    untuned = validated(record("A", 0.9, params={"p": 3}), 0.99)
    assert table_of([one, two, untuned])["A"].records == (one,)
    assert table_of([two, untuned])["A"].records == (two,)
    assert table_of([untuned])["A"].records == (untuned,)


def test_without_a_common_validation_the_first_of_the_order_stands():
    one = validated(record("A", 0.3, points=9, params={"p": 1}), 0.9)
    other = record("A", 0.5, points=9, params={"p": 2}, valid_metric="ndcg@20")
    assert table_of([one, other])["A"].records == (other,)


def test_what_was_trained_elsewhere_or_again_stands_apart():
    source = {
        "name": "e",
        "filters": {},
        "split": {"split": "ratio", "split_seed": 1},
        "text_fields": {},
    }
    elsewhere = validated(record("A", 0.9, points=9, train_on=[source]), 0.99)
    again = validated(record("A", 0.8, points=9, refit=True), 0.98)
    usual = validated(record("A", 0.1, points=9), 0.5)
    assert table_of([elsewhere, again, usual])["A"].records == (usual,)
    assert table_of([elsewhere, again])["A"].records == (again,)  # where all were trained again
    assert table_of([elsewhere]) is None
    (group,) = groups(sections([elsewhere, again, usual]))
    assert [row.model for row in group.tables[-1].section.rows] == ["A", "A", "A"]


def test_an_ablation_costs_nobody_a_letter():
    found = [record(m, f) for m, f in (("A", 0.5), ("B", 0.4), ("EASE", 0.3))]
    more = [record("B", 0.35 - i / 100, params={"p": i}) for i in range(2, 9)]

    def p_of(records):
        (group,) = groups(sections(records))
        known = Analysis()
        for one, two in itertools.combinations(group.reference.rows, 2):
            key, _ = pair_key(one, two, "full", "ndcg@20")
            known.pairs[key] = Paired(0.1, 0.05, 0.15, 0.5, 0.01)
        return verdicts(group.main, known)["A", "ndcg@20"]["B"].p

    assert p_of(found) == p_of(found + more) == pytest.approx(0.03)


def test_other_rows_stand_under_their_papers_name_with_the_model_beside_them():
    found = [
        record("L3AE", 0.5, points=9), record("L3AE", 0.4, params={"p": 2}), record("LightGCN", 0.3, points=3),
        record("LightGCN", 0.2, params={"p": 3}), record("Mine", 0.1), record("Mine", 0.05, params={"p": 4}),
    ]  # fmt: skip
    (group,) = groups(sections(found))
    assert [(t.heading, [r.model for r in t.section.rows]) for t in group.tables] == [
        ("Models", ["L3AE", "LightGCN", "Mine"]),
        ("LLM-Enhanced Linear Autoencoders for Recommendation (CIKM 2025)", ["L3AE", "L3AE"]),
        ("Other systems", ["Mine", "Mine"]),
        ("RecBole's models", ["LightGCN", "LightGCN"]),
    ]
    page = pages(found)["d.md"]
    assert "### Beside the models: RecBole's models" in page
    assert page.count("| L3AE ") == 3  # its row among the models, and both below


def test_lists_labels_and_unseen_users_have_tables_of_their_own_kind():
    chooser = record("Chooser", None, {"uni19": 0.4}, scoring="candidates")
    clicks = record("Clicks", None, scoring="pointwise")
    auc = {"mean": 0.7, "low": 0.6, "high": 0.8, "users": 5}
    clicks = dataclasses.replace(clicks, metrics={"ctr": {"auc": auc}})
    found = [record("A", 0.5, drawn(0.5)), chooser, clicks]
    assert set(table_of(found)) == {"A"}
    assert set(table_of(found, "lists")) == {"A", "Chooser"}
    assert set(table_of(found, "ctr")) == {"Clicks"}
    assert table_of(found[:1], "lists") is None and table_of(found[:1], "ctr") is None
    page = pages(found)["d.md"]
    line = next(x for x in page.splitlines() if x.startswith("| Chooser"))
    assert [cell.strip() for cell in line.strip("|").split("|")][1:3] == ["–", "–"]
    split = {"split": "users", "split_seed": 1, "split_held_out": 0.2}
    assert (
        "### Models, users that training has not seen"
        in pages([record("A", 0.5, split=split)])["d.md"]
    )


def test_random_splits_are_one_group_and_a_seed_that_gave_two_splits_is_two():
    def split(seed, read):
        return record(
            "A", 0.5, split={"split": "ratio", "split_seed": seed}, read={"split": read * 64}
        )

    assert [len(g.sections) for g in groups(sections([split(1, "1"), split(2, "2")]))] == [2]
    twice = groups(sections([split(1, "1"), split(1, "2"), split(2, "3")]))
    assert sorted(len(g.sections) for g in twice) == [1, 2]
    assert len({g.title for g in twice}) == 2


def test_the_reference_is_the_split_with_most_models():
    seeds = {1: "A", 2: "ABC", 3: "AB"}
    found = [
        record(m, 0.5, split={"split": "ratio", "split_seed": seed}, read={"split": str(seed) * 64})
        for seed, models in seeds.items()
        for m in models
    ]
    (group,) = groups(sections(found))
    assert [row.model for row in group.main.rows] == ["A", "B", "C"]
    assert (
        group.over_splits("A", "ndcg@20") == [0.5] * 3 and group.over_splits("B", "ndcg@20") is None
    )


@pytest.mark.parametrize(
    ("model", "changes", "tags"),
    [
        ("EASE", {}, ["closed form"]),
        ("L3AE", {"text": "minilm"}, ["closed form", "text", "seen?"]),
        ("CEASE", {"text": "tags:64"}, ["closed form", "tags"]),
        ("AlphaRec", {"text": "lm:a/b"}, ["text", "LLM", "seen?"]),
        ("Unknown", {"params": {"llm": "a/b"}}, ["text", "LLM", "seen?"]),
        ("BPR", {"device": "cuda"}, ["GPU"]),
        ("BPR", {}, []),
    ],
)
def test_families_come_from_the_registry_and_the_records(model, changes, tags):
    text = changes.pop("text", None)
    found = record(model, 0.5, **changes)
    found = dataclasses.replace(found, text={"encoder": text, "fields": {}} if text else None)
    assert tags_of(sections([found])[0].rows[0]) == tags and set(tags) <= MEANING.keys()


def test_a_datasets_page_is_no_other_page():
    names = ["LEADERBOARD", "leaderboard", "sampled-vs-full", "x-protocols", "README", "x", "../x"]
    pages_of = [page_name(name) for name in names]
    assert pages_of == [
        "LEADERBOARD-data", "leaderboard-data", "sampled-vs-full-data", "x-protocols-data", "README-data", "x", "_x",
    ]  # fmt: skip
    found = pages([record("A", 0.5, dataset=name) for name in ("LEADERBOARD", "x", "x-protocols")])
    assert found["LEADERBOARD.md"].startswith("# Leaderboard\n")
    assert found["x-protocols.md"].startswith("# x: protocols\n")
    assert found["x-protocols-data.md"].startswith("# x-protocols\n")
