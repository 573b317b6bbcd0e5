"""What is one row, what may be compared, and what it is called."""

from __future__ import annotations

import pytest

from recbole_ext.leaderboard.columns import runs
from recbole_ext.leaderboard.notes import facts, warnings
from recbole_ext.leaderboard.rows import sections
from tests.leaderboard.factory import BOARD, drawn, record


def labels(*records):
    (section,) = sections(records)
    return {row.label for row in section.rows}


def test_seeds_are_one_row_and_datasets_are_sections():
    first, other = sections(BOARD)
    assert [(row.label, row.place) for row in first.rows] == [
        ("A", 1), ("B", 2), ("C", 3), ("D", 4), ("LM", None),
    ]  # fmt: skip
    assert (first.title, other.title) == ("d", "other")
    cell = first.rows[2].cell("full", "ndcg@20")
    assert cell.mean == pytest.approx(0.31) and cell.half == pytest.approx(0.01)
    assert cell.seed_sd == pytest.approx(0.01 * 2**0.5)
    drawn_cell = first.rows[2].cell("uni19", "ndcg_pp@10")
    assert drawn_cell.draw_sd == pytest.approx(0.01 * 2**0.5)
    assert first.rows[0].cell("full", "ndcg@20").seed_sd is None


def test_a_metric_that_one_seed_lacks_is_no_mean_of_the_others():
    one, two = record("A", 0.5, seed=1), record("A", 0.6, seed=2)
    del two.metrics["full"]["ndcg@20"]
    (section,) = sections([one, two])
    assert section.rows[0].cell("full", "ndcg@20") is None


def test_equal_values_share_a_place_and_stand_by_name():
    (section,) = sections(
        [record(m, v) for m, v in (("C", 0.4), ("B", 0.5), ("A", 0.4), ("D", 0.1))]
    )
    assert [(r.label, r.place) for r in section.rows] == [("B", 1), ("A", 2), ("C", 2), ("D", 4)]


def test_values_that_print_alike_in_the_csv_are_equal():
    (section,) = sections([record("B", 0.4), record("A", 0.4 - 1e-8)])
    assert [(row.label, row.place) for row in section.rows] == [("A", 1), ("B", 1)]


def test_tuned_and_untuned_rows_of_a_model_are_told_apart():
    assert labels(record("A", 0.5), record("A", 0.6, points=64)) == {
        "A (untuned)",
        "A (tuned, 64 points)",
    }
    assert labels(record("A", 0.5, points=4), record("A", 0.6, points=64)) == {
        "A (tuned, 4 points)",
        "A (tuned, 64 points)",
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"params": {"p": 2}}, {"A (p=1)", "A (p=2)"}),
        ({"params": {"p": 1, "q": None}}, {"A", "A (q=none)"}),
        ({"params": {"p": 1, "q": [3, 4]}}, {"A", "A (q=3:4)"}),
        ({"model_revision": 2}, {"A (model_revision=1)", "A (model_revision=2)"}),
        ({"threads": 8}, {"A (threads=2)", "A (threads=8)"}),
        ({"read": {"text": "e" * 64}}, {"A", "A (text=eeeeee)"}),
        ({"params": {"p": "x" * 30}}, {"A (p=1)", "A (p=" + "x" * 11 + "…" + "x" * 12 + ")"}),
    ],
)
def test_what_differs_is_in_the_label(change, expected):
    found = labels(record("A", 0.5), record("A", 0.6, **change))
    assert found == expected


def test_rows_that_differ_in_much_are_still_unique():
    params = [dict.fromkeys("abcdef", value) for value in (1, 2)]
    params.append(params[0] | {"f": 3})  # differs from the first in the last of six keys only
    found = labels(*(record("A", 0.5, params=p) for p in params))
    assert found == {"A (a=2, b=2, c=2, d=2, …)", "A (f=1)", "A (f=3)"}


