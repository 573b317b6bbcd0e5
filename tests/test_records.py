"""What a reader believes: a record that is read can be shown, and one that cannot be shown is not read."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json

import pytest

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.leaderboard.terminal import render_text
from recbole_ext.results import (
    SCHEMA,
    ResultRecord,
    find_records,
    read_record,
    read_records,
    run_id,
)
from tests.leaderboard.factory import pages, record

INTERVAL = {"mean": 0.5, "low": 0.4, "high": 0.6}


def rich() -> ResultRecord:
    """A record that has something in every place that a reader looks at."""
    one = record("A", 0.5, {"uni19": 0.5, "expected@19": 0.5}, points=1)
    asked = one.experiment | {
        "tune": {"stages": [{"p": [1, 2]}], "trials": 1},
        "train_on": [{**one.experiment["dataset"], "text_fields": {"Title": "title"}}],
    }
    return dataclasses.replace(
        one,
        run_id=run_id(asked, one.fingerprints),
        experiment=asked,
        metrics=one.metrics | {"recbole-uni9": {"ndcg@10": {"mean": 0.5}}},
        tuning=one.tuning | {"trials": [{"point": {"p": 1}, "value": 0.5, "seconds": 1.0}]},
        text={"encoder": "minilm", "fields": {"Title": "title"}},
        flags=["untuned", "remark"],
        beyond={"coverage@20": 0.5},
        strata={"tail items": {"users": 5, "positives": 6, "metrics": {"ndcg@20": INTERVAL}}},
    )


def places(value, at=()):
    """Every place of a JSON value."""
    yield at
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


def changed(raw, at, new):
    """The value with another one at a place, or without what stands there."""
    raw = copy.deepcopy(raw)
    within = raw
    for key in at[:-1]:
        within = within[key]
    if new is KeyError:
        del within[at[-1]]
    else:
        within[at[-1]] = new
    with contextlib.suppress(KeyError, ValueError):  # what has no id is refused for that
        raw["run_id"] = run_id(raw["experiment"], raw["fingerprints"])
    return raw


def show(*records):
    pages(records)
    render_text(records)


def test_what_is_read_can_be_shown_whatever_was_done_to_it(tmp_path):
    path = tmp_path / "record.json"
    raw = json.loads(rich().to_json())
    others = (record("B", 0.4, {"uni19": 0.6}), record("C", 0.3, dataset="e"))
    path.write_text(json.dumps(raw))
    show(read_record(path), *others)
    read = refused = 0
    for at in places(raw):
        for new in (KeyError, None, "x", 0.5, {}, [None]) if at else ():
            path.write_text(json.dumps(changed(raw, at, new)))
            try:
                found = read_record(path)
            except HarnessError as error:
                refused += 1
                assert str(path) in str(error) and "\n" not in str(error)
                continue
            read += 1
            try:
                show(found, *others)
            except Exception as error:
                raise AssertionError(f"{at} became {new!r} and was read") from error
    assert read > 200 and refused > 400, (read, refused)


def test_a_protocol_that_is_none_condemns_its_record_and_no_other(tmp_path):
    for folder, made in (("a", rich()), ("b", record("B", 0.4))):
        raw = json.loads(made.to_json())
        if folder == "a":
            raw["metrics"]["uniX"] = raw["metrics"]["full"]
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "record.json").write_text(json.dumps(raw))
    found, damaged = read_records(tmp_path)
    assert [one.experiment["model"] for _, one in found] == ["B"]
    assert [str(e) for e in damaged] == [
        f"{tmp_path}/a/record.json: damaged record (metrics: 'uniX' is no protocol)"
    ]


def test_runs_that_are_linked_from_elsewhere_are_found_once(tmp_path):
    runs, links = tmp_path / "runs", tmp_path / "links"
    (runs / "a").mkdir(parents=True)
    (runs / "a" / "record.json").write_text(record("A", 0.4).to_json())
    links.mkdir()
    (links / "a").symlink_to(runs / "a")
    assert list(find_records(links)) == [links / "a" / "record.json"]
    assert list(find_records(runs)) == [runs / "a" / "record.json"]


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5_000, '{"schema": 1e999}', "\x00"])
def test_what_is_no_record_at_all_is_one_line(text, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(HarnessError, match="not a re") as error:
        read_record(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_record_of_a_newer_schema_is_left_and_nothing_is_run(force, tiny_path, tmp_path, capsys):
    argv = [
        "--model=Pop", "--dataset=tiny", "--protocols=full", f"--data-path={tiny_path}",
        f"--records={tmp_path / 'runs'}",
    ]  # fmt: skip
    assert main(argv) == 0
    (path,) = find_records(tmp_path)
    newer = json.dumps(json.loads(path.read_text()) | {"schema": SCHEMA + 1, "more": 1})
    path.write_text(newer)
    before = {p: p.read_bytes() for p in path.parent.iterdir()}
    capsys.readouterr()
    assert main([*argv, *force]) == 2
    out, err = capsys.readouterr()
    assert not out and err == (
        f"error: {path}: schema {SCHEMA + 1} is newer than {SCHEMA}; update recbole_ext, or keep these runs "
        "apart: --records=FOLDER\n"
    )
    assert {p: p.read_bytes() for p in path.parent.iterdir()} == before
    assert main(["board", f"--records={tmp_path / 'runs'}"]) == 0
    assert f"left out: {path}: schema" in capsys.readouterr().err
