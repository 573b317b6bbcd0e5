"""Tuned runs from the command line: points drawn, trials shared by seeds, nothing searched twice."""

from __future__ import annotations

import json

import pytest

from recbole_ext.cli import main


def run(capsys, *argv):
    assert main([*argv]) == 0
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def test_seeds_share_one_search_and_a_second_command_repeats_nothing(tiny_path, tmp_path, capsys):
    base = [
        "--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", "--protocols=full", "--epochs=2", "--json",
        f"--records={tmp_path}", "--valid_metric=recall@5", "--tune=2",
    ]  # fmt: skip
    records, _ = run(capsys, *base, "--seeds=2")
    assert [r["experiment"]["seed"] for r in records] == [2026, 2027]
    one, two = records
    assert one["tuning"] == two["tuning"] and one["params"] == two["params"]
    assert one["experiment"]["tune"]["seed"] == 2026 and one["experiment"]["tune"]["limit"] == 2
    assert len(one["tuning"]["trials"]) == 2 and one["run_id"] != two["run_id"]
    (log,) = (tmp_path / ".trials").iterdir()
    before = log.read_bytes()
    # Other protocols are another run, and the same search.
    (third,), _ = run(
        capsys, *[a for a in base if a != "--protocols=full"], "--protocols=full,expected@5"
    )
    assert log.read_bytes() == before and third["tuning"] == one["tuning"]
    # A wider search tries only what is new.
    run(capsys, *[a for a in base if a != "--tune=2"], "--tune=3")
    assert log.read_bytes().startswith(before) and len(log.read_text().splitlines()) > 2


@pytest.mark.parametrize("value", ["0", "many"])
def test_a_number_of_trials_is_a_number(value, tiny_path, capsys):
    assert (
        main(["--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", f"--tune={value}"]) == 2
    )
    assert f"--tune={value}: must be a whole number" in capsys.readouterr().err


def test_a_key_that_is_given_is_not_searched(tiny_path, tmp_path, capsys):
    base = ["--model=BSPM", "--dataset=tiny", f"--data-path={tiny_path}", "--protocols=full",
            "--valid_metric=recall@5", f"--records={tmp_path}", "--threads=1", "--tune=2", "--json"]  # fmt: skip
    (found,), _ = run(capsys, *base, "--k=2", "--BSPM.merge=late")
    assert found["params"]["k"] == 2 and found["params"]["merge"] == "late"
    searched = [set(stage) for stage in found["experiment"]["tune"]["stages"]]
    assert searched == [{"beta"}, {"solver", "K_s", "T_s", "combine"}]
    capsys.readouterr()
    assert main([*base, "--model=EASE", "--reg_weight=3"][1:]) == 2
    assert "EASE has no search space, or all of its keys are given" in capsys.readouterr().err
