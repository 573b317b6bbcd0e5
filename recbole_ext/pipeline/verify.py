"""Re-run published records from scratch and compare."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from recbole_ext.core import environment
from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline.execute import execute
from recbole_ext.pipeline.replay import experiment_of
from recbole_ext.results import ResultRecord

TOLERANCE = 2e-4
"""Another processor rounds scores differently, which swaps near-ties: on a thousand users one swapped place moves a
mean by less than 1e-4. The same machine repeats to the last digit."""


def verify_records(
    records: list[ResultRecord], count: int, seed: int, data_path: Path | None
) -> int:
    """Re-run `count` of the records of models, chosen by `seed`; prints a line each; 0 when all that were compared agree, else 1.

    A run on a GPU is skipped, and counted, where there is none: a CPU adds up in another order. What was ranked from a run file is
    nothing that could be run.
    """
    every = records
    records = [record for record in every if "run_file" not in record.fingerprints]
    if every and not records:
        print(
            f"nothing to run again: all {len(every)} were ranked from run files, which a record names by hash alone"
        )
        return 0
    if not records:
        raise HarnessError("no record matches; publish some: python run_bench.py board --publish")
    chosen = random.Random(seed).sample(
        sorted(records, key=lambda r: r.run_id), min(count, len(records))
    )
    failed = skipped = 0
    for record in chosen:
        name = f"{record.experiment['model']} on {record.experiment['dataset']['name']} ({record.run_id})"
        if environment.lacks(record.experiment["device"]):
            print(f"skipped  {name}: it ran on a GPU, of which there is none here")
            skipped += 1
            continue
        # Searches whose trials depend on what ended first do not repeat: there the winner is trained again.
        repeats = not {"scheduler", "searcher"} & set(record.experiment["tune"] or {})
        with tempfile.TemporaryDirectory(prefix="recbole_ext-") as folder:
            again = execute(experiment_of(record, data_path, tuned=repeats), Path(folder))
        if again.fingerprints != record.fingerprints or again.candidates != record.candidates:
            print(f"DIFFERENT INPUT  {name}: data, split, candidates or text changed")
            failed += 1
            continue
        gaps = {
            f"{protocol} {metric}": _gap(entry, again.metrics.get(protocol, {}).get(metric))
            for protocol, metrics in record.metrics.items()
            for metric, entry in metrics.items()
        }
        worst = max(gaps, key=lambda key: gaps[key])
        agrees = gaps[worst] <= TOLERANCE
        failed += not agrees
        print(
            f"{'agrees' if agrees else 'DIFFERENT'}  {name}: largest difference {gaps[worst]:.2e} ({worst})"
        )
    if skipped:
        print(f"{len(chosen) - skipped} of {len(chosen)} compared, {skipped} skipped")
    return 1 if failed else 0


def _gap(there: dict[str, Any], here: dict[str, Any] | None) -> float:
    """Between two means; endless where the metric is no more."""
    return float("inf") if here is None else abs(float(there["mean"]) - float(here["mean"]))
