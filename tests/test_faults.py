"""Kills, races, a full disk and damage: nothing is lost, nothing torn is trusted."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from pathlib import Path

import pytest

from recbole_ext.cli import main
from recbole_ext.core import memory
from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline import execute as run
from recbole_ext.results import find_records, read_record
from tests.leaderboard.factory import record as made_up
from tests.warm import started

COMMON = ["--dataset=tiny", "--protocols=full,uni5", "--encoder=hash:16"]


def test_twenty_kills_leave_no_partial_record_and_the_next_start_finishes(tiny_path, tmp_path):
    argv = [
        "--model=Pop,EASE,L3AE", *COMMON, f"--data-path={tiny_path}", f"--records={tmp_path}", "--threads=1"
    ]  # fmt: skip

    def finished(*more: str) -> float:
        begun = time.monotonic()
        process = started([*argv, *more], tmp_path / "out")
        process.join()
        assert process.exitcode == 0, (tmp_path / "out.err").read_text()
        return time.monotonic() - begun

    finished()  # encodes the items
    longest = finished("--force")
    want = {path: json.loads(path.read_text())["metrics"] for path in find_records(tmp_path)}
    assert len(want) == 3
    rng = random.Random(0)
    survived = killed = 0
    for _ in range(20):
        process = started([*argv, "--force"], tmp_path / "out")
        begun = time.monotonic()
        process.join(rng.uniform(0.0, 1.0) * longest)
        if process.is_alive():
            killed += 1
        else:  # the first was timed on a busier machine: later kills must not come after the end
            longest = min(longest, time.monotonic() - begun)
        process.kill()
        process.join()
        for path in find_records(tmp_path):
            assert read_record(path).metrics == want[path]
            survived += 1
    assert survived > 20 and killed > 10
    finished()
    assert {
        path: json.loads(path.read_text())["metrics"] for path in find_records(tmp_path)
    } == want


def test_two_processes_write_fifty_runs_into_one_folder(tiny_path, tmp_path):
    outs = [tmp_path / "one", tmp_path / "two"]
    records = tmp_path / "runs"
    common = ["--model=Pop", *COMMON[:2], f"--data-path={tiny_path}", f"--records={records}", "--seeds=30", "--json"]  # fmt: skip
    # Seeds 21 to 30 are wanted by both.
    both = [started([*common, f"--seed={n}"], out) for n, out in zip((1, 21), outs, strict=True)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    found = [read_record(path) for path in find_records(records)]
    assert sorted(r.experiment["seed"] for r in found) == list(range(1, 51))
    printed = [out.read_text().splitlines() for out in outs]
    assert all(len(lines) == 30 for lines in printed)
    shared = [{json.loads(line)["run_id"]: line for line in lines} for lines in printed]
    both_ran = set(shared[0]) & set(shared[1])
    assert len(both_ran) == 10 and all(shared[0][run] == shared[1][run] for run in both_ran)


def contents(folder: Path) -> dict[str, bytes]:
    """The files that a user sees."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tiny_path, tmp_path):
    records = tmp_path / "runs"
    argv = ["--model=EASE", *COMMON[:2], f"--data-path={tiny_path}", f"--records={records}"]

    def ran(*more: str, file_size: int | None = None) -> int | None:
        process = started([*argv, *more], tmp_path / "out", file_size)
        process.join()
        return process.exitcode

    def on_a_full_disk(*more: str) -> None:
        assert ran(*more, file_size=2048) == 2
        said = (tmp_path / "out.err").read_text()
        last = said.strip().splitlines()[-1]
        assert last.startswith("error: ") and "not recorded" in last
        assert "Traceback" not in said

    on_a_full_disk()
    assert not list(find_records(records))
    assert ran() == 0
    (record,) = find_records(records)
    before = contents(record.parent)
    on_a_full_disk("--force")
    assert contents(record.parent) == before


