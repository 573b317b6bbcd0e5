"""What a board knows as a table, and what its pages print as lines."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pytest

from recbole_ext.evaluator.findings import Paired
from recbole_ext.leaderboard.analysis import Analysis, pair_key
from recbole_ext.leaderboard.data import as_parquet, board_table, render_summary, same_table
from recbole_ext.leaderboard.groups import groups
from recbole_ext.leaderboard.rows import sections
from tests.leaderboard.factory import BOARD, drawn, lines, record


def summary(records):
    return list(csv.DictReader(io.StringIO(render_summary(groups(sections(records))))))


def test_every_number_of_a_row_is_a_line_of_the_table():
    (line,) = [
        x for x in lines(BOARD) if (x["model"], x["protocol"], x["metric"]) == ("C", "uni19", "ndcg_pp@10")
    ]  # fmt: skip
    assert line == {
        "kind": "value", "dataset": "d", "group": "d", "data": "d" * 12, "split": "5" * 12, "exclude": "train",
        "table": "Models", "model": "C", "label": "C", "protocol": "uni19", "metric": "ndcg_pp@10", "estimator": "", "part": "",
        "other": None, "run_ids": f"{BOARD[2].run_id} {BOARD[3].run_id}", "seeds": 2, "tuned_points": None, "mean": 0.41,
        "low": 0.4, "high": 0.42, "sd_over_seeds": 0.014142, "sd_over_draws": 0.014142, "effect": None, "p": None,
        "p_adjusted": None,
    }  # fmt: skip
    told = {
        (x["label"], x["protocol"], x["metric"])
        for x in lines(BOARD)
    }  # fmt: skip
    for item in BOARD:
        for protocol, metrics in item.metrics.items():
            assert {(item.experiment["model"], protocol, m) for m in metrics} <= told


def test_costs_and_remarks_are_kept():
    cost = {(x["model"], x["metric"]): x["mean"] for x in lines(BOARD, kind="cost")}
    assert cost["B", "tune_seconds"] == 2.0 and cost["A", "fit_seconds"] == 1.5
    assert ("LM", "fit_seconds") not in cost
    facts = {(x["model"], x["metric"]): x["other"] for x in lines(BOARD, kind="fact")}
    assert facts["D", "flags"] == "untuned; weights not saved: disk full"
    assert facts["A", "params"] == '{"p":1}' and "a cpu with 2 threads" in facts["A", "environment"]


def test_a_pair_is_kept_with_its_p_and_what_the_table_makes_of_it():
    three = [
        record("A", 0.5),
        record("B", 0.4),
        record("C", 0.3),
        record("C", 0.2, params={"p": 2}),
    ]
    (section,) = sections(three)
    known = Analysis()
    for i, one in enumerate(section.rows):
        for two in section.rows[i + 1 :]:
            for metric in ("ndcg@20", "recall@20"):
                key, other_way = pair_key(one, two, "full", metric)
                sign = -1 if other_way else 1
                known.pairs[key] = Paired(
                    sign * 0.1, sign * 0.1 - 0.01, sign * 0.1 + 0.01, sign, 0.004
                )
    by = {(x["label"], x["other"], x["metric"]): x for x in lines(three, known, "pair")}
    assert len(by) == 12
    pair = by["A", "B", "ndcg@20"]
    assert pair["mean"] == 0.1 and pair["low"] == pytest.approx(0.09) and pair["p"] == 0.004
    # Three models and two metrics with tests: six comparisons. The second row of C costs them nothing.
    assert pair["p_adjusted"] == pytest.approx(6 * 0.004)
    aside = [x for key, x in by.items() if "C (p=2)" in key]
    assert len(aside) == 6 and all(x["p_adjusted"] is None for x in aside)


def test_the_table_is_read_back_as_it_was_and_damage_is_seen():
    table = board_table(groups(sections(BOARD)), Analysis())
    stored = as_parquet(table)
    assert stored == as_parquet(table) and same_table(stored, table)
    assert not same_table(stored[:-9], table) and not same_table(b"", table)
    other = table.set_column(
        table.column_names.index("mean"), "mean", pa.array([0.0] * table.num_rows, pa.float64())
    )
    assert not same_table(as_parquet(other), table)


def test_no_records_are_an_empty_table():
    table = board_table([], Analysis())
    assert table.num_rows == 0 and same_table(as_parquet(table), table)
    assert len(render_summary([]).splitlines()) == 1


def test_the_summary_has_a_line_for_what_a_page_prints_of_each_model():
    rows = summary(BOARD)
    (row,) = [
        r for r in rows if (r["model"], r["protocol"], r["metric"]) == ("C", "full", "ndcg@20")
    ]
    assert row == {
        "dataset": "d", "group": "d", "table": "Models", "model": "C", "label": "C", "tuned_points": "", "seeds": "2",
        "protocol": "full", "metric": "ndcg@20", "place": "3", "mean": "0.310000", "low": "0.300000", "high": "0.320000",
        "sd_over_seeds": "0.014142", "splits": "1", "mean_over_splits": "", "sd_over_splits": "",
    }  # fmt: skip
    names = {(r["model"], r["protocol"], r["metric"]) for r in rows}
    assert ("A", "uni19", "ndcg_pp@10") in names and ("D", "uni19", "ndcg_pp@10") not in names
    of_lists = {(r["model"], r["protocol"]) for r in rows if r["table"].startswith("Models that")}
    assert {("LM", "uni19"), ("A", "uni19")} <= of_lists and ("A", "full") not in of_lists
    again = [*BOARD, record("A", 0.1, drawn(0.1), params={"p": 9})]
    assert len(summary(again)) == len(rows)  # one row per model


def test_random_splits_are_merged_in_the_summary():
    found = [
        record("A", value, split={"split": "ratio", "split_seed": seed}, read={"split": str(seed) * 64})
        for seed, value in ((1, 0.2), (2, 0.4))
    ]  # fmt: skip
    (row,) = [r for r in summary(found) if r["metric"] == "ndcg@20"]
    assert (row["mean"], row["splits"], row["mean_over_splits"]) == ("0.200000", "2", "0.300000")
    assert row["sd_over_splits"] == "0.141421"
