"""The page of `board --html`: every row once with the record's own numbers, harmless texts, and commands that mean the same run."""

from __future__ import annotations

import functools
import json
import re
import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest

from recbole_ext.arguments import parse
from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.leaderboard.analysis import Analysis, read_analysis
from recbole_ext.leaderboard.page.command import command_of
from recbole_ext.leaderboard.page.make import page_of
from recbole_ext.leaderboard.page.write import LARGE, rendered, write_page
from recbole_ext.leaderboard.rows import sections
from recbole_ext.pipeline.plan import plan
from tests.leaderboard.conftest import RECORDS
from tests.leaderboard.factory import BOARD, HOSTILE, drawn, record
from tests.parsed_page import Parsed, loads_nothing, writes_text_alone
from tests.parsed_page import source as source_of

source = functools.partial(source_of, "recbole_ext.leaderboard.page")


def held(text: str):
    """The data of a page, as its script reads them."""
    return json.loads(Parsed(text).inside[1])


def test_every_row_of_the_board_stands_once(published, published_page):
    on_page = [run for row in published_page.rows for run in (*row.runs, *row.elsewhere)]
    ids = [run for row in published_page.rows for run in row.runs]
    assert len(ids) == len(set(ids))
    # Rows of other random splits are named by their models' rows.
    assert sorted(set(on_page)) == sorted(r.run_id for r in published)
    model = {r.run_id: r.experiment["model"] for r in published}
    assert all(model[run] == row.model for row in published_page.rows for run in row.elsewhere)
    assert any(row.splits for row in published_page.rows)
    assert all(row.elsewhere for row in published_page.rows if row.splits)


def test_numbers_are_the_records(published, published_page):
    by_id = {r.run_id: r for r in published}
    compared = 0
    for row in published_page.rows:
        records = [by_id[run] for run in row.runs]
        for protocol, numbers in row.numbers.items():
            for metric, number in zip(published_page.metrics[protocol], numbers, strict=True):
                theirs = [r.metrics[protocol].get(metric.name) for r in records]
                if None in theirs:
                    assert number is None
                    continue
                mean = sum(of["mean"] for of in theirs) / len(theirs)
                assert number is not None and number[0] == pytest.approx(
                    mean, abs=6e-7
                )  # six decimals
                compared += 1
        assert row.params == records[0].params
        assert row.points == (records[0].tuning or {}).get("points")
    assert compared > 10_000


def test_a_model_has_one_main_row_in_a_place_and_its_ablations_are_not_main(published_page):
    main_rows = [(row.place, row.table, row.model) for row in published_page.rows if row.main]
    assert len(main_rows) == len(set(main_rows))
    assert any(not row.main and row.label != row.model for row in published_page.rows)


def test_swaps_are_between_models_and_the_better_under_full_stands_first(published_page):
    swaps = [(place, swap) for place in published_page.places for swap in place.swaps]
    assert swaps
    for place, swap in swaps:
        one, two = (published_page.rows[n] for n in (swap.first, swap.second))
        assert published_page.places[one.place] is published_page.places[two.place] is place
        assert one.main and two.main

        def value(row, protocol, metric=swap.metric):
            names = [of.name for of in published_page.metrics[protocol]]
            return row.numbers[protocol][names.index(metric)][0]

        assert value(one, "full") > value(two, "full")
        assert value(one, swap.protocol) < value(two, swap.protocol)
    tested = [p for _, swap in swaps for p in (swap.full, swap.here) if p is not None]
    assert len(tested) > len(swaps) and all(0 <= p <= 1 for p in tested) and min(tested) < 0.05
    assert {swap.protocol for _, swap in swaps} == {"uni19", "uni100"}


def test_a_metric_of_which_less_is_better_says_so(published_page):
    smaller = {
        of.name for metrics in published_page.metrics.values() for of in metrics if of.smaller
    }
    assert smaller == {"log_loss"}


def test_rows_ranked_on_other_lists_have_no_places_there():
    page = page_of([record("A", 0.5, drawn(0.5)), record("B", 0.4, drawn(0.6), lists="b")], Analysis())  # fmt: skip
    assert [place.apart for place in page.places] == [("uni19",)]
    assert page.places[0].orders == ("full",)


