"""The workflow of pull requests that bring results: what it may do, and its steps in a repository of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from recbole_ext.cli import main
from recbole_ext.results import read_record

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / ".github" / "workflows" / "results.yml").read_text()
WORKFLOW = yaml.safe_load(TEXT)
STEPS = {s["name"]: s for s in WORKFLOW["jobs"]["results"]["steps"] if "name" in s}
GONE, WHICH, BESIDE, CHECKED, AGAIN = STEPS
SMALL = ["--dataset=ml-100k", "--protocols=full", "--ks=10,20", "--threads=1", "--records=runs"]


def git(*words):
    named = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *named, *words], check=True, capture_output=True, text=True).stdout  # fmt: skip


def commit():
    git("add", "-A")
    git("commit", "-qm", "x")
    return git("rev-parse", "HEAD").strip()


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """(repository with two published rows and two new ones, the commit before these)."""
    place = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        git("init", "-q")
        shutil.copy(ROOT / "run_bench.py", place)
        (place / ".gitignore").write_text("runs\n.venv\n.new\n")
        (place / ".venv" / "bin").mkdir(parents=True)
        python = place / ".venv" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        assert main(["--model=Pop,EASE", *SMALL]) == 0
        assert main(["board", "--publish"]) == 0
        base = commit()
        assert main(["--model=EASE", "--reg_weight=90", *SMALL]) == 0
        (place / "lists.csv").write_text("user,item,rank\n1,300,1\n2,50,1\n")
        assert main(["--model=Stranger's", "--run-file=lists.csv", *SMALL]) == 0
        assert main(["board", "--publish"]) == 0
        commit()
    return place, base


@pytest.fixture
def request_(merged, tmp_path, monkeypatch):
    """(copy of that repository, what runs a step of the workflow in it: (exit code, what it said, the summary so far))."""
    place = tmp_path / "request"
    shutil.copytree(merged[0], place, symlinks=True)
    monkeypatch.chdir(place)
    summary, output = tmp_path / "summary", tmp_path / "output"
    seen = {"NEW": str(place / ".new"), "BASE": merged[1], "SEED": "7", "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_OUTPUT": str(output), "OMP_NUM_THREADS": "1"}  # fmt: skip

    def step(name):
        # As GitHub calls what `shell: bash` names.
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]],
            env=os.environ | seen, capture_output=True, text=True,
        )  # fmt: skip
        told = output.read_text() if output.is_file() else ""
        shown = summary.read_text() if summary.is_file() else ""
        return done.returncode, done.stdout + done.stderr + told, shown

    return place, step


def records_of(place, model):
    paths = sorted((place / "leaderboard" / "records").rglob("*.json"))
    return [p for p in paths if "analysis" not in p.name and read_record(p).experiment["model"] == model]  # fmt: skip


def test_a_fork_can_take_nothing_from_it():
    on = WORKFLOW[True]  # YAML 1.1 reads the word `on` as true
    assert list(on) == ["pull_request"] and on["pull_request"]["paths"] == ["leaderboard/**"]
    assert WORKFLOW["permissions"] == {"contents": "read"}
    (job,) = WORKFLOW["jobs"].values()
    assert "permissions" not in job and "secrets" not in re.sub("#.*", "", TEXT)
    steps = job["steps"]
    assert steps[0]["with"]["persist-credentials"] is False
    # Nothing of the request is pasted into a script: values come by the environment.
    assert not [s for s in steps if "${{" in s.get("run", "")]
    assert set(job["env"]) == {"NEW", "BASE", "SEED"}
    assert {s["uses"].split("/")[0] for s in steps if "uses" in s} == {"actions"}
    assert (
        WORKFLOW["defaults"]["run"]["shell"] == "bash"
    )  # pipefail: a pipe into tee hides no failure


def test_the_page_names_its_steps():
    page = (ROOT / "docs" / "contributing-results.md").read_text()
    named = re.findall(r"^\| ([a-z][^|]*?) \|", page, re.M)
    named = [name for name in named if name != "step"]
    steps = [name for name in STEPS if name != WHICH]
    assert len(named) == len(steps)
    for name, step in zip(named, steps, strict=True):
        assert name.startswith(step.lower()), name


def test_a_sound_request_goes_through(request_):
    _, step = request_
    assert step(GONE)[0] == 0
    code, said, _ = step(WHICH)
    assert code == 0 and "count=2" in said
    code, _, summary = step(BESIDE)
    assert code == 0 and summary.count("| new |") >= 2
    # The row is one of two of its model by now, and is labelled by what tells them apart.
    assert "EASE (reg_weight=90" in summary and "Stranger's on ml-100k" in summary
    assert "Pop" in summary and "Remark: from a run file" in summary
    assert step(CHECKED)[0] == 0
    code, said, summary = step(AGAIN)
    assert code == 0 and "agrees  EASE on ml-100k" in said and summary.count("```") == 2


def test_what_is_compared_of_a_strangers_file_is_paired_by_users(request_, capsys):
    place, _ = request_
    ease, theirs = (records_of(place, model)[0].stem for model in ("EASE", "Stranger's"))
    assert main(["board", "--compare", ease, theirs[:12]]) == 0
    out = capsys.readouterr().out
    assert "Stranger's on ml-100k" in out and "the first is better in" in out
    assert "fingerprint of run_file" in out


def test_an_id_that_does_not_follow_from_its_record_is_refused(request_):
    place, step = request_
    path = records_of(place, "Stranger's")[0]
    path.write_text(path.read_text().replace('"seed": 2026', '"seed": 1'))
    commit()
    assert step(WHICH)[0] == 0
    code, said, _ = step(BESIDE)
    assert code == 2 and "its run_id does not match its content" in said
    code, said, _ = step(CHECKED)
    assert code == 1 and "its run_id does not match its content" in said


def test_a_record_under_another_name_or_place_is_looked_at(request_):
    place, step = request_
    path = records_of(place, "Stranger's")[0]
    (place / "leaderboard" / "records" / "a b'$(x).json").write_bytes(path.read_bytes())
    commit()
    code, said, _ = step(WHICH)
    assert code == 0 and "count=3" in said
    code, said, _ = step(BESIDE)
    assert code == 2 and "not what its name says" in said


def test_a_number_that_does_not_come_out_again_is_refused(request_):
    place, step = request_
    (path,) = [p for p in records_of(place, "EASE") if read_record(p).params["reg_weight"] == 90]
    better = json.loads(path.read_text())
    better["metrics"]["full"]["ndcg@20"]["mean"] += 0.01
    path.write_text(json.dumps(better))
    commit()
    assert step(WHICH)[0] == 0
    code, said, summary = step(AGAIN)
    assert code == 1 and "DIFFERENT  EASE on ml-100k" in said
    assert summary.count("```") == 2 and "largest difference 1.00e-02" in summary


def test_a_removed_record_and_an_edited_page_are_refused(request_):
    place, step = request_
    records_of(place, "Pop")[0].unlink()
    page = place / "leaderboard" / "ml-100k.md"
    page.write_text(page.read_text() + "and ours is best\n")
    commit()
    code, said, summary = step(GONE)
    assert code == 1 and "leaderboard/records/ml-100k/Pop/" in said and "are gone" in summary
    assert step(CHECKED)[0] == 1


def test_a_request_without_records_has_none_to_run(request_, merged):
    _, step = request_
    git("reset", "-q", "--hard", merged[1])
    code, said, _ = step(WHICH)
    assert code == 0 and "count=0" in said
    assert all(STEPS[name]["if"] == "steps.new.outputs.count != '0'" for name in (BESIDE, AGAIN))
    assert STEPS[WHICH]["id"] == "new"


def test_run_files_alone_are_nothing_to_run_again(request_):
    place, step = request_
    shutil.rmtree(place / "runs")
    for path in records_of(place, "EASE"):
        if read_record(path).params["reg_weight"] == 90:
            path.unlink()
    commit()
    assert step(WHICH)[0] == 0
    code, said, _ = step(AGAIN)
    assert code == 0 and "nothing to run again: all 1 were ranked from run files" in said
