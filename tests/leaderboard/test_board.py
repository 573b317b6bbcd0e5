"""Reading, publishing and checking a board on disk."""

from __future__ import annotations

import dataclasses
import json

import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.leaderboard import board
from recbole_ext.leaderboard.analysis import Analysis, write_analysis
from recbole_ext.leaderboard.papers import _read
from recbole_ext.leaderboard.rows import sections
from recbole_ext.results import SCHEMA, find_records, read_record
from tests.leaderboard.factory import BOARD, entry, lines, record


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    for item in BOARD:
        save(folder, item)
    return folder


def save(folder, item, name=None):
    path = folder / (name or item.run_id) / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(item.to_json())
    return path


def test_a_published_board_is_fresh_and_comes_back_byte_for_byte(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    written, _ = board.publish(runs, folder)
    assert folder / "records" / "d" / "B" / f"{BOARD[1].run_id}.json" in written
    names = ["LEADERBOARD.md", "d.md", "d-protocols.md", "other.md", "other-protocols.md", "leaderboard.parquet", "summary.csv",
             "trials.csv", "sampled-vs-full.md"]  # fmt: skip
    pages = [
        *(folder / name for name in names),
        *sorted((folder / "plots").glob("*.svg"), reverse=True),
    ]
    assert written[len(BOARD) :] == pages and len(pages) == 11 and board.check(folder) == []
    before = [page.read_bytes() for page in pages]
    assert all(b"\r" not in x and x.endswith(b"\n") for x in before if x[:4] != b"PAR1")
    for page in pages:
        page.unlink()
    assert board.check(folder) == [f"{page.name} is missing" for page in pages]
    assert board.publish(runs, folder) == (
        pages,
        [],
    )  # records that are there already are left alone
    assert [page.read_bytes() for page in pages] == before
    pages[0].unlink()
    board.publish(tmp_path / "no runs here", folder)  # the records beside it are enough
    assert [page.read_bytes() for page in pages] == before
    (folder / "plots" / "old-places.svg").write_text("<svg/>")
    assert board.check(folder) == ["old-places.svg shows nothing of the records"]
    board.publish(runs, folder)
    assert board.check(folder) == []


def test_a_page_of_ones_own_beside_the_board_is_left_alone(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    board.publish(runs, folder)
    (folder / "NOTES.md").write_text("# Mine\n")
    (folder / "gone.md").write_text((folder / "d.md").read_text())
    assert board.check(folder) == ["gone.md shows nothing of the records"]
    board.publish(runs, folder)
    assert (folder / "NOTES.md").is_file() and not (folder / "gone.md").exists()


def test_a_changed_table_is_stale(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    board.publish(runs, folder)
    path = folder / "leaderboard.parquet"
    whole = path.read_bytes()
    for harm in (b"", whole[:-20], b"PAR1" + whole):
        path.write_bytes(harm)
        assert (
            board.check(folder) == ["leaderboard.parquet holds another table"] or harm[4:] == whole
        )


def test_records_are_read_once(runs, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        "recbole_ext.results.read_record", lambda path: read.append(path) or read_record(path)
    )
    board.publish(runs, tmp_path / "leaderboard")
    assert len(read) == len(BOARD)
    read.clear()
    board.check(tmp_path / "leaderboard")
    assert len(read) == len(BOARD)


def test_a_record_that_does_not_follow_from_its_content_is_not_published(runs, tmp_path):
    path = runs / BOARD[0].run_id / "record.json"
    path.write_text(path.read_text().replace(BOARD[0].run_id, "0" * 16))
    with pytest.raises(HarnessError, match=r"run_id does not match its content.*remove it before"):
        board.publish(runs, tmp_path / "leaderboard")
    assert not (tmp_path / "leaderboard").exists()


def test_a_run_has_one_file_on_a_board_and_is_named_by_it(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    path = board.publish(runs, folder)[0][0]
    copy = folder / "records" / "other" / "Copy" / path.name
    copy.parent.mkdir(parents=True)
    copy.write_text(path.read_text())
    (told,) = board.check(folder)
    assert str(path) in told and str(copy) in told
    with pytest.raises(HarnessError, match=r"of the run that .*; remove it before publishing"):
        board.publish(runs, folder)
    copy.rename(path.parent / f"{'0' * 16}.json")
    (told,) = board.check(folder)
    assert told.endswith(f"its run is {path.stem}, not what its name says")


def test_nothing_is_removed(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    board.publish(runs, folder)
    more = record("Z", 0.9)
    save(tmp_path / "others", more)
    board.publish(tmp_path / "others", folder)
    found, damaged = board.load_records(folder / "records")
    assert {r.run_id for r in found} == {r.run_id for r in [*BOARD, more]} and not damaged


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"0.5000", b"0.9999", "0.9999"),
        (b"\n", b"\r\n", "\r"),
        (b"**bold**", b"\xff bold", "\\xff"),
    ],
)
def test_a_page_that_was_changed_is_stale(runs, tmp_path, old, new, said):
    folder = tmp_path / "leaderboard"
    board.publish(runs, folder)
    page = folder / "LEADERBOARD.md"
    page.write_bytes(page.read_bytes().replace(old, new))
    told = board.check(folder)
    assert any(said in line for line in told) and len(told) <= 21


def test_a_lost_last_newline_is_stale(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    board.publish(runs, folder)
    page = folder / "summary.csv"
    page.write_bytes(page.read_bytes()[:-1])
    assert board.check(folder)


def test_a_published_record_gives_way_only_to_a_later_one(tmp_path):
    old, new = record("A", 0.5), record("A", 0.6, created="2026-01-02T00:00:00+00:00")
    folder = tmp_path / "leaderboard"
    save(tmp_path / "new", new)
    save(tmp_path / "old", old)
    for runs in ("new", "old", "new"):
        board.publish(tmp_path / runs, folder)
        assert [read_record(path) for path in find_records(folder)] == [new]


def test_a_run_is_kept_once(runs):
    save(runs, BOARD[0], "a copy")
    assert len(board.load_records(runs)[0]) == len(BOARD)


def test_a_board_keeps_to_its_folder_but_for_the_page_among_the_docs_of_a_checkout(runs, tmp_path):
    apart = tmp_path / "apart"
    board.publish(runs, apart / "leaderboard")
    assert [path.name for path in apart.iterdir()] == ["leaderboard"]
    pages = [apart / "leaderboard" / name for name in ("LEADERBOARD.md", "sampled-vs-full.md")]
    told = [page.read_text() for page in pages]
    assert "[docs/sampled-vs-full.md](sampled-vs-full.md)" in told[0]
    assert "[the leaderboard](LEADERBOARD.md)" in told[1] and "](../" not in told[1]
    (apart / "docs").mkdir()
    (apart / "docs" / "protocols.md").write_text("# Protocols\n")
    assert board.check(apart / "leaderboard")[0] != ""
    board.publish(runs, apart / "leaderboard")
    assert "(../docs/sampled-vs-full.md)" in pages[0].read_text()
    assert "(../leaderboard/LEADERBOARD.md)" in (apart / "docs" / "sampled-vs-full.md").read_text()
    assert board.check(apart / "leaderboard") == []


def test_seeds_with_other_metrics_share_what_both_have(runs, tmp_path):
    part = {"users": 5, "positives": 6, "metrics": {"ndcg@20": entry(0.5), "ndcg@10": entry(0.4)}}
    less = part | {"metrics": {"ndcg@10": entry(0.2)}}
    seeds = [
        dataclasses.replace(record("A", 0.5, seed=seed), strata={"tail items": strata})
        for seed, strata in ((1, part), (2, less))
    ]
    (line,) = [line for line in lines(seeds) if line["part"] == "tail items"]
    assert line["metric"] == "ndcg@10" and line["mean"] == 0.3


def test_a_paper_with_a_mistake_is_named_and_no_record_is(runs, tmp_path, monkeypatch):
    def papers(**changes):
        folder = tmp_path / "properties"
        (folder / "paper").mkdir(parents=True, exist_ok=True)
        table = {"where": "Table 1", "board": True, "datasets": ["d"], "conditions": {},
                 "metrics": ["recall@20", "ndcg@20"], "rows": {"A": [0.5, 0.4]}} | changes  # fmt: skip
        path = folder / "paper" / "ours.yaml"
        path.write_text(json.dumps({"paper": "Ours", "tables": [table]}))
        monkeypatch.setattr("recbole_ext.leaderboard.papers.properties", lambda: folder)
        _read.cache_clear()
        return path

    for changes, said in (
        ({"metrics": ["recall@20", "mpr@20"]}, "Table 1: metric 'mpr@20' is unknown (recall, ndcg, hr, precision, mrr, map, recall_mink, hit_pp, ndcg_pp, mrr_pp, valid_pp, auc, uauc, log_loss), did you mean mrr or map?"),
        ({"metrics": ["recall@20", "ndcg"]}, "Table 1: metric 'ndcg' has no cut-off, e.g. ndcg@20"),
        ({"rows": {"A": [0.5]}}, "Table 1: row A has 1 numbers for 2 metrics"),
        ({"rows": {"A": [0.5, "x"]}}, "tables.1.rows.A.2: not a number"),
        ({"datasets": None}, "tables.1.datasets: not a list"),
    ):  # fmt: skip
        path = papers(**changes)
        assert len(board.load_records(runs)[0]) == len(BOARD)
        with pytest.raises(HarnessError) as error:
            board.publish(runs, tmp_path / "leaderboard")
        assert str(error.value) == f"{path}: {said}"
        assert not (tmp_path / "leaderboard").exists()
    papers()
    board.publish(runs, tmp_path / "leaderboard")
    assert "Ours, Table 1" in (tmp_path / "leaderboard" / "d.md").read_text()
    _read.cache_clear()


def test_what_a_later_version_found_is_not_written_over(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    board.publish(runs, folder)
    section = sections(BOARD)[0]
    path = folder / "records" / "d" / f"analysis-{section.problem}.json"
    path.write_text(later := '{"schema": 99, "wisdom": []}')
    with pytest.raises(HarnessError, match=r"schema 99 is newer than 2; update recbole_ext$"):
        board.publish(runs, folder)
    write_analysis(path.parent, section, Analysis())
    assert path.read_text() == later
    path.write_text('{"schema": 1}')
    write_analysis(path.parent, section, Analysis())
    assert json.loads(path.read_text())["schema"] == 2


def test_a_newer_record_is_not_to_be_removed(runs, tmp_path):
    path = runs / BOARD[0].run_id / "record.json"
    path.write_text(json.dumps({"schema": SCHEMA + 1}))
    with pytest.raises(HarnessError, match=r"is newer than 1; update recbole_ext$"):
        board.publish(runs, tmp_path / "leaderboard")


def test_a_damaged_record_is_named_and_not_fatal(runs, tmp_path):
    broken = runs / BOARD[0].run_id / "record.json"
    broken.write_text(broken.read_text()[:100])
    found, damaged = board.load_records(runs)
    assert len(found) == len(BOARD) - 1 and len(damaged) == 1 and str(broken) in str(damaged[0])
    with pytest.raises(HarnessError, match="remove it before publishing"):
        board.publish(runs, tmp_path / "leaderboard")
    assert not (tmp_path / "leaderboard").exists()
    assert board.check(runs.parent)[0].endswith("is missing")  # no records/ there: an empty board


def test_a_damaged_published_record_makes_the_board_stale(runs, tmp_path):
    folder = tmp_path / "leaderboard"
    path = board.publish(runs, folder)[0][0]
    path.write_text("{}")
    assert len(board.check(folder)) == 1 and str(path) in board.check(folder)[0]
    with pytest.raises(HarnessError, match="remove it"):
        board.publish(runs, folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"metrics": {"full": {"ndcg@20": {"mean": 0.5}}}},
            "damaged record (metrics.full.ndcg@20: no low)",
        ),
        (
            {"metrics": {"full": {"ndcg@20": {"mean": float("nan"), "low": 0, "high": 1}}}},
            "not a readable record (Out of range float values are not JSON compliant",
        ),
        (
            {"metrics": {"full": {"ndcg@20": {"mean": "a", "low": 0, "high": 1}}}},
            "(metrics.full.ndcg@20.mean: not a number)",
        ),
        ({"metrics": None}, "(metrics: not a mapping)"),
        ({"data": {}}, "(data: no users)"),
        ({"environment": {}}, "(environment: no python)"),
        ({"flags": None}, "(flags: not a list)"),
        ({"flags": ["a", 1]}, "(flags.2: not a text)"),
    ],
)
def test_a_record_without_what_a_board_needs_is_named(change, said, runs):
    raw = json.dumps(dataclasses.asdict(BOARD[0]) | change)
    (runs / BOARD[0].run_id / "record.json").write_text(raw)
    found, damaged = board.load_records(runs)
    assert len(found) == len(BOARD) - 1
    assert len(damaged) == 1 and said in str(damaged[0])


def test_without_any_record_there_is_nothing_to_publish(tmp_path):
    with pytest.raises(HarnessError, match="no records"):
        board.publish(tmp_path / "runs", tmp_path / "leaderboard")
    assert not (tmp_path / "leaderboard").exists()


def test_a_name_in_a_record_is_no_path(tmp_path):
    save(tmp_path / "runs", record("../../x", 0.5, dataset="../.."))
    folder = tmp_path / "a" / "b" / "leaderboard"
    written, _ = board.publish(tmp_path / "runs", folder)
    assert all(path.resolve().is_relative_to(folder) for path in written)
    assert board.check(folder) == []


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
