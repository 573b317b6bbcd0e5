"""Sweeps through Ray: the same trials as a search in this process, kept one by one, whatever ends them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recbole_ext.cli import main
from recbole_ext.environment import usable_cpus
from recbole_ext.errors import HarnessError
from recbole_ext.tune.search import Space
from recbole_ext.tune.sweep import Cluster, _report, sweep
from recbole_ext.tune.trials import TrialLog
from tests.grounds import make_experiment

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("ray", reason="Ray is in requirements.lock; this environment lacks it")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    import ray

    yield Cluster(cpus=1)
    ray.shutdown()


def trained(tiny_path, **given):
    experiment = make_experiment(
        "BPR",
        "tiny",
        tiny_path,
        epochs=2,
        threads=1,
        protocols="full",
        valid_metric="recall@5",
        **given,
    )
    return experiment


def lines(records):
    (path,) = (records / ".trials").glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_sweep_makes_the_trials_of_a_search_here(tiny_path, tmp_path, capsys):
    base = [
        "--dataset=tiny", f"--data-path={tiny_path}", "--protocols=full", "--BPR.epochs=2", "--json",
        "--valid_metric=recall@5", "--model=EASE,BPR",
    ]  # fmt: skip
    assert main(["sweep", *base, "--trials=3", "--seeds=2", f"--records={tmp_path / 'ray'}"]) == 0
    swept = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (
        main([*base, "--tune=3", "--threads=1", "--seeds=2", f"--records={tmp_path / 'here'}"]) == 0
    )
    here = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["run_id"] for r in swept] == [r["run_id"] for r in here] and len(swept) == 4
    for one, two in zip(swept, here, strict=True):
        assert one["tuning"]["best"] == two["tuning"]["best"]
        values = [[t["value"] for t in r["tuning"]["trials"]] for r in (one, two)]
        assert values[0] == pytest.approx(values[1], abs=1e-6) and len(values[0]) == 3
        assert one["metrics"]["full"]["recall@5"]["mean"] == pytest.approx(
            two["metrics"]["full"]["recall@5"]["mean"]
        )
    assert main(["sweep", *base, "--trials=3", "--seeds=2", f"--records={tmp_path / 'ray'}"]) == 0
    assert capsys.readouterr().err.count("nothing to do") == 4


def test_a_failed_trial_is_a_row_and_the_others_go_on(tiny_path, tmp_path, cluster):
    stage = {"learning_rate": [0.001, 1e30, 0.01]}
    experiment = dataclasses.replace(trained(tiny_path), space=Space([stage]))
    sweep(experiment, tmp_path, cluster)
    by_rate = {entry["params"]["learning_rate"]: entry for entry in lines(tmp_path)}
    assert by_rate[1e30]["value"] is None and "not finite" in by_rate[1e30]["error"]
    assert by_rate[0.001]["value"] > 0 and by_rate[0.01]["value"] > 0
    with pytest.raises(HarnessError, match="all 1 trials failed"):
        broken = Space([{"learning_rate": [1e30]}])
        sweep(dataclasses.replace(experiment, space=broken), tmp_path, cluster)


def test_what_is_in_the_log_is_not_made_again(tiny_path, tmp_path, cluster):
    stage = {"learning_rate": [0.001, 0.01]}
    experiment = dataclasses.replace(trained(tiny_path), space=Space([stage]))
    sweep(experiment, tmp_path, cluster)
    before = lines(tmp_path)
    wider = dataclasses.replace(experiment, space=Space([{"learning_rate": [0.001, 0.01, 0.1]}]))
    sweep(wider, tmp_path, cluster)
    after = lines(tmp_path)
    assert after[:2] == before and len(after) == 3
    log = TrialLog(next((tmp_path / ".trials").glob("*.jsonl")))
    assert log.find({**experiment.settings.params, "learning_rate": 0.1}, {}) is not None


def test_asha_ends_trials_early_in_a_search_of_its_own(tiny_path, tmp_path, cluster):
    # The good one first and one at a time: what comes later falls behind it, whatever the machine.
    rates = [0.05, 1e-9, 2e-9, 3e-9, 4e-9, 5e-9]
    given = {
        "epochs": 27,
        "stopping_step": 100,
        "threads": 1,
        "protocols": "full",
        "valid_metric": "recall@5",
    }
    plain = make_experiment("BPR", "tiny", tiny_path, **given)
    stage = [{"learning_rate": rates}]
    early = dataclasses.replace(plain, space=Space(stage, scheduler="asha"))
    full = dataclasses.replace(plain, space=Space(stage))
    assert early.search_id != full.search_id
    assert (
        early.describe()["tune"]["scheduler"] == "asha"
        and "scheduler" not in full.describe()["tune"]
    )
    sweep(early, tmp_path, Cluster(cpus=usable_cpus()))
    epochs = {entry["params"]["learning_rate"]: entry["epochs"] for entry in lines(tmp_path)}
    assert len(epochs) == 6 and epochs[0.05] == 27 and min(epochs.values()) < 27
    assert all(entry["error"] is None and entry["value"] > 0 for entry in lines(tmp_path))


def test_a_test_key_in_a_report_raises():
    with pytest.raises(
        HarnessError, match="must not see test_recall: selection reads validation only"
    ):
        _report(print, {"value": 1.0, "test_recall": 0.5})


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--tune"], "sweep always tunes"),
        (["--threads=2"], "--threads of a sweep are its --cpus-per-trial"),
        (["--gpus-per-trial=many"], "--gpus-per-trial=many: must be a number from 0"),
        (["--trials=0"], "--trials=0: must be a whole number from 1"),
    ],
)
def test_a_mistake_is_one_line(argv, said, tiny_path, capsys):
    assert main(["sweep", "--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", *argv]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


@pytest.mark.skipif("SLOW" not in os.environ, reason="two minutes; set SLOW=1")
def test_three_kills_lose_no_finished_trial(tmp_path):
    def command(records, *more):
        return [
            sys.executable, "run_bench.py", "sweep", "--model=BPR", "--dataset=ml-100k", "--trials=6", "--epochs=25",
            "--protocols=full", f"--records={records}", "--json", *more,
        ]  # fmt: skip

    def count(records):
        return sum(len(p.read_text().splitlines()) for p in (records / ".trials").glob("*.jsonl"))

    killed, calm = tmp_path / "killed", tmp_path / "calm"
    seen = []
    for kill in range(3):
        process = subprocess.Popen(command(killed, "--resume"), cwd=ROOT, start_new_session=True)
        begun = time.monotonic()
        while count(killed) <= kill and time.monotonic() - begun < 120:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        subprocess.run(["pkill", "-9", "-f", "ray::"], check=False)
        seen.append(count(killed))
    assert seen == sorted(seen) and 3 <= seen[-1] < 6
    found = []
    for records in (killed, calm):
        out = subprocess.run(
            command(records), cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        found.append(json.loads(out))
    assert found[0]["tuning"]["best"] == found[1]["tuning"]["best"]
    params = [
        json.dumps(e["params"])
        for p in (killed / ".trials").glob("*.jsonl")
        for e in map(json.loads, p.open())
    ]
    assert len(params) == len(set(params)) == 6
