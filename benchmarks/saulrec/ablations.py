"""What SAULREC's coder costs SASRec, over its keys, as a table in markdown: no language model.

    python run_bench.py --suite=saulrec-ablations --data-path=DIR --records=RECORDS
    python -m benchmarks.saulrec.ablations RECORDS --dataset=amazon-toys-2014

A row for each finished run of SASRecSAE: what the coder misses, live latents, their overlap, and Hit@1 and NDCG@10 of SASRec with what the
coder makes of its vectors in their place, beside those of SASRec itself. Differences are paired by users, with intervals of users drawn
with replacement; p is adjusted by Holm's method over all rows and both metrics. Runs that differ in the seed are rows of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.over_seeds import runs_under
from benchmarks.saulrec.command import print_table
from recbole_ext.core.arrays import Floats
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.findings import Paired, holm
from recbole_ext.evaluator.stats import paired_tests
from recbole_ext.evaluator.tables import read_tables
from recbole_ext.results import ResultRecord

_KEYS = ("sae_dim", "sae_k", "sae_beta", "sae_tied", "sae_standardise", "coded", "sae_epochs")
_MEASURES = ("error", "live", "overlap")
_BELOW = ("hidden_size", "n_layers", "n_heads", "dropout_prob", "MAX_ITEM_LIST_LENGTH", "loss", "windows", "learning_rate", "train_batch_size", "epochs", "stopping_step")  # fmt: skip
"""What SASRec's own stage depends on."""


@dataclass(frozen=True)
class Ablation:
    """One run of a coder beside SASRec's."""

    record: ResultRecord
    values: dict[str, float]
    """Metric -> mean over users."""
    differences: dict[str, Paired]
    """Metric -> less SASRec's."""


def ablations(
    records: Path, dataset: str, protocol: str
) -> tuple[dict[str, float], list[Ablation]]:
    """(SASRec's means, runs of SASRecSAE over the same SASRec).

    Raises:
        HarnessError: there is no run of SASRec under the same settings, or none of SASRecSAE.
    """
    found = runs_under(records, dataset, "full", protocol)
    coded = [one for one in found if one[1].experiment["model"] == "SASRecSAE"]
    plain = {_below(record): path for path, record in found if record.experiment["model"] == "SASRec"}  # fmt: skip
    beside = [one for one in coded if _below(one[1]) in plain]
    if not beside:
        raise HarnessError(
            f"{records} has no SASRecSAE on {dataset} in full and {protocol} beside a SASRec of the same settings: "
            "python run_bench.py --suite=saulrec-ablations"
        )
    # One SASRec: that under most coders.
    below = max({_below(record) for _, record in beside}, key=lambda own: sum(_below(record) == own for _, record in beside))  # fmt: skip
    base = _values(plain[below], protocol)
    rows = []
    for path, record in beside:
        if _below(record) == below:
            own = _values(path, protocol)
            pairs = {
                name: paired_tests(np.column_stack([own[name], base[name]]))[0, 1] for name in own
            }
            means = {name: float(of.mean()) for name, of in own.items()}
            rows.append(Ablation(record, means, pairs))
    rows.sort(key=lambda row: tuple(str(row.record.params[key]) for key in _KEYS))
    return {name: float(of.mean()) for name, of in base.items()}, rows


def _below(record: ResultRecord) -> tuple[str, ...]:
    told = (str(record.params.get(key)) for key in _BELOW)
    experiment = record.experiment
    return (record.fingerprints["split"], str(experiment["seed"]), experiment["valid_metric"], *told)  # fmt: skip


def _values(folder: Path, protocol: str) -> dict[str, Floats]:
    """Metric -> [U]."""
    tables = read_tables(folder)
    hit, ndcg = (
        tables.per_user(protocol, [1])["hit_pp@1"],
        tables.per_user("full", [10])["ndcg@10"],
    )
    return {"Hit@1": hit.mean(axis=1) if hit.ndim == 2 else hit, "NDCG@10": ndcg}


def lines_of(base: dict[str, float], rows: Sequence[Ablation], title: str) -> list[str]:
    """Lines of markdown."""
    tested = [one.differences[name] for one in rows for name in base]
    adjusted = iter(holm([one.p for one in tested]))
    head = [*_KEYS, "seed", *_MEASURES, *(part for name in base for part in (name, "- SASRec", "p"))]  # fmt: skip
    numbers = len(_KEYS) + 1
    own = " ".join(f"{value:.4f} | | |" for value in base.values())
    lines = [
        f"# {title}",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * numbers}{'--:|' * (len(head) - numbers)}",
        f"| SASRec |{' |' * (numbers - 1 + len(_MEASURES))} {own}",
    ]
    for one in rows:
        params, measures = one.record.params, one.record.measures
        cells = [str(params[key]) for key in _KEYS]
        cells += [str(one.record.experiment["seed"]), *(f"{measures[key]:.4f}" for key in _MEASURES)]  # fmt: skip
        for name in base:
            apart = one.differences[name]
            told = f"{apart.difference:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}]"
            cells += [f"{one.values[name]:.4f}", told, f"{next(adjusted):.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def table(records: Path, dataset: str, protocol: str) -> list[str]:
    """All lines."""
    title = f"{dataset}: SASRec's vectors as a coder makes them again"
    return lines_of(*ablations(records, dataset, protocol), title)


if __name__ == "__main__":
    print_table("benchmarks.saulrec.ablations", table)
