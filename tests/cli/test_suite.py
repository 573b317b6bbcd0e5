"""Suites: what they list is run as if it had been typed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from recbole_ext.arguments import Arguments
from recbole_ext.cli import main
from recbole_ext.core.yaml_files import read_yaml
from recbole_ext.pipeline.suite import read_suite

SUITES = sorted((Path(__file__).resolve().parents[2] / "benchmarks" / "suites").glob("*.yaml"))


def write(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_a_suite_runs_what_it_lists(tiny_path, tmp_path, capsys):
    suite = write(
        tmp_path,
        """
common: {dataset: tiny, protocols: [full, uni5], valid_metric: recall@5}
runs:
  - {model: [Pop, EASE]}
  - {model: EASE, tune: true, precision: float64}
  - {model: BPR, tune: 2, epochs: 1, seeds: 2}
""",
    )
    base = [f"--suite={suite}", f"--data-path={tiny_path}", f"--records={tmp_path / 'runs'}"]
    assert main([*base, "--json"]) == 0
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert [(r["experiment"]["model"], r["experiment"]["seed"]) for r in records] == [
        ("Pop", 2026), ("EASE", 2026), ("EASE", 2026), ("BPR", 2026), ("BPR", 2027),
    ]  # fmt: skip
    assert [r["tuning"] and r["tuning"]["points"] for r in records] == [None, None, 9, 2, 2]
    assert records[2]["experiment"]["params"]["precision"] == "float64"
    assert "run 3 of 3: tiny" in err
    assert main(base) == 0  # again: nothing is run, the board is printed
    out, err = capsys.readouterr()
    assert err.count("nothing to do") == 5 and "Full ranking" in out


@pytest.mark.parametrize("path", SUITES, ids=[path.stem for path in SUITES])
def test_every_run_of_our_suites_is_known(path, tmp_path):
    suite = read_yaml(path)
    for run in suite["runs"]:
        run = {**(suite.get("common") or {}), **run}
        for name in [run["dataset"], *run.get("train", [])]:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{name}.inter").touch()
    here = Arguments("run", options={"data-path": str(tmp_path)})
    points = [math.prod(map(len, run.get("grid", {}).values())) for run in suite["runs"]]
    assert len(read_suite(str(path), here)) == sum(points)


def test_a_grid_stands_for_its_combinations(tiny_path, tmp_path):
    suite = write(
        tmp_path,
        "runs: [{model: EASE, dataset: tiny, grid: {split_seed: [1, 2], reg_weight: [3, 4, 5]}}, {model: Pop, dataset: tiny}]",
    )
    steps = read_suite(suite, Arguments("run", options={"data-path": str(tiny_path)}))
    points = [
        tuple(step.options.get(key) for key in ("split_seed", "reg_weight")) for step in steps
    ]
    assert points == [*((a, b) for a in "12" for b in "345"), (None, None)]
    assert not any("grid" in step.options for step in steps)


def test_a_mistake_in_the_last_run_is_said_before_the_first_begins(tiny_path, tmp_path, capsys):
    suite = write(
        tmp_path, "runs: [{model: Pop, dataset: tiny}, {model: EASE, dataset: tiny, epochs: 3}]"
    )
    records = tmp_path / "runs"
    assert main([f"--suite={suite}", f"--data-path={tiny_path}", f"--records={records}"]) == 2
    assert "mine.yaml, run 2 of 2: --epochs is not a key of EASE" in capsys.readouterr().err
    assert not records.exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("nothing", None, "--suite=nothing: no file"),
        (None, "runs: 5", "no list of `runs`"),
        (None, "runs: []", "no list of `runs`"),
        (None, "runs: [{model: Pop}]", "--dataset=NAME is missing"),
        (None, "runs: [{model: Pop, dataset: tiny, grid: {seed: 3}}]", "`grid` must map options"),
    ],
)
def test_a_bad_suite_is_one_line(name, text, said, tmp_path, capsys):
    assert main([f"--suite={name or write(tmp_path, text)}"]) == 2
    err = capsys.readouterr().err
    assert said in err and "error:" in err
