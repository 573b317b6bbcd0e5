"""The board is a pure function of the records."""

from __future__ import annotations

import copy
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.errors import HarnessError
from recbole_ext.leaderboard import board
from recbole_ext.leaderboard.render import render_csv, render_markdown, render_text
from recbole_ext.leaderboard.rows import sections, swaps
from recbole_ext.results import SCHEMA, ResultRecord, read_record, run_id


def entry(mean, draws=None):
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01} | (
        {"draws": draws} if draws else {}
    )


def record(
    model, value, *, seed=1, tuned=False, params=None, sampled=None, dataset="d", lists="a" * 64
):
    experiment = {
        "model": model, "model_revision": 1, "evaluator_revision": 1, "protocols": ["full", "uni19"], "draws": 2,
        "dataset": {"name": dataset, "filters": {"min_user": 0}, "split": {"split": "ratio", "split_seed": 1}},
        "exclude": "train", "ks": [10, 20], "valid_metric": "recall@20", "seed": seed, "threads": 1, "device": "cpu",
        "params": params if params is not None else {"p": 1}, "tune": {"stages": [], "trials": 4} if tuned else None,
    }  # fmt: skip
    fingerprints = {"data": "d" * 64, "split": "5" * 64}
    joint = {f"{m}@{k}": entry(value) for m in ("recall", "ndcg") for k in (10, 20)}
    per_positive = {f"{m}@10": entry(value / 2) for m in ("ndcg_pp", "hit_pp")}
    drawn = value if sampled is None else sampled
    metrics = {"full": joint | per_positive}
    if drawn is not False:
        metrics["uni19"] = {
            f"{m}@10": entry(drawn, [drawn - 0.01, drawn + 0.01]) for m in ("ndcg_pp", "hit_pp")
        }
    return ResultRecord(
        run_id=run_id(experiment, fingerprints), experiment=experiment, fingerprints=fingerprints,
        data={"users": 9, "items": 8, "interactions": 70, "train": 50, "valid": 10, "test": 10, "test_users": 9},
        candidates={"uni19": lists}, metrics=metrics, validation={"metric": "recall@20", "value": value},
        params=experiment["params"], text=None, flags=[] if tuned else ["untuned"], created="2026-01-01T00:00:00+00:00",
        tuning={"metric": "recall@20", "points": 4, "seconds": 2.0, "best": {}, "trials": []} if tuned else None,
        cost={"fit_seconds": 1.5, "evaluate_seconds": 0.5, "encode_seconds": None, "peak_memory_mb": 100.0,
              "parameters": 5, "epochs": None},
        environment={"python": "3.11", "platform": "Linux", "cpu": "cpu", "device": "cpu", "git": None,
                     "packages": {"torch": "2", "recbole": "1.2.1"}},
    )  # fmt: skip


BOARD = [
    record("A", 0.5), record("B", 0.4, tuned=True, sampled=0.6), record("C", 0.3, seed=1), record("C", 0.32, seed=2),
    record("D", 0.2, sampled=False), record("E", 0.3, dataset="other"),
]  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_records_does_not_matter(seed):
    shuffled = copy.deepcopy(BOARD)
    random.Random(seed).shuffle(shuffled)
    for render in (render_markdown, render_csv, render_text):
        assert render(shuffled) == render(BOARD)


def test_rows_seeds_missing_cells_and_swaps():
    first, other = sections(BOARD)
    assert [row.label for row in first.rows] == ["A", "B", "C", "D"] and other.dataset == "other"
    text = render_markdown(BOARD)
    assert "0.3100 ±0.0100 (sd 0.0141)" in text  # two seeds
    assert "4 points" in text and "untuned" in text
    assert swaps(first, "uni19", "ndcg_pp@10") == [("A", "B")]
    assert "uni19 turns around: A over B." in text
    line = next(line for line in text.splitlines() if line.startswith("| B") and "#" in line)
    assert "0.6000 ±0.0141 #1 +1" in line
    line = next(line for line in text.splitlines() if line.startswith("| D") and "#" in line)
    assert line.rstrip(" |").endswith("–")


def test_tuned_and_untuned_rows_of_a_model_are_told_apart():
    labels = {
        row.label for row in sections([record("A", 0.5), record("A", 0.6, tuned=True)])[0].rows
    }
    assert labels == {"A (untuned)", "A (tuned)"}
    labels = {
        row.label for row in sections([record("A", 0.5), record("A", 0.6, params={"p": 2})])[0].rows
    }
    assert labels == {"A (p=1)", "A (p=2)"}


def test_different_candidate_lists_are_said():
    text = render_markdown([record("A", 0.5), record("B", 0.4, lists="b" * 64)])
    assert "uni19: candidate lists differ between rows" in text


def test_a_narrow_terminal_drops_columns_and_says_so():
    text = render_text(BOARD, 100)
    assert "not shown, the terminal is narrow" in text and "Recall@20" in text
    assert "not shown" not in render_text(BOARD, 400)


def test_publish_check_and_damage(tmp_path):
    runs, folder = tmp_path / "runs", tmp_path / "leaderboard"
    with pytest.raises(HarnessError, match="no records"):
        board.publish(runs, folder)
    for item in BOARD:
        (runs / item.run_id).mkdir(parents=True)
        (runs / item.run_id / "record.json").write_text(item.to_json())
    written = board.publish(runs, folder)
    assert folder / "records" / "d" / "B" / f"{BOARD[1].run_id}.json" in written
    page = folder / "LEADERBOARD.md"
    before = page.read_bytes()
    assert board.check(folder) == []
    page.write_text(page.read_text().replace("0.5000", "0.9999"))
    assert any("0.9999" in line for line in board.check(folder))
    page.unlink()
    board.publish(runs, folder)
    assert page.read_bytes() == before

    broken = runs / BOARD[0].run_id / "record.json"
    broken.write_text(broken.read_text()[:100])
    found, damaged = board.load_records(runs)
    assert len(found) == len(BOARD) - 1 and str(broken) in damaged[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema": SCHEMA + 1}, "newer"),
        ({"run_id": "0" * 16}, "changed by hand"),
        ({"surprise": 1}, "not a version"),
        ({"schema": None}, "no schema number"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_refused(change, expected, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(json.loads(BOARD[0].to_json()) | change))
    with pytest.raises(HarnessError, match=expected):
        read_record(path)


def test_a_record_makes_a_round_trip(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(BOARD[0].to_json())
    assert read_record(path) == BOARD[0]
