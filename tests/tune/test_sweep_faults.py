"""What sweeps withstand, in processes of their own: kills, each other, a machine that goes, and many trials."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recbole_ext.pipeline.sweep import Cluster, sweep
from recbole_ext.tune.search import Space
from recbole_ext.tune.trials import TrialLog
from tests.problems import make_experiment

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("ray", reason="Ray is in requirements.lock; this environment lacks it")
slow = pytest.mark.skipif("SLOW" not in os.environ, reason="minutes; set SLOW=1")


def command(records, *more):
    return [
        sys.executable, "run_bench.py", "sweep", "--protocols=full", f"--records={records}", "--json", *more,
    ]  # fmt: skip


def start(records, *more):
    return subprocess.Popen(
        command(records, *more), cwd=ROOT, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def count(records):
    return sum(len(p.read_text().splitlines()) for p in (records / ".trials").glob("*.jsonl"))


def trials(records):
    """All parameters in the logs, each once or the test fails."""
    params = [
        json.dumps(json.loads(line)["params"], sort_keys=True)
        for path in (records / ".trials").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert len(params) == len(set(params))
    return params


def wait_for(records, number, seconds=180):
    begun = time.monotonic()
    while count(records) < number and time.monotonic() - begun < seconds:
        time.sleep(0.1)


@slow
def test_two_sweeps_into_one_folder(tiny_path, tmp_path):
    tiny = [
        "--dataset=tiny",
        f"--data-path={tiny_path}",
        "--valid_metric=recall@5",
        "--trials=3",
        "--epochs=2",
    ]
    both = [start(tmp_path, "--model=BPR", *tiny), start(tmp_path, "--model=Pop,BPR", *tiny)]
    ends = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    found = [
        {r["experiment"]["model"]: r for r in map(json.loads, out.splitlines())} for out, _ in ends
    ]
    assert found[0]["BPR"] == found[1]["BPR"] and set(found[1]) == {"Pop", "BPR"}
    made = [p for p in trials(tmp_path) if "embedding_size" in p]
    assert len(made) == 3 and len(list(tmp_path.glob("*/record.json"))) == 2


@slow
def test_three_kills_lose_no_finished_trial(tmp_path):
    bpr = ["--model=BPR", "--dataset=ml-100k", "--trials=6", "--epochs=25"]
    killed, calm = tmp_path / "killed", tmp_path / "calm"
    seen = []
    for kill in range(3):
        process = start(killed, "--resume", *bpr)
        wait_for(killed, kill + 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        subprocess.run(["pkill", "-9", "-f", "ray::"], check=False)
        seen.append(count(killed))
    assert seen == sorted(seen) and 3 <= seen[-1] < 6
    found = []
    for records in (killed, calm):
        done = subprocess.run(command(records, *bpr), cwd=ROOT, check=True, capture_output=True)
        found.append(json.loads(done.stdout))
    assert found[0]["tuning"]["best"] == found[1]["tuning"]["best"]
    assert len(trials(killed)) == 6


@slow
def test_an_interrupted_sweep_keeps_what_is_finished_and_leaves_no_process(tmp_path):
    bpr = ["--model=BPR", "--dataset=ml-100k", "--trials=6", "--epochs=30"]
    process = start(tmp_path, *bpr)
    wait_for(tmp_path, 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("interrupted; finished runs are kept")
    assert 1 <= count(tmp_path) < 6
    begun = time.monotonic()
    while psutil.pid_exists(process.pid) and time.monotonic() - begun < 30:
        time.sleep(0.1)
    group = [p.pid for p in psutil.process_iter() if os.getpgid(p.pid) == process.pid]
    assert group == []


@slow
def test_a_machine_that_goes_loses_no_finished_trial(tmp_path):
    from ray.cluster_utils import Cluster as Machines

    bpr = ["--model=BPR", "--dataset=ml-100k", "--trials=8", "--epochs=25"]
    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = machines.add_node(num_cpus=1)
        machines.wait_for_nodes()
        shared = tmp_path / "shared"
        process = start(
            tmp_path / "records", f"--ray-address={machines.address}", f"--storage={shared}", *bpr
        )
        wait_for(tmp_path / "records", 2)
        before = count(tmp_path / "records")
        assert 2 <= before < 8
        machines.remove_node(second, allow_graceful=False)
        out, err = process.communicate(timeout=400)
        assert process.returncode == 0, err
    finally:
        machines.shutdown()
    (record,) = map(json.loads, out.splitlines())
    assert len(trials(tmp_path / "records")) == 8 == len(record["tuning"]["trials"])
    assert all(trial["value"] is not None for trial in record["tuning"]["trials"])


@slow
def test_the_driver_does_not_grow_with_the_trials(tiny_path, tmp_path, monkeypatch):
    sizes = []
    add = TrialLog.add

    def watched(self, params, trial):
        add(self, params, trial)
        sizes.append(psutil.Process().memory_info().rss)

    monkeypatch.setattr(TrialLog, "add", watched)
    given = {"epochs": 2, "threads": 1, "protocols": "full", "valid_metric": "recall@5"}
    experiment = make_experiment("BPR", "tiny", tiny_path, **given)
    rates = [{"learning_rate": [0.001 + 0.0001 * i for i in range(200)]}]
    sweep(dataclasses.replace(experiment, space=Space(rates)), tmp_path, Cluster())
    grown = (sizes[199] - sizes[49]) / 2**20
    print(f"\ndriver: {sizes[49] / 2**20:.0f} MiB after 50 trials, {grown:+.1f} MiB by the 200th")
    assert len(sizes) == 200 and grown < 50
