"""Places under a sampled protocol and what it does to the order."""

from __future__ import annotations

from recbole_ext.leaderboard.rows import sections
from recbole_ext.leaderboard.standings import standings, verdicts
from tests.leaderboard.factory import BOARD, drawn, record

METRIC = "ndcg_pp@10"


def section(*records):
    (found,) = sections(records)
    return found


def changes(found, protocol="uni19"):
    return {k: (s.place, s.change) for k, s in standings(found, protocol, METRIC).items()}


def test_a_change_of_place_is_positive_where_the_protocol_flatters():
    found = section(record("A", 0.5, drawn(0.5)), record("B", 0.4, drawn(0.6)))
    assert changes(found) == {"A": (2, -1), "B": (1, 1)}
    assert verdicts(found, METRIC) == ["expected@19 and uni19 swap 1 of 1 pair: A falls below B."]


def test_a_row_without_full_ranking_moves_nobody():
    found = sections(BOARD)[0]
    assert changes(found) == {
        "A": (3, -1), "B": (2, 1), "C": (4, 0), "D": (None, None), "LM": (1, None),
    }  # fmt: skip


def test_ties_are_neither_kept_nor_swapped():
    found = section(
        record("A", 0.5, drawn(0.4)), record("B", 0.5, drawn(0.6)), record("C", 0.3, drawn(0.4))
    )
    assert changes(found) == {"A": (2, -1), "B": (1, 0), "C": (2, 1)}
    assert verdicts(found, METRIC) == [
        "No sampled protocol swaps a pair against full ranking (1 compared)."
    ]


def test_protocols_that_agree_share_a_sentence():
    rows = [("A", 0.5, 0.2, 0.9), ("B", 0.4, 0.3, 0.8), ("C", 0.3, 0.4, 0.7)]
    found = section(
        *(record(m, f, {"uni19": a, "expected@19": a, "uni100": b}) for m, f, a, b in rows)
    )
    assert verdicts(found, METRIC) == [
        "expected@19 and uni19 swap 3 of 3 pairs: A falls below B and C; B falls below C.",
        "uni100 keeps the order of all 3 pairs.",
    ]


def test_a_sentence_over_many_rows_names_the_first_and_counts_the_rest():
    found = section(*(record(f"M{i:02}", 0.9 - i / 100, drawn(0.1 + i / 100)) for i in range(11)))
    (told,) = verdicts(found, METRIC)
    assert "swap 55 of 55 pairs: M00 falls below M01, M02, " in told
    assert "M08 and 2 more; M01 falls below" in told
    assert told.endswith("; M07 falls below M08, M09 and M10; 2 more rows fall.")


def test_rows_on_other_lists_get_values_but_no_places():
    found = section(record("A", 0.5, drawn(0.5)), record("B", 0.4, drawn(0.6), lists="b"))
    assert changes(found) == {"A": (None, None), "B": (None, None)}
    assert changes(found, "expected@19") == {"A": (2, -1), "B": (1, 1)}
    assert (
        "uni19: candidate lists differ between rows, so their order is not compared."
        in verdicts(found, METRIC)
    )


def test_one_row_has_no_order():
    found = section(record("A", 0.5, drawn(0.5)))
    assert changes(found) == {"A": (1, 0)}
    assert verdicts(found, METRIC) == ["There is one row, and no order to change."]


def test_rows_that_share_no_protocol_are_not_ordered():
    found = section(record("A", 0.5, {"uni19": 0.5}), record("B", 0.4))
    assert verdicts(found, METRIC) == [
        "uni19: no two rows have an order both here and under full ranking."
    ]