def test_no_weights_of_an_earlier_run_stand_beside_a_record(
    tiny_path, tmp_path, monkeypatch, capsys
):
    where = ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}"]
    argv = ["--model=EASE", *where, "--protocols=full"]
    assert main(argv) == 0
    (record,) = find_records(tmp_path)
    (record.parent / "intention.csv").write_text("made from the weights")
    files = {"record.json", "ranks.parquet"}
    assert set(contents(record.parent)) == files | {"weights.safetensors", "intention.csv"}
    assert main([*argv, "--force", "--save_weights=false"]) == 0
    assert set(contents(record.parent)) == files
    capsys.readouterr()
    assert main(["show", "--model=EASE", *where, "--user=u3"]) == 2
    assert "has no weights" in capsys.readouterr().err

    def fails(model, path):
        raise HarnessError("a state of no known kind")

    assert main([*argv, "--force"]) == 0
    assert set(contents(record.parent)) == files | {"weights.safetensors"}
    monkeypatch.setattr(run, "save_weights", fails)
    assert main([*argv, "--force"]) == 0
    assert set(contents(record.parent)) == files
    assert read_record(record).flags == [
        "untuned",
        "weights not saved: a state of no known kind",
    ]


@pytest.mark.parametrize("weights", [True, False])
def test_a_kill_between_any_two_files_leaves_the_files_of_one_run(weights, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    old, new = (made_up("A", 0.5, created=day) for day in ("2026-01-01", "2026-01-02"))
    made, step = ("weights.safetensors", "intention.csv", "ranks.parquet"), 0
    while True:
        folder = tmp_path / str(step)
        folder.mkdir()
        (folder / "record.json").write_text(old.to_json())
        for name in made:
            (folder / name).write_text(old.created)
        for name in made[0 if weights else 2 :: 2]:
            (folder / f".{name}").write_text(new.created)
        left = step

        def counted(real):
            def call(*args, **kwargs):
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for owner, name in ((Path, "unlink"), (Path, "replace"), (os, "replace")):
                patch.setattr(owner, name, counted(getattr(owner, name)))
            with contextlib.suppress(Killed):
                run._replace(folder, new)
        found = [read_record(path).created for path in find_records(folder)]
        if found:
            assert {text.decode() for name, text in contents(folder).items() if name in made} == {
                *found
            }
        if found == [new.created]:
            break
        step += 1
    assert step > 4 and (folder / "weights.safetensors").is_file() == weights


def test_a_damaged_record_is_named_set_aside_and_run_again(tiny_path, tmp_path, capsys):
    argv = ["--model=EASE", *COMMON[:2], f"--data-path={tiny_path}", f"--records={tmp_path}"]
    assert main(argv) == 0
    (path,) = find_records(tmp_path)
    sound = path.read_text()
    path.write_text(sound[: len(sound) // 2])
    capsys.readouterr()
    assert main(["board", f"--records={tmp_path}"]) == 0
    assert str(path) in capsys.readouterr().err
    assert main(argv) == 0
    assert "set aside" in capsys.readouterr().err
    assert read_record(path).metrics == json.loads(sound)["metrics"]
    assert path.with_suffix(".json.corrupt").read_text() == sound[: len(sound) // 2]


def test_a_records_folder_that_is_a_file_is_one_line(tiny_path, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert (
        main(
            [
                "--model=EASE",
                *COMMON[:2],
                f"--data-path={tiny_path}",
                f"--records={tmp_path / 'file'}",
            ]
        )
        == 2
    )
    assert capsys.readouterr().err.startswith("error: --records=")


def test_matrices_that_do_not_fit_are_refused_before_anything_starts(
    tiny_path, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(memory, "free_memory", lambda device: 12_000)
    argv = ["--model=Pop,L3AE", *COMMON, f"--data-path={tiny_path}", f"--records={tmp_path}"]
    assert main(argv) == 2
    line = capsys.readouterr().err
    assert "L3AE on tiny (40 users, 30 items) needs" in line and "about 26 fit" in line
    assert "raise --min_item or --min_user, or --precision=float32" in line
    assert not list(find_records(tmp_path))


@pytest.mark.parametrize("name", ["record.json", "0123456789abcdef.json"])
def test_only_records_are_taken_for_records(name, tmp_path):
    for other in ("package.json", "record.json.corrupt", ".record.json.abc"):
        (tmp_path / other).write_text("{}")
    (tmp_path / name).write_text("{}")
    assert [path.name for path in find_records(tmp_path)] == [name]
