"""Sweeps through Ray: the same trials as a search in this process, kept one by one, whatever ends them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline.sweep import Cluster, _report, _resources, sweep
from recbole_ext.pipeline.training import Training
from recbole_ext.tune.search import Space, Trial
from recbole_ext.tune.trials import TrialLog
from tests.problems import make_experiment

pytest.importorskip("ray", reason="Ray is in requirements.lock; this environment lacks it")
from recbole_ext.tune.adaptive import Chosen  # imports Ray

ONE_AT_A_TIME = Cluster(cpus=os.cpu_count())
"""Two workers side by side would both import everything first."""


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


def test_what_is_in_the_log_is_not_made_again(tiny_path, tmp_path, cluster):
    stage = {"learning_rate": [0.001, 0.01]}
    experiment = dataclasses.replace(trained(tiny_path), space=Space([stage]))
    Training(experiment, None, tmp_path).search_once(experiment.space, tmp_path)
    before = lines(tmp_path)
    wider = dataclasses.replace(experiment, space=Space([{"learning_rate": [0.001, 0.01, 0.1]}]))
    sweep(wider, tmp_path, cluster)
    after = lines(tmp_path)
    assert after[:2] == before and len(after) == 3
    log = TrialLog(next((tmp_path / ".trials").glob("*.jsonl")))
    points = [{"learning_rate": rate} for rate in (0.1, 0.3, 0.001)]
    known = [
        trial.point["learning_rate"] for trial in log.known(points, experiment.settings.params)
    ]
    assert known == [0.001, 0.1]


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
    sweep(early, tmp_path, ONE_AT_A_TIME)
    epochs = {entry["params"]["learning_rate"]: entry["epochs"] for entry in lines(tmp_path)}
    assert len(epochs) == 6 and epochs[0.05] == 27 and min(epochs.values()) < 27
    assert all(entry["error"] is None and entry["value"] > 0 for entry in lines(tmp_path))


class Breaks(Training):
    """A training that goes wrong in a way of its own at two of its learning rates."""

    def trials(self, points, so_far=None):
        ((rate,),) = (point.values() for point in points)
        marks = Path(self.experiment.settings.run["marks"])
        (marks / f"{rate}-{len(list(marks.glob(f'{rate}-*')))}").touch()
        if rate == 0.2:
            raise MemoryError("no room for 8 GiB")
        if rate == 0.3:
            os.kill(os.getpid(), signal.SIGKILL)  # as the system ends a process that takes too much
        yield from super().trials(points, so_far)


def test_a_trial_that_fails_or_takes_its_worker_with_it_is_a_row_and_the_others_go_on(
    tiny_path, tmp_path, cluster, monkeypatch
):
    monkeypatch.setattr("recbole_ext.pipeline.sweep.Training", Breaks)
    experiment = trained(tiny_path)
    experiment.settings.run.update(marks=str(tmp_path))
    stage = {"learning_rate": [0.001, 1e30, 0.2, 0.3, 0.01]}
    sweep(dataclasses.replace(experiment, space=Space([stage])), tmp_path, cluster)
    by_rate = {entry["params"]["learning_rate"]: entry for entry in lines(tmp_path)}
    assert len(by_rate) == 5 and by_rate[0.001]["value"] > 0 and by_rate[0.01]["value"] > 0
    for rate, said, tries in (
        (1e30, "not finite", 1),
        (0.2, "MemoryError: no room", 1),
        (0.3, "", 2),
    ):
        assert by_rate[rate]["value"] is None and said in by_rate[rate]["error"]
        assert len(list(tmp_path.glob(f"{rate}-*"))) == tries
    with pytest.raises(HarnessError, match="all 1 trials failed"):
        broken = Space([{"learning_rate": [1e30]}])
        sweep(dataclasses.replace(experiment, space=broken), tmp_path, cluster)


class Peak(Training):
    """A training whose score has one top."""

    def trials(self, points, so_far=None):
        (point,) = points
        worth = -((point["x"] - 14) ** 2) - (point["y"] - 3) ** 2
        yield Trial(point, float(worth), 0.0)


def as_tune_asks(training):
    """How Ray Tune asks Optuna for points, two running at a time, without its processes."""

    def spread(asked):
        chosen, running = Chosen(asked, training.experiment.space.seed), {}
        for number in range(asked.count):
            running[f"trial {number}"] = chosen.suggest(f"trial {number}")["run"]["points"]
            while len(running) == 2 or (running and number + 1 == asked.count):
                name = next(iter(running))
                (trial,) = training.trials(running.pop(name))
                told = {"value": trial.value, "trials": [dataclasses.asdict(trial)]}
                chosen.on_trial_complete(name, told)
                yield trial

    return spread


def test_optuna_tries_no_point_twice_and_finds_what_is_good(
    tiny_path, tmp_path, cluster, monkeypatch
):
    monkeypatch.setattr("recbole_ext.pipeline.sweep.Training", Peak)
    stage = {"x": list(range(20)), "y": list(range(10)), "fixed": ["one"]}
    chosen = Space([stage], limit=25, adaptive=True)
    experiment = dataclasses.replace(trained(tiny_path), space=chosen)
    assert (
        experiment.search_id != dataclasses.replace(experiment, space=Space([stage], 25)).search_id
    )
    here = Peak(experiment, None, tmp_path)
    here.search_once(chosen, tmp_path, as_tune_asks)
    tried = [(e["params"]["x"], e["params"]["y"]) for e in lines(tmp_path)]
    assert len(tried) == len(set(tried)) == 25
    # 25 random points of these 200 come as near as this in one search of ten thousand.
    values = [e["value"] for e in lines(tmp_path)]
    assert max(values) >= -2 and sum(values[-8:]) > sum(values[:8])
    # All points of a small grid are tried once.
    small = Space([{"x": [1, 2], "y": [5, 6, 7]}], limit=6, adaptive=True)
    here.search_once(small, tmp_path / "small", as_tune_asks)
    assert len({(e["params"]["x"], e["params"]["y"]) for e in lines(tmp_path / "small")}) == 6
    # More trials go on from these, on workers.
    wider = dataclasses.replace(chosen, limit=29)
    sweep(dataclasses.replace(experiment, space=wider), tmp_path, ONE_AT_A_TIME)
    again = [(e["params"]["x"], e["params"]["y"]) for e in lines(tmp_path)]
    assert again[:25] == tried and len(set(again)) == 29


def test_a_sweep_makes_the_trials_of_a_search_here(tiny_path, tmp_path, capsys):
    # A command leaves Ray at its end: the last of those that would have to start it again.
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


def test_more_than_a_machine_has_is_an_error_at_once():
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0, "memory": 1e9}}]
    with pytest.raises(HarnessError, match="--cpus-per-trial=3: no machine has more than 2"):
        _resources(nodes, Cluster(cpus=3), 0)
    with pytest.raises(HarnessError, match=r"--gpus-per-trial=0\.5: no machine has more than 0"):
        _resources(nodes, Cluster(gpus=0.5), 0)
    with pytest.raises(HarnessError, match="2 machines: --storage=DIR is missing"):
        _resources(nodes * 2, Cluster(), 0)
    gone = {"Alive": False, "Resources": {"CPU": 64.0}}
    assert _resources([*nodes, gone], Cluster(cpus=2), 4 * 10**8)["memory"] == 4e8
    # What plans for more than a machine has left is checked elsewhere; here it gets a machine for itself.
    assert _resources(nodes, Cluster(), 4 * 10**9)["memory"] == 1e9


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
        (["--scheduler=ash"], "--scheduler=ash must be none or asha, did you mean asha?"),
        (["--searcher=optun"], "must be random or optuna, did you mean optuna?"),
        (["--searcher=optuna"], "say how many with --trials=N"),
    ],
)
def test_a_mistake_is_one_line(argv, said, tiny_path, capsys):
    assert main(["sweep", "--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", *argv]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
