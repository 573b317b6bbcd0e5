"""Which rows differ in nothing but the model."""

from __future__ import annotations

from dataclasses import replace

from recbole_ext.leaderboard.alike import LISTS, terms
from recbole_ext.leaderboard.rows import sections
from tests.leaderboard.factory import drawn, record

TEXT = {"text": "1" * 64, "encoder": "2" * 64}


def by_model(*records):
    (section,) = sections(records)
    return {row.model: terms(row) for row in section.rows}


def differ(one, other):
    return {name for name in one.keys() & other.keys() if one[name] != other[name]}


def test_text_counts_where_both_read_one_and_budget_where_there_is_something_to_choose():
    found = by_model(
        record("A", 0.5, read=TEXT),
        record("B", 0.4, read=TEXT | {"text": "3" * 64}),
        record("C", 0.3),
        record("D", 0.2, params={}),
        record("E", 0.1, points=64),
    )
    assert differ(found["A"], found["B"]) == {"text"}
    assert not differ(found["A"], found["C"]) and not differ(found["B"], found["C"])
    assert differ(found["A"], found["E"]) == {"budget"}
    assert not differ(found["A"], found["D"]) and not differ(found["E"], found["D"])


def test_whole_grids_are_one_budget_whatever_their_sizes_and_points_drawn_from_them_another():
    tuned = {n: {"stages": [{"a": [*range(n)]}], "trials": n} for n in (9, 81)}
    found = by_model(
        record("A", 0.5, points=9, tune=tuned[9]),
        record("B", 0.4, points=81, tune=tuned[81]),
        record("C", 0.3, points=6, tune=tuned[81] | {"limit": 6, "trials": 6}),
    )
    assert not differ(found["A"], found["B"])
    assert differ(found["A"], found["C"]) == {"budget"}


def test_what_chose_where_it_was_trained_and_which_candidates_are_terms():
    other = record("B", 0.4, drawn(0.3), lists="b", valid_metric="ndcg@10", refit=True)
    found = by_model(record("A", 0.5, drawn(0.5)), other)
    assert differ(found["A"], found["B"]) == {"chosen by", "trained on", f"{LISTS}uni19"}
    moved = replace(other, experiment=other.experiment | {"train_on": [{"name": "x"}, {"name": "y"}]})  # fmt: skip
    assert by_model(moved)["B"]["trained on"].startswith("x and y, and on validation")


def test_another_systems_lists_are_the_model_itself():
    found = by_model(
        record("A", 0.5, params={}, read={"run_file": "9" * 64}),
        record("B", 0.4, params={}, read={"run_file": "8" * 64}),
    )
    assert not differ(found["A"], found["B"])