def test_what_most_rows_of_a_model_share_is_not_in_their_labels():
    usual = {"loss": "infonce", "layers": 2, "mapping": "mlp"}
    given = [
        usual,
        usual | {"layers": 0},
        usual | {"mapping": "linear"},
        usual | {"mapping": "linear", "layers": 0},
    ]
    rows = [record("A", 0.5, params=params, points=6) for params in given]
    rows.append(record("A", 0.5, params=usual | {"drawn": "user"}))
    assert labels(*rows) == {
        "A",
        "A (layers=0)",
        "A (mapping=linear)",
        "A (layers=0, mapping=linear)",
        "A (untuned, drawn=user)",
    }


def test_only_the_same_data_split_and_exclusion_share_a_section():
    base = record("A", 0.5)
    later = {"split": "global_time", "split_seed": 1}
    titles = [
        [section.title for section in sections([base, other])]
        for other in (
            record("A", 0.5, exclude="train+valid"),
            record("A", 0.5, read={"data": "e" * 64}),
            record("A", 0.5, split=later, read={"split": "6" * 64}),
        )
    ]
    assert titles == [
        ["d, without train", "d, without train+valid"],
        ["d, data dddddddddddd", "d, data eeeeeeeeeeee"],
        ["d, split=global_time, split_seed=1", "d, split=ratio, split_seed=1"],
    ]
    assert len(sections([base, record("B", 0.5, split=later)])) == 1  # same pairs, other words


def test_different_candidate_lists_are_said():
    (section,) = sections([record("A", 0.5, drawn(0.5)), record("B", 0.4, drawn(0.6), lists="b")])
    assert warnings(section) == [
        "candidate lists differ: uni19 is aaaaaaaaaaaa for A, bbbbbbbbbbbb for B; uni19 is not comparable"
    ]
    assert not section.comparable("uni19") and section.comparable("expected@19")


def test_lists_without_a_hash_are_not_taken_for_the_same():
    bare = record("B", 0.4, drawn(0.6))
    bare.candidates.clear()
    (section,) = sections([record("A", 0.5, drawn(0.5)), bare])
    assert not section.comparable("uni19") and "unknown for B" in warnings(section)[0]


def test_different_evaluator_revisions_are_said():
    (section,) = sections([record("A", 0.5), record("B", 0.5, evaluator_revision=2)])
    assert warnings(section)[0].startswith("evaluator revisions differ: 1 for A, 2 for B;")


def test_without_ndcg_at_20_the_nearest_metric_orders_and_is_named():
    records = [record("A", 0.5), record("B", 0.6), record("C", 0.4)]
    for item in records[:2]:
        del item.metrics["full"]["ndcg@20"]
    (section,) = sections(records)
    assert [row.label for row in section.rows] == ["B", "A", "C"]
    assert warnings(section) == ["rows are ordered by ndcg@10 of full"]


def test_a_board_of_candidate_only_models_is_ordered_by_a_sampled_protocol():
    (section,) = sections([record("A", None, {"uni19": 0.5}), record("B", None, {"uni19": 0.6})])
    assert [(row.label, row.place) for row in section.rows] == [("B", 1), ("A", 2)]
    assert warnings(section) == ["rows are ordered by ndcg_pp@10 of uni19"]


def test_machines_are_named_with_their_rows_where_they_differ():
    gpu = {"device": "NVIDIA H100", "packages": {"torch": "2.1"}}
    (section,) = sections([record("A", 0.5), record("B", 0.4, environment=gpu, threads=1)])
    assert facts(section)[-1] == (
        "ran on NVIDIA H100, a cpu with 1 thread, python 3.11, torch 2.1 for B; "
        "a cpu with 2 threads, python 3.11, torch 2.0, recbole 1.2.1 for A"
    )


def test_of_two_records_of_a_run_the_later_counts_in_any_order():
    old, new = record("A", 0.5), record("A", 0.6, created="2026-01-02T00:00:00+00:00")
    for pair in ([old, new], [new, old]):
        (section,) = sections(pair)
        assert section.rows[0].records == (new,)


def test_rows_that_stand_together_are_a_run_of_letters():
    letters = {name: name.lower() for name in "ABCDEFGH"}
    assert runs(letters, set("BDEFH")) == "b,d-f,h"
    assert runs(letters, set("AB")) == "a,b" and runs(letters, set(letters)) == "a-h"
