"""A sweep through Ray against the same trials in plain processes, as many at a time; start of the workers included."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.measure import FULL
from recbole_ext.core.environment import usable_cpus
from recbole_ext.experiment import Experiment
from recbole_ext.pipeline.sweep import Cluster, sweep
from recbole_ext.pipeline.training import Training
from recbole_ext.tune.search import Space, Trial
from recbole_ext.tune.trials import TrialLog
from tests.problems import make_experiment

TRIALS = 12 if FULL else 2
SECONDS = 10.0
"""Of a trial at full size, about."""
_here: dict[str, Training] = {}


def experiment(epochs: int) -> Experiment:
    """BPR with early stopping out of reach, so that all trials take as long."""
    given = {"epochs": epochs, "stopping_step": 1000, "threads": 1, "protocols": "full"}
    return make_experiment("BPR", "ml-100k", **given)


def start(epochs: int) -> None:
    import torch

    torch.set_num_threads(1)
    _here["training"] = Training(experiment(epochs), None, Path(tempfile.mkdtemp()))


def trial(point: dict[str, Any]) -> Trial:
    return next(_here["training"].trials([point]))


def epochs_of_a_trial(point: dict[str, Any]) -> int:
    start(20)
    trial(point)  # warm
    return max(2, round(20 * SECONDS / trial(point).seconds))


@pytest.mark.skipif(usable_cpus() < 2, reason="two trials side by side need two processors")
def test_a_sweep_costs_little_more_than_plain_processes(figure, tmp_path: Path) -> None:
    points = [{"learning_rate": 0.001 + 0.0001 * i} for i in range(TRIALS)]
    epochs = epochs_of_a_trial(points[0]) if FULL else 2
    begun = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(2, start, (epochs,)) as pool:
        plain = list(pool.imap_unordered(trial, points))
    loop = time.perf_counter() - begun
    rates = [point["learning_rate"] for point in points]
    asked = experiment(epochs)
    space = Space([{"learning_rate": rates}], seed=asked.settings.run["seed"])
    swept = Experiment(asked.model, asked.settings, asked.problem, space)
    begun = time.perf_counter()
    sweep(swept, tmp_path, Cluster(cpus=1))
    through = time.perf_counter() - begun
    figure(
        f"{TRIALS} trials of BPR on ml-100k, {epochs} epochs each, through Ray, two at a time, in sweeps by plain processes",
        through / loop,
        below=1.5
        if FULL
        else 10,  # at a small size it is the start of Ray, which waits where others work
    )
    (path,) = (tmp_path / ".trials").glob("*.jsonl")
    known = TrialLog(path).known(points, asked.settings.params)
    assert {str(t.point): t.value for t in known} == pytest.approx(
        {str(t.point): t.value for t in plain}, abs=1e-6
    )
