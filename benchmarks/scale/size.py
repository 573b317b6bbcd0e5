"""What a catalogue of a size costs: seconds and memory of each phase, each model in a process of its own.

    python -m benchmarks.scale.catalogue --items=100000 --output=DIR
    python -m benchmarks.scale.size --data-path=DIR --dataset=scale-100000 --models=Pop,CosineText,EASE,L3AE \\
        --users=20000 --EASE.side=sparse --L3AE.side=sparse --L3AE.encoder=file:{data}/{dataset}/vectors.parquet --output=sizes.csv

A line of csv for each phase: its seconds, the most memory that the process had in it and what it holds afterwards (MiB), and
for the last one the metrics. Several datasets give exponents of n.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_EVERY = 0.02
"""Seconds between two looks at the memory."""
_METRICS = ("recall@20", "ndcg@20")
_PHASES = ["read", "split", "fingerprints", "lists", "vectors", "fit", "rank", "metrics"]
COLUMNS = ["dataset", "items", "model", "phase", "seconds", "peak_mib", "held_mib", "told"]


class Phases:
    """Times phases of this process and watches its memory."""

    def __init__(self, tell: dict[str, Any]) -> None:
        import psutil

        self._process = psutil.Process()
        self._peak, self._tell = 0, tell
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._peak = max(self._peak, self._process.memory_info().rss)
            time.sleep(_EVERY)

    @contextmanager
    def phase(self, name: str) -> Iterator[dict[str, Any]]:
        """Yields a place for what is told beside."""
        told: dict[str, Any] = {}
        self._peak, begun = self._process.memory_info().rss, time.perf_counter()
        yield told
        seconds, held = time.perf_counter() - begun, self._process.memory_info().rss
        line = {
            **self._tell,
            "phase": name,
            "seconds": round(seconds, 2),
            "peak_mib": max(self._peak, held) >> 20,
            "held_mib": held >> 20,
            "told": " ".join(f"{key}={value}" for key, value in told.items()),
        }
        print(json.dumps(line), flush=True)


def measure(model: str, dataset: str, folder: Path, given: dict[str, str]) -> None:
    """One model in this process, a line of json for each phase."""
    from recbole_ext.evaluator.summary import summarise
    from recbole_ext.pipeline.training import Training, rank_test
    from recbole_ext.testing import make_experiment

    tell = {"dataset": dataset, "model": model}
    phases = Phases(tell)
    experiment = make_experiment(model, dataset, folder, **given)
    problem = experiment.problem
    with phases.phase("read") as told:
        data = problem.data
        told.update(users=len(data.user_tokens), interactions=len(data))
        tell["items"] = len(data.item_tokens)
    with phases.phase("split"):
        _ = problem.split
    with phases.phase("fingerprints"):
        _ = problem.fingerprints
    with phases.phase("lists") as told:
        told.update(tested=len(problem.test_task.users), positives=len(problem.test_task.pos_items))
    with phases.phase("vectors"):
        embeddings = experiment.embeddings()
    with tempfile.TemporaryDirectory() as scratch:
        training = Training(experiment, embeddings, Path(scratch))
        with phases.phase("fit") as told:
            fitted = training.fit(dict(experiment.settings.params), model)
            told[str(experiment.selection.metric)] = round(fitted.value, 5)
        with phases.phase("rank"):
            table = rank_test(fitted, problem)
        protocols, ks = experiment.settings.evaluation["protocols"], [10, 20]
        with phases.phase("metrics") as told:
            for protocol, metrics in summarise(table, protocols, ks).items():
                for name in (*_METRICS, "ndcg_pp@20"):
                    if name in metrics:
                        told[f"{protocol}:{name}"] = metrics[name]["mean"]


def in_a_process(
    model: str, dataset: str, folder: Path, given: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The phases of `measure` in a process of its own; a model that stops early says so in its last one."""
    asked = [model, dataset, str(folder), json.dumps(given)]
    command = [sys.executable, "-m", "benchmarks.scale.size", "--one", *asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if process.returncode:
        yield {
            "dataset": dataset,
            "model": model,
            "phase": "stopped",
            "told": f"exit {process.returncode}",
        }


def exponents(lines: list[dict[str, Any]]) -> list[str]:
    """How seconds and memory of each model's phase grow from one size to the next: cost ~ n^e."""
    of: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        if line["phase"] in _PHASES:
            of.setdefault((line["model"], line["phase"]), []).append(line)
    found = []
    for (model, phase), some in of.items():
        some.sort(key=lambda line: line["items"])
        for small, large in itertools.pairwise(some):
            growth = math.log(large["items"] / small["items"])
            if growth > 0:
                costs = ", ".join(
                    f"{what} n^{math.log(max(large[what], 0.01) / max(small[what], 0.01)) / growth:.2f}"
                    for what in ("seconds", "peak_mib")
                )
                found.append(f"{model} {phase} {small['items']:,} to {large['items']:,}: {costs}")
    return found


def main(given: list[str] | None = None) -> None:
    """Measure, print and write."""
    given = sys.argv[1:] if given is None else given
    if given[:1] == ["--one"]:
        model, dataset, folder, options = given[1:]
        measure(model, dataset, Path(folder), json.loads(options))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-path", type=Path, required=True)
    parser.add_argument("--dataset", required=True, help="one or several, by commas")
    parser.add_argument("--models", required=True)
    parser.add_argument("--users", default="20000", help="that are validated by and tested")
    parser.add_argument("--protocols", default="full,uni100,expected@100")
    parser.add_argument("--draws", default="1")
    parser.add_argument("--threads", default=None)
    parser.add_argument("--output", type=Path)
    asked, more = parser.parse_known_args(given)
    if asked.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = asked.threads
    lines = []
    for dataset in asked.dataset.split(","):
        for model in asked.models.split(","):
            options = {"users": asked.users, "protocols": asked.protocols, "draws": asked.draws}
            for key, _, value in (option.removeprefix("--").partition("=") for option in more):
                of, _, name = key.rpartition(".")
                if of in ("", model):
                    options[name] = value.format(data=asked.data_path, dataset=dataset)
            for line in in_a_process(model, dataset, asked.data_path, options):
                lines.append(line)
                print("  ".join(f"{line.get(column, '')}" for column in COLUMNS), flush=True)
    print("\n".join(exponents(lines)))
    if asked.output:
        with asked.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()
