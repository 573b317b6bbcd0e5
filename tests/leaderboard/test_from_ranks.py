"""Rows compared through their rank tables: stored once, letters only for what is significant, damage set aside."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch

from recbole_ext.evaluator.candidates import draw_lists
from recbole_ext.evaluator.corrected import corrected, sampled_ranks
from recbole_ext.evaluator.ranks import make_task, rank
from recbole_ext.evaluator.ranks_file import read_ranks, write_ranks
from recbole_ext.evaluator.stats import resamples
from recbole_ext.evaluator.summary import summarise
from recbole_ext.leaderboard import board
from recbole_ext.leaderboard.analysis import read_analysis, rows_key, verdicts
from recbole_ext.leaderboard.from_ranks import RESAMPLES
from recbole_ext.leaderboard.rows import sections
from recbole_ext.leaderboard.terminal import render_text
from tests.leaderboard.factory import pages, record

USERS, ITEMS = 300, 50
NAMES = [f"t{i:03d}" for i in range(USERS)]
KS = [10, 20]


def run(folder, model, quality, seed=1):
    """A run of a made-up model whose scores know the positives as well as `quality` says."""
    rng = np.random.default_rng(7)
    positives = np.arange(USERS), rng.integers(0, ITEMS, USERS)
    task = make_task(ITEMS, positives, (np.array([], int), np.array([], int)))
    lists = {"uni5": draw_lists(task, NAMES, NAMES[:ITEMS], 5, 2, "key")}
    task = dataclasses.replace(task, lists=lists)
    noise = np.random.default_rng([seed, *model.encode()]).normal(size=(USERS, ITEMS))
    noise[positives] += quality
    scores = torch.from_numpy(noise.astype(np.float32))
    (table,) = rank(task, lambda users: [scores[users]])
    found = dataclasses.replace(
        record(model, 0.5, seed=seed), metrics=summarise(table, ["full", "uni5", "expected@10"], KS)
    )
    place = folder / found.run_id
    place.mkdir(parents=True)
    write_ranks(table, NAMES, NAMES[:ITEMS], place / "ranks.parquet")
    (place / "record.json").write_text(found.to_json())
    return found


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    for model, quality, seed in (
        ("Good", 2.0, 1),
        ("Good", 2.0, 2),
        ("Fair", 1.0, 1),
        ("Same", 1.0, 1),
    ):
        run(folder, model, quality, seed)
    return folder


def test_letters_and_bold_only_for_what_is_significant(runs):
    records, _ = board.load_records(runs)
    known, damaged = board.analysed(records, runs, runs)
    assert not damaged
    (section,) = sections(records)
    assert section.rows[0].model == "Good"
    found = verdicts(section, known)
    assert {other for other, t in found["Good", "ndcg@20"].items() if t.wins} == {"Fair", "Same"}
    pair = found["Fair", "recall@20"]["Same"]
    assert not pair.wins and pair.p > 0.05
    mirrored = found["Same", "recall@20"]["Fair"]
    assert mirrored.paired.difference == -pair.paired.difference and mirrored.p == pair.p
    assert mirrored.paired.low == -pair.paired.high
    good, fair = (section.rows[i].cell("full", "ndcg@20").mean for i in (0, 1))
    assert found["Good", "ndcg@20"][section.rows[1].label].paired.difference == pytest.approx(
        good - fair, abs=2e-8
    )
    page = pages(records, known)["d.md"]
    assert page.count("**0.") == 4  # four metrics, one row
    assert ">b,c" in page and "First's lead in NDCG@20" in page
    assert ">b,c" in render_text(records, 200, known) and ">b" not in render_text(records, 200)


def test_what_was_compared_is_not_compared_again_and_needs_no_ranks(runs, tmp_path, monkeypatch):
    folder = tmp_path / "leaderboard"
    board.publish(runs, folder)
    before = (folder / "d.md").read_bytes()
    assert b">b,c" in before and board.check(folder) == []
    for path in runs.rglob("ranks.parquet"):
        path.unlink()
    monkeypatch.setattr("recbole_ext.leaderboard.from_ranks.paired_tests", None)
    monkeypatch.setattr("recbole_ext.leaderboard.from_ranks.Correction", None)
    written, remarks = board.publish(runs, folder)
    assert not [path for path in written if path.suffix == ".json"] and remarks == []
    assert (folder / "d.md").read_bytes() == before


def test_a_new_row_makes_no_estimate_of_the_others_again(runs, tmp_path, monkeypatch):
    records, _ = board.load_records(runs)
    board.analysed(records, runs, runs)
    first, _ = read_analysis(runs)
    alone = run(runs, "New", 1.5)
    both, _ = board.load_records(runs)
    made = []
    monkeypatch.setattr(
        "recbole_ext.leaderboard.from_ranks.sampled_ranks",
        lambda *args: made.append(1) or sampled_ranks(*args),
    )
    known, damaged = board.analysed(both, runs, runs)
    assert len(made) == 1 and not damaged  # one row with one seed, one drawn protocol
    assert all(known.corrected[key] == value for key, value in first.corrected.items())
    assert {ids for ids, *_ in known.corrected.keys() - first.corrected.keys()} == {alone.run_id}
    # What was kept is what would have been made.
    for path in runs.rglob("*.npz"):
        path.unlink()
    for path in runs.rglob("analysis-*.json"):
        path.unlink()
    anew, _ = board.analysed(both, runs, runs)
    (section,) = sections(both)
    own = rows_key(section)
    assert anew.corrected.keys() == known.corrected.keys() and len(made) == 1 + 5
    assert own in {key for key, *_ in known.taus}
    assert {k: v for k, v in anew.taus.items() if k[0] == own} == {
        k: v for k, v in known.taus.items() if k[0] == own
    }


@pytest.mark.parametrize("harm", [b"", b"PK nothing of the kind"])
def test_a_damaged_file_of_resampled_estimates_is_made_again(runs, harm):
    records, _ = board.load_records(runs)
    before, _ = board.analysed(records, runs, runs)
    kept = sorted(runs.rglob("*.npz"))
    assert len(kept) == 4 and kept[0].name == "resampled-uni5.npz"
    kept[0].write_bytes(harm)
    for path in runs.rglob("analysis-*.json"):
        path.unlink()
    again, damaged = board.analysed(records, runs, runs)
    assert again.taus == before.taus and not damaged and kept[0].read_bytes() != harm


def test_a_row_without_ranks_does_not_have_the_others_read_at_each_call(runs, monkeypatch):
    alone = record("NoRanks", 0.9)
    (runs / alone.run_id).mkdir()
    (runs / alone.run_id / "record.json").write_text(alone.to_json())
    records, _ = board.load_records(runs)
    board.analysed(records, runs, runs)
    monkeypatch.setattr("recbole_ext.leaderboard.from_ranks.read_tables", None)
    board.analysed(records, runs, runs)


def test_forty_rows_without_ranks_take_no_time(tmp_path):
    sampled = {f"uni{m}": 0.5 for m in (9, 19, 49, 99, 100)}
    records = [record(f"M{i}", i / 100, sampled) for i in range(40)]
    begun = time.process_time()
    board.analysed(records, tmp_path, tmp_path)
    assert (
        time.process_time() - begun < 1.0
    )  # 0.05 s on an idle core; asked of each pair again it takes 25


def test_a_run_without_ranks_is_shown_without_letters(runs):
    alone = record("NoRanks", 0.9)
    (runs / alone.run_id).mkdir()
    (runs / alone.run_id / "record.json").write_text(alone.to_json())
    records, _ = board.load_records(runs)
    known, _ = board.analysed(records, runs, runs)
    assert "**0." not in pages(records, known)["d.md"]  # nobody is known to beat every other row


def test_a_damaged_rank_table_is_named_and_set_aside(runs):
    records, _ = board.load_records(runs)
    victim = next(r for r in records if r.experiment["model"] == "Fair")
    path = runs / victim.run_id / "ranks.parquet"
    path.write_bytes(path.read_bytes()[:100])
    known, damaged = board.analysed(records, runs, runs)
    assert len(damaged) == 1 and str(path) in str(damaged[0]) and "set aside" in str(damaged[0])
    assert not path.exists() and path.with_suffix(".parquet.corrupt").exists()
    assert not any(victim.run_id in key for pair in known.pairs for key in pair[:2])
    assert known  # the others are compared


def test_a_damaged_file_of_comparisons_is_named_and_makes_the_board_stale(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    board.publish(runs, folder)
    (path,) = folder.rglob("analysis-*.json")
    path.write_text(path.read_text()[:50])
    found, damaged = read_analysis(folder)
    assert not found and str(path) in str(damaged[0])
    assert board.check(folder) == [str(damaged[0])]


def test_estimates_from_drawn_lists_stand_beside_full_ranking(runs):
    records, _ = board.load_records(runs)
    known, _ = board.analysed(records, runs, runs)
    (section,) = sections(records)
    page = pages(records, known)["d-protocols.md"]
    block = page.split("### NDCG@10 per positive, estimated from uni5")[1].split("###")[0]
    fair = next(row for row in section.rows if row.model == "Fair")
    table, _, _ = read_ranks(runs / fair.first.run_id / "ranks.parquet")
    above, tied = table.lists["uni5"]
    seen = sampled_ranks(above, tied, table.user, table.negatives, 5)
    drawn = np.concatenate(list(resamples(len(seen.bin), RESAMPLES)))
    alone = corrected(seen, ["ndcg_pp@10"], drawn)["ndcg_pp@10"]
    line = next(line for line in block.splitlines() if line.startswith("| Fair"))
    for kind in ("naive", "plug_in", "bv", "mle", "bv_mle"):
        low, high = alone.ends[kind]
        assert low <= getattr(alone, kind) <= high
        assert f"{getattr(alone, kind):.4f} ±{(high - low) / 2:.4f} #" in line
    assert f"[{alone.low:.4f}, {alone.high:.4f}]" in line
    assert alone.naive == pytest.approx(fair.cell("uni5", "ndcg_pp@10").mean, abs=1e-8)
    order = page.split("### NDCG@10 per positive, the order of 3 models")[1].split("###")[0]
    by = {
        line.split("|")[1].strip(): line.split("|")
        for line in order.splitlines()
        if "| uni5" in line
    }
    assert list(by) == ["uni5", "uni5, plug-in", "uni5, BV(0.1)", "uni5, MLE", "uni5, BV-MLE"]
    for cells in by.values():
        low, high = (float(x) for x in cells[3].strip(" []").split(","))
        assert -1 <= low <= float(cells[2]) <= high <= 1 and cells[4].strip() == "yes"
    # Two seeds are averaged; without the ranks there is no such table.
    assert "estimated from uni5" not in pages(records)["d-protocols.md"]
