"""`board --neighbours`: new records between the published rows, and what is no record to be merged."""

from __future__ import annotations

import dataclasses

import pytest

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.findings import Paired
from recbole_ext.leaderboard.analysis import Analysis, pair_key, write_analysis
from recbole_ext.leaderboard.neighbours import new_records, render_neighbours
from recbole_ext.leaderboard.rows import sections
from tests.leaderboard.factory import BOARD, record

PUBLISHED = [record(name, value) for name, value in zip("ABCDEF", (0.6, 0.5, 0.4, 0.3, 0.2, 0.1), strict=True)]  # fmt: skip
NEW = record("Mine", 0.35, points=8)


def cells(text):
    """The rows of the tables: cells without blanks."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def put(folder, *records):
    for of in records:
        path = folder / of.experiment["dataset"]["name"] / f"{of.run_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(of.to_json())
    return folder


def test_a_new_row_stands_between_the_two_above_and_the_two_below():
    text = render_neighbours([NEW], PUBLISHED, Analysis())
    assert text.startswith(
        f"### Mine on d, run {NEW.run_id}\n\n* Place 4 of 7 by NDCG@20 under full."
    )
    head, _, *rows = cells(text)
    assert [row[1] for row in rows] == ["B", "C", "Mine", "D", "E"]
    assert [row[0] for row in rows] == ["", "", "new", "", ""]
    assert [row[2] for row in rows] == ["2", "3", "4", "5", "6"]
    at = head.index("NDCG@20")
    assert rows[2][at] == "0.3500 ±0.0100" and rows[2][head.index("Tuning")] == "8 points"


@pytest.mark.parametrize(
    ("value", "around"), [(0.9, ["Mine", "A", "B"]), (0.0, ["E", "F", "Mine"])]
)
def test_the_best_and_the_worst_have_neighbours_on_one_side(value, around):
    text = render_neighbours([record("Mine", value)], PUBLISHED, Analysis())
    assert [row[1] for row in cells(text)[2:]] == around


def test_what_was_found_of_the_pair_stands_beside_it_seen_from_the_new_row():
    (section,) = sections([*PUBLISHED, NEW])
    rows = {row.model: row for row in section.rows}
    paired = Paired(0.05, 0.01, 0.09, 0.5, 0.002)
    known = Analysis()
    for other in ("C", "D"):
        key, turned = pair_key(rows["Mine"], rows[other], "full", "ndcg@20")
        known.pairs[key] = Paired(-0.05, -0.09, -0.01, -0.5, 0.002) if turned else paired
    of = {row[1]: row[-1] for row in cells(render_neighbours([NEW], PUBLISHED, known))}
    assert of["C"] == of["D"] == "+0.0500 [+0.0100, +0.0900] p 0.0040"  # two pairs: Holm
    assert of["B"] == of["Mine"] == "–"


def test_records_of_several_tables_have_a_block_each_and_seeds_one_together():
    new = [record("Mine", 0.3, seed=1), record("Mine", 0.4, seed=2), record("Mine", 0.3, dataset="other")]  # fmt: skip
    text = render_neighbours(new, BOARD, Analysis())
    assert text.count("### ") == 2 and text.count("| new |") == 2
    assert all(of.run_id in text for of in new)


def test_a_row_that_cannot_be_placed_says_why_and_one_alone_says_so():
    lists = record("LM2", None, {"uni19": 0.4})
    text = render_neighbours([lists], [*PUBLISHED], Analysis())
    assert "Has no place: no NDCG@20 under full" in text and "|" not in text
    alone = render_neighbours([record("Mine", 0.3, dataset="fresh")], PUBLISHED, Analysis())
    assert "The only row on this data and split" in alone


def test_a_new_record_of_a_published_run_is_one_row():
    later = dataclasses.replace(PUBLISHED[2], created="2027-01-01T00:00:00+00:00")
    text = render_neighbours([later], PUBLISHED, Analysis())
    assert "Place 3 of 6" in text and text.count("| new |") == 1


def test_names_are_text_and_no_markup():
    hostile = record("<img src=x onerror=alert(1)>|[a](http://x)`b`\n## c", 0.35, flags=("*all* <b>",))  # fmt: skip
    text = render_neighbours([hostile], PUBLISHED, Analysis())
    assert "<img" not in text.replace("\\<img", "") and "](http" not in text.replace("\\](http", "")
    assert "<b>" not in text.replace("\\<b>", "") and "\n## c" not in text
    assert len({len(row) for row in cells(text.replace("\\|", "/"))}) == 1


def test_the_command_prints_them_beside_the_published(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "leaderboard" / "records", *PUBLISHED, NEW)
    known = Analysis()
    (section,) = sections([*PUBLISHED, NEW])
    write_analysis(tmp_path / "leaderboard" / "records" / "d", section, known)
    new = put(tmp_path / "new", NEW)
    write_analysis(new / "d", section, known)  # changed with the records, and no record
    assert main(["board", f"--neighbours={new}"]) == 0
    out, err = capsys.readouterr()
    assert out == render_neighbours([NEW], PUBLISHED, known) and err == ""


def test_a_file_that_is_not_to_be_merged_is_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    cases = {
        "empty": (None, None, "has no records"),
        "nowhere": (None, None, "no such folder"),
        "id": (f"{NEW.run_id}.json", NEW.to_json().replace('"seed": 1', '"seed": 3'), "does not match its content"),
        "name": (f"{'0' * 16}.json", NEW.to_json(), f"its run is {NEW.run_id}, not what its name says"),
        "stray": ("notes.json", NEW.to_json(), "not what its name says"),
        "broken": (f"{NEW.run_id}.json", NEW.to_json()[:90], "not a readable record"),
        "newer": (f"{NEW.run_id}.json", NEW.to_json().replace('"schema": 1', '"schema": 2'), "is newer than 1"),
        "shape": (f"{NEW.run_id}.json", NEW.to_json().replace('"threads": 2', '"threads": "2"'), "damaged record"),
    }  # fmt: skip
    for case, (name, text, why) in cases.items():
        if name is not None:
            put(tmp_path / case, PUBLISHED[0])  # one that is in order does not hide it
            (tmp_path / case / name).write_text(text)
        assert main(["board", f"--neighbours={tmp_path / case}"]) == 2, case
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and why in err, case


def test_runs_as_they_lie_on_disk_are_new_records_too(tmp_path):
    (tmp_path / NEW.run_id).mkdir()
    (tmp_path / NEW.run_id / "record.json").write_text(NEW.to_json())
    (tmp_path / NEW.run_id / "intention.json").write_text("{}")
    (tmp_path / ".stages").mkdir()
    (tmp_path / ".stages" / "one.json").write_text("{}")
    assert new_records(tmp_path) == [NEW]
    (tmp_path / NEW.run_id).rename(tmp_path / "x")
    with pytest.raises(HarnessError, match="not what its name says"):
        new_records(tmp_path)