def test_what_was_seen_of_a_row_stands_in_it():
    page = page_of(BOARD, Analysis())
    rows = {row.label: row for row in page.rows}
    assert rows["C"].seeds == 2 and len(rows["C"].runs) == 2
    assert rows["D"].remarks == ("weights not saved: disk full",)
    assert rows["B"].points == 64 and rows["A"].points is None
    assert rows["B"].seconds == 3.5 and rows["LM"].seconds is None
    assert "full" not in rows["LM"].numbers
    assert [page.places[row.place].dataset for row in page.rows if row.label == "E"] == ["other"]
    assert page.places[page.opened].dataset == "d"


def test_a_command_asks_for_the_run_that_was_made(published, tmp_path):
    """Each published row but the few trained elsewhere, whose datasets have to be read: exactly what its records say was asked for,
    unless a remark says that it is another run id."""
    exact = 0
    for section in sections(published):
        for row in section.rows:
            if "train_on" in row.first.experiment:
                continue
            command = command_of(row)
            words = shlex.split(command.line)
            assert words[:2] == ["python", "run_bench.py"]
            name = row.first.experiment["dataset"]["name"]
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{name}.inter").touch()
            # `cuda` is no choice where there is none.
            words = [word.replace("=DIR", f"={tmp_path}").replace("=cuda", "=cpu") for word in words[2:]]  # fmt: skip
            asked = [experiment.describe() for experiment in plan(parse(words)).experiments]
            assert len(asked) == len(row.records)
            said = " ".join(command.remarks)
            for ours, theirs in zip(asked, (dict(r.experiment) for r in row.records), strict=True):
                ours["device"] = theirs["device"]
                if "revision" in said:
                    ours["model_revision"] = theirs["model_revision"]
                if "another run id" in said:
                    chosen = row.first.params if "search (" in said else theirs["params"]
                    assert {key: ours["params"][key] for key in theirs["params"]} == {key: chosen[key] for key in theirs["params"]}  # fmt: skip
                    for key in ("params", "tune"):
                        ours.pop(key), theirs.pop(key)
                else:
                    exact += 1
                assert ours == theirs, command
    assert exact > 100


def test_a_command_of_a_model_that_moves_names_where_it_was_trained(published):
    rows = [row for section in sections(published) for row in section.rows if "train_on" in row.first.experiment]  # fmt: skip
    assert rows
    for row in rows:
        sources = [part["name"] for part in row.first.experiment["train_on"]]
        words = shlex.split(command_of(row).line)
        assert f"--train={','.join(sources)}" in words
        assert {"--amazon-games-2018.min_user=10", "--amazon-games-2018.min_item=10"} <= {*words}


def test_a_command_of_an_unknown_model_or_another_system_says_what_it_cannot():
    (section,) = sections([record("No such", 0.5, params={"a b": "c'd", "e": None, "f": [1, 2]}, dataset="mine", seed=2026)])  # fmt: skip
    command = command_of(section.rows[0])
    assert {"--a b=c'd", "--e=null", "--f=[1, 2]", "--data-path=DIR", "--model=No such"} <= {*shlex.split(command.line)}  # fmt: skip
    assert any("not here" in remark for remark in command.remarks)
    (section,) = sections([record("Theirs", 0.5, params={}, read={"run_file": "9" * 64})])
    command = command_of(section.rows[0])
    assert "--run-file=FILE" in command.line and any("999999999999" in r for r in command.remarks)


