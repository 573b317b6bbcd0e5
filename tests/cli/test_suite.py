"""Suites: what they list is run as if it had been typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_ext.cli import main
from recbole_ext.config import dataset_settings, resolve
from recbole_ext.errors import HarnessError
from recbole_ext.registry import find_model
from recbole_ext.suite import read_suite

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
  - {model: EASE, tune: true, reg_weight: 3}
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
    assert records[2]["experiment"]["params"]["reg_weight"] == 3.0
    assert "run 3 of 3: tiny" in err
    assert main(base) == 0  # again: nothing is run, the board is printed
    out, err = capsys.readouterr()
    assert err.count("nothing to do") == 5 and "Full ranking" in out


@pytest.mark.parametrize("path", SUITES, ids=[path.stem for path in SUITES])
def test_every_run_of_our_suites_is_known(path):
    for step in read_suite(str(path)):
        options = dict(step.options)
        specs = [find_model(name) for name in options.pop("model").split(",")]
        sources = (options.pop("train", None) or "").split(",")
        for key in ("dataset", "tune", "seeds"):
            options.pop(key, None)
        for key in [key for key in options if key.partition(".")[0] in sources]:
            dataset_settings({}, {key.partition(".")[2]: options.pop(key)})
        resolve(specs, {}, options)  # raises for an unknown key or a value of another type


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("nothing", None, "--suite=nothing: no file"),
        (None, "runs: 5", "no list of `runs`"),
        (None, "runs: []", "no list of `runs`"),
        (None, "runs: [{model: Pop}]", "--dataset=NAME is missing"),
    ],
)
def test_a_bad_suite_is_one_line(name, text, said, tmp_path, capsys):
    assert main([f"--suite={name or write(tmp_path, text)}"]) == 2
    err = capsys.readouterr().err
    assert said in err and "error:" in err
    with pytest.raises(HarnessError):
        read_suite("nothing")
