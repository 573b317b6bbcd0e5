"""What a sparse inverse costs in accuracy: a linear model by its dense side and at four densities, on one split.

    python -m benchmarks.scale.quality ml-latest-small --data-path=DIR --model=EASE,L3AE min_user=5 reg_weight=100 reg_x=100
    python -m benchmarks.scale.quality amazon-toys-2014 --data-path=DIR --densities=0.001,0.0025,0.01,1

Words of the form key=value are the keys of a run. Each fit has a process of its own, so that its peak memory is its own. The intervals
are of paired differences to the dense side over test users (bootstrap, 95%), divided by the dense mean. `default` is the density of
a run that asks for none.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.scale.peer_io import peak_bytes

METRICS = ("recall@20", "ndcg@20")
_DENSITIES = "0.001,0.0025,0.005,default"
_HEAD = (
    f"{'model':<12} {'density':>8} {'of P':>8} {'P_jj off':>9} {'Recall@20':>9} {'against dense':>25} {'NDCG@20':>8} "
    f"{'against dense':>25} {'fit s':>7} {'rank s':>7} {'MiB':>7}"
)


@dataclass(frozen=True)
class Run:
    """One fit, ranked on the test part."""

    values: dict[str, npt.NDArray[np.float64]]
    """[U] of each metric, by user."""
    measures: dict[str, float]
    fit_seconds: float
    rank_seconds: float
    peak: int
    """Bytes of the process at most; data and scores are in it."""


def run(model: str, dataset: str, data_path: str | None, given: dict[str, str]) -> Run:
    """In a fresh process."""
    from recbole_ext.evaluator.summary import per_user
    from recbole_ext.pipeline.training import Training, rank_test
    from recbole_ext.testing import make_experiment
    from recbole_ext.trainer.setup import Fitted

    keys = {"protocols": "full", "ks": "20", **given}
    path = None if data_path is None else Path(data_path)
    experiment = make_experiment(model, dataset, path, **keys)
    embeddings = experiment.embeddings()
    with tempfile.TemporaryDirectory() as scratch:
        training = Training(experiment, embeddings, Path(scratch))
        built, bench = training.build(experiment.settings.params)
        begun = time.perf_counter()
        built.solve()
        fitted = time.perf_counter()
        table = rank_test(Fitted(built, bench, float("nan"), None), experiment.problem)
        ranked = time.perf_counter()
    found = per_user(table, "full", [20])
    return Run(
        {name: found[name] for name in METRICS},
        built.measures(),
        fitted - begun,
        ranked - fitted,
        peak_bytes(),
    )


def alone(*args: Any) -> Run:
    """`run` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, args)


def against(
    one: npt.NDArray[np.float64], dense: npt.NDArray[np.float64]
) -> tuple[float, float, float]:
    """(difference, low, high) of the means, as shares of the dense one."""
    from recbole_ext.evaluator.stats import paired_tests

    found = paired_tests(np.stack([one, dense], 1), resamples=1)[0, 1]
    mean = float(dense.mean())
    return found.difference / mean, found.low / mean, found.high / mean


def line(model: str, density: str, made: Run, dense: Run) -> str:
    parts = [f"{model:<12} {density:>8}"]
    parts.append(f"{made.measures.get('p_density', 1.0):8.5f}")
    parts.append(f"{made.measures.get('p_diagonal_error', 0.0):9.1e}")
    for name, width in zip(METRICS, (9, 8), strict=True):
        told = ""
        if made is not dense:
            gain, low, high = against(made.values[name], dense.values[name])
            told = f"{gain:+.2%} [{low:+.2%}, {high:+.2%}]"
        parts.append(f"{made.values[name].mean():{width}.4f} {told:>25}")
    parts.append(f"{made.fit_seconds:7.1f} {made.rank_seconds:7.1f} {made.peak / 2**20:7.0f}")
    return " ".join(parts)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("keys", nargs="*", metavar="key=value")
    parser.add_argument("--data-path")
    parser.add_argument("--model", default="EASE")
    parser.add_argument("--densities", default=_DENSITIES)
    parser.add_argument("--dense", default="auto", choices=["auto", "items", "users"])
    asked = parser.parse_intermixed_args()
    given = dict(key.split("=", 1) for key in asked.keys)
    print(f"{asked.dataset} {' '.join(asked.keys)}\n{_HEAD}", flush=True)
    for model in asked.model.split(","):
        known = _known(model, given)
        dense = alone(model, asked.dataset, asked.data_path, {**known, "side": asked.dense})
        print(line(model, "dense", dense, dense), flush=True)
        for density in asked.densities.split(","):
            sparse = {**known, "side": "sparse"}
            if density != "default":
                sparse["density"] = density
            made = alone(model, asked.dataset, asked.data_path, sparse)
            print(line(model, density, made, dense), flush=True)


def _known(model: str, given: dict[str, str]) -> dict[str, str]:
    """The keys that a run of the model has: `reg_x` is none of EASE's."""
    from recbole_ext.config import model_defaults
    from recbole_ext.core.yaml_files import properties, read_yaml
    from recbole_ext.registry.find import find_model

    overall = read_yaml(properties() / "overall.yaml")
    params = model_defaults(find_model(model)).params
    shared = {key for name in ("run", "evaluation", "dataset") for key in overall[name]}
    return {key: text for key, text in given.items() if key in params or key in shared}


if __name__ == "__main__":
    main()