def test_hostile_words_are_data_and_one_word_of_a_command():
    page = page_of([record(HOSTILE, 0.5, flags=(HOSTILE,), dataset=HOSTILE), record("B", 0.4, dataset=HOSTILE)], Analysis())  # fmt: skip
    text = rendered(page)
    parsed = Parsed(text)
    scripts = [attrs for tag, attrs in parsed.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not set("<>&\u2028\u2029") & set(parsed.inside[1])
    row = next(row for row in held(text)["rows"] if row["model"] == HOSTILE)
    assert row["remarks"] == [HOSTILE]
    assert f"--model={HOSTILE}" in shlex.split(row["command"])
    loads_nothing(parsed)


def test_the_page_loads_nothing_and_its_script_writes_text_alone(published_page):
    loads_nothing(Parsed(rendered(published_page)))
    writes_text_alone(source("page.js"), source("page.html"), source("page.css"))
    ids = {attrs["id"] for _, attrs in Parsed(source("page.html")).elements if attrs.get("id")}
    wanted = set(re.findall(r"(?:find|getElementById)\(\"([\w-]+)\"\)", source("page.js")))
    assert wanted and wanted <= ids


def test_all_published_records_make_a_small_page_in_seconds(published, tmp_path, capsys):
    begun = time.process_time()
    lines = write_page(page_of(published, read_analysis(RECORDS)[0]), tmp_path / "board.html")
    assert time.process_time() - begun < 15  # 4 on a slow core
    assert (tmp_path / "board.html").stat().st_size <= LARGE == 2_000_000
    assert f"of {len(published)} records on " in lines[0] and not capsys.readouterr().err


def test_a_page_that_is_too_large_says_so(tmp_path, capsys):
    page = page_of([record("A", 0.5)], Analysis())
    long = replace(page.rows[0], remarks=("x" * LARGE,))
    write_page(replace(page, rows=(long,)), tmp_path / "a.html")
    assert "a.html is large (2.0 MB); --dataset=NAME" in capsys.readouterr().err


def written(folder: Path, records) -> Path:
    folder.mkdir()
    for one in records:
        (folder / f"{one.run_id}.json").write_text(one.to_json())
    return folder


def test_the_command_line_makes_a_page_of_some_models_and_leaves_damage_out(tmp_path, capsys):
    folder = written(tmp_path / "records", BOARD)
    (folder / f"{'0' * 16}.json").write_text("{}")
    path = tmp_path / "board.html"
    assert (
        main(["board", f"--html={path}", f"--records={folder}", "--model=A,B", "--dataset=d"]) == 0
    )
    told = capsys.readouterr()
    assert (
        told.out.splitlines()[-1] == str(path) and "2 rows of 2 records on 1 datasets" in told.out
    )
    assert "left out" in told.err
    assert {row["model"] for row in held(path.read_text("utf-8"))["rows"]} == {"A", "B"}


def test_a_page_names_what_it_cannot_trust_and_takes_of_one_run_the_latest(tmp_path, capsys):
    folder = written(tmp_path / "records", BOARD[:2])
    other = replace(BOARD[0], created="2027-01-01T00:00:00+00:00", flags=["the later one"])
    (folder / "again").mkdir()
    (folder / "again" / f"{other.run_id}.json").write_text(other.to_json())
    changed = replace(BOARD[3], params={"p": 2}, experiment=BOARD[3].experiment | {"seed": 7})
    (folder / f"{changed.run_id}.json").write_text(changed.to_json())
    newer = BOARD[4].to_json().replace('"schema": 1', '"schema": 2')
    (folder / f"{BOARD[4].run_id}.json").write_text(newer)
    path = tmp_path / "board.html"
    assert main(["board", f"--html={path}", f"--records={folder}"]) == 0
    told = capsys.readouterr()
    assert "2 rows of 2 records" in told.out
    lines = told.err.strip().splitlines()
    assert len(lines) == 2 and all(line.startswith("left out: ") for line in lines)
    assert sum("run_id does not match its content" in line for line in lines) == 1
    assert sum("schema 2 is newer than 1; update recbole_ext" in line for line in lines) == 1
    assert held(path.read_text("utf-8"))["rows"][0]["remarks"] == ["the later one"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--html=/nowhere/at/all.html"], "--html=/nowhere/at/all.html: no folder /nowhere/at; make it first"),
        (["--html=/tmp"], "--html=/tmp is a folder; name a file in it, e.g. /tmp/board.html"),
        (["--html"], "--html needs a value"),
        (["--html={}", "--publish"], "--html and --publish are two questions"),
        (["--html={}", "--paper=l3ae"], "--html and --paper are two questions"),
        (["--html={}", "--model=Z"], "--model=Z: no record here is of it"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_writes_nothing(asked, expected, tmp_path, capsys):
    folder = written(tmp_path / "records", BOARD[:1])
    path = tmp_path / "board.html"
    assert main(["board", f"--records={folder}", *(word.format(path) for word in asked)]) != 0
    err = capsys.readouterr().err
    assert expected in err and len(err.strip().splitlines()) == 1
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recbole_ext.core.web_page.write_atomically", full)
    with pytest.raises(HarnessError, match=r"board.html: No space left on device$"):
        write_page(page_of(BOARD, Analysis()), tmp_path / "board.html")
