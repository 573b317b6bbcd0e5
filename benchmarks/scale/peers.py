"""Models of other packages and ours on one split: seconds and memory of each in a process of its own, lists measured in one place.

    python -m benchmarks.scale.peers --data-path=DIR --dataset=gowalla-lightgcn --peers-python=ENV/bin/python --threads=2 \\
        --output=peers

`--KEY=value` is a key of every run of ours (data and split above all), `--PEER.KEY=value` of one peer. `--output` is written to
with `.csv` and with `.md`. A peer whose interpreter lacks its package, that needs more memory than is free or that stops is a line
that says why. A density `equal` is half of P's of the sparse side, for SANSA keeps two factors of it.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from benchmarks.scale.peer_io import TOP, Asked
from recbole_ext.core import memory
from recbole_ext.core.errors import HarnessError, one_of
from recbole_ext.core.files import write_atomically
from recbole_ext.data.problem import Problem
from recbole_ext.data.splits import TRAIN
from recbole_ext.evaluator.places import joint_metrics
from recbole_ext.evaluator.ranks import RankTask, rank
from recbole_ext.linear.sparse_side import entries_of

METRICS = (f"recall@{TOP}", f"ndcg@{TOP}")
_DENSE = 16
"""Bytes for each pair of items that RecBole's EASE holds at its peak: Gram matrix, and in NumPy's `inv` its copy, the right side and
the result, all in float32."""
COLUMNS = [
    "peer", "fit_seconds", "rank_seconds", "before_mib", "fit_mib", "peak_mib", *METRICS, "settings", "from", "why_not",
]  # fmt: skip
"""Memory of the process before the fit, up to its end, and up to the end of ranking."""


@dataclass(frozen=True)
class Peer:
    """A row of the table."""

    script: str
    options: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    """Where the options are from, and whose code it is."""
    elsewhere: bool = False
    """Whether it runs in the other packages' interpreter."""
    bytes_a_pair: int = 0
    """Of items, at its peak."""
    model: str = ""
    """Of ours."""


_SANSA = {"density": "equal", "scans": "1", "finetune": "5"}
_ALS = {
    "factors": "128",
    "regularization": "0.01",
    "alpha": "1",
    "iterations": "15",
    "seed": "2026",
}
_OURS = "this package, defaults"
PEERS = {
    "SANSA-ICF": Peer(
        "peer_sansa", {"factor": "icf", "l2": "20", **_SANSA}, "package sansa, l2 of its authors on amazon-book", True
    ),
    "SANSA-CHOLMOD": Peer(
        "peer_sansa", {"factor": "cholmod", "l2": "250", **_SANSA}, "package sansa, l2 as for EASE here", True
    ),
    "ALS": Peer("peer_implicit", _ALS, "package implicit, its defaults but for the factors", True),
    "EASE@recbole": Peer(
        "peer_recbole", {"reg_weight": "250"}, "RecBole, its default", bytes_a_pair=_DENSE
    ),
    "EASE-dense": Peer("peer_ours", {"side": "items"}, _OURS, bytes_a_pair=_DENSE, model="EASE"),
    "EASE": Peer("peer_ours", {"side": "sparse"}, _OURS, model="EASE"),
    "L3AE": Peer("peer_ours", {"side": "sparse"}, _OURS, model="L3AE"),
    "ELSA": Peer("peer_ours", {}, _OURS, model="ELSA"),
}  # fmt: skip


def asked_of(problem: Problem) -> Asked:
    """What peers are given of a problem: nothing of its test part.

    Raises:
        HarnessError: test users are not trained on.
    """
    task = problem.test_task
    users, items = problem.split.pairs(problem.data, TRAIN)
    shape = len(problem.data.user_tokens), task.n_items
    train = sp.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=shape)
    train.data[:] = 1  # of pairs that stand several times
    if not np.diff(train.indptr)[task.users].any():
        raise HarnessError("no test user is trained on: peers are compared on splits within users")
    ones = np.ones(len(task.exc_items), np.float32)
    masked = sp.csr_matrix(
        (ones, task.exc_items, task.exc_indptr), shape=(len(task.users), task.n_items)
    )
    return Asked(train, masked, task.users)


def evaluate(task: RankTask, lists: npt.NDArray[np.int64]) -> dict[str, float]:
    """Means over users of Recall@20 (over all positives) and NDCG@20 by the package's own metrics.

    Args:
        task: what is ranked.
        lists: [U, K] items, best first, -1 for none; what is not listed stands below and ties.

    Raises:
        HarnessError: another number of users, an item that is no candidate, or one twice.
    """
    if len(lists) != len(task.users):
        raise HarnessError(f"lists of {len(lists)} users, not of {len(task.users)}")
    row, place = np.nonzero(lists >= 0)
    item = lists[row, place]
    if (item >= task.n_items).any():
        raise HarnessError(f"item {item.max()} is listed, of {task.n_items}")
    key = row * task.n_items + item
    excluded = np.repeat(np.arange(len(task.users)), np.diff(task.exc_indptr))
    if np.isin(key, excluded * task.n_items + task.exc_items).any():
        raise HarnessError("an item that its user has already is listed")
    if len(np.unique(key)) < len(key):
        raise HarnessError("an item is listed twice for a user")

    def levels(users: npt.NDArray[np.int64]) -> list[Any]:
        import torch

        part = lists[np.searchsorted(task.users, users)]
        out = np.zeros((len(users), task.n_items), dtype=np.float32)
        row, place = np.nonzero(part >= 0)
        out[row, part[row, place]] = lists.shape[1] - place
        return [torch.from_numpy(out)]

    (table,) = rank(task, levels)
    found = joint_metrics(table, [TOP])
    return {name: float(found[name].mean()) for name in METRICS}


def run(
    name: str, python: str | None, options: Mapping[str, Any], folder: Path, threads: int
) -> Path | str:
    """Where one peer has written, or why it is not measured."""
    peer = PEERS[name]
    python = python if peer.elsewhere else sys.executable
    if python is None or shutil.which(python) is None:
        return f"--peers-python={python or 'PATH'} is no interpreter"
    if peer.bytes_a_pair:
        n = sp.load_npz(folder / "train.npz").shape[1]
        needed, free = peer.bytes_a_pair * n * n, memory.free_memory("cpu")
        if needed > free:
            return f"it needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
    output = folder / name
    shutil.rmtree(output, ignore_errors=True)
    arguments = [str(folder), str(output), str(threads), json.dumps(options)]
    command = [python, "-m", f"benchmarks.scale.{peer.script}", *arguments]
    limits = ("OMP", "MKL", "OPENBLAS", "NUMBA")
    # Kept inverses would make a second run's fit a reading.
    environment = {
        **os.environ,
        "RECBOLE_EXT_INVERSES": "0",
        **{f"{limit}_NUM_THREADS": str(threads) for limit in limits},
    }
    root = Path(__file__).resolve().parents[2]
    made = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if made.returncode:
        said = made.stderr.strip().splitlines() or [f"exit {made.returncode}"]
        return " ".join(said[-1].split())[:160]
    return output


def row_of(
    name: str, task: RankTask, made: Path | str, options: Mapping[str, Any]
) -> dict[str, str]:
    """A row of the table, by `COLUMNS`."""
    row = dict.fromkeys(COLUMNS, "") | {"peer": name, "from": PEERS[name].source}
    if isinstance(made, str):
        return row | {"settings": _told(options), "why_not": made}
    values = evaluate(task, np.load(made / "lists.npy"))
    cost = json.loads((made / "told.json").read_text())
    for of in ("fit", "rank"):
        row[f"{of}_seconds"] = f"{cost[f'{of}_seconds']:.1f}"
    for of in ("before", "fit", "peak"):
        row[f"{of}_mib"] = str(cost[f"{of}_bytes"] >> 20)
    row |= {metric: f"{value:.4f}" for metric, value in values.items()}
    return row | {"settings": _told({**options, **cost["told"]})}


def _told(what: Mapping[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.4g}"
        kind, of, path = str(value).partition("file:")
        return f"{kind}{of}{Path(path).name}" if of else kind  # As in records, no folder

    return " ".join(f"{key}={text(value)}" for key, value in what.items())


def table(rows: list[dict[str, str]], title: str) -> str:
    """The rows in Markdown; settings, and why a peer is not measured, stand below it."""
    shown = COLUMNS[: COLUMNS.index("settings")]
    lines = [title, "", "| " + " | ".join(shown) + " |", "|---|" + "--:|" * (len(shown) - 1)]
    lines += ["| " + " | ".join(row[column] for column in shown) + " |" for row in rows]
    lines.append("")
    for row in rows:
        why = f"; not measured: {row['why_not']}" if row["why_not"] else ""
        lines.append(f"* {row['peer']}: {row['from']}; {row['settings']}{why}")
    return "\n".join(lines) + "\n"


def as_csv(rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def main(given: list[str] | None = None) -> None:
    """See the module."""
    from recbole_ext.testing import make_experiment

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-path")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--models", default=",".join(PEERS))
    parser.add_argument(
        "--peers-python", help="an interpreter with the packages sansa and implicit"
    )
    parser.add_argument("--output", type=Path, help="OUTPUT.csv and OUTPUT.md are written")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the split and the lists are kept")
    asked, more = parser.parse_known_args(given)
    names = [one_of("--models", name, PEERS) for name in asked.models.split(",")]
    own: dict[str, dict[str, str]] = {"": {"protocols": "full", "ks": str(TOP)}}
    for option in more:
        key, _, value = option.removeprefix("--").partition("=")
        of, _, key = key.partition(".") if key.partition(".")[0] in PEERS else ("", "", key)
        value = value.format(data=asked.data_path, dataset=asked.dataset)
        own.setdefault(of, {})[key] = value
    where = None if asked.data_path is None else Path(asked.data_path)
    problem = make_experiment("Pop", asked.dataset, where, **own[""]).problem
    task = problem.test_task
    density = own.get("EASE", {}).get("density")
    equal = entries_of(None if density is None else float(density), task.n_items)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (asked.folder or Path(scratch)).resolve()
        given_out = asked_of(problem)
        given_out.write(folder)
        title = (
            f"{asked.dataset}: {given_out.train.shape[0]:,} users, {task.n_items:,} items, {given_out.train.nnz:,} to train on, "
            f"{len(task.users):,} users tested, {asked.threads} threads"
        )
        print(title, flush=True)
        rows = []
        for name in names:
            options = {**PEERS[name].options, **own.get(name, {})}
            if options.get("density") == "equal":
                options["density"] = f"{equal / (2 * task.n_items):.6g}"
            sent: dict[str, Any] = dict(options)
            if PEERS[name].model:
                sent = {"model": PEERS[name].model, "dataset": asked.dataset}
                sent |= {"folder": asked.data_path, "keys": {**own[""], **options}}
            made = run(name, asked.peers_python, sent, folder, asked.threads)
            rows.append(row_of(name, task, made, options))
            print("  ".join(value for value in rows[-1].values() if value), flush=True)
            # After each: the next may take hours.
            if asked.output is not None:
                for suffix, text in ((".csv", as_csv(rows)), (".md", table(rows, title))):
                    write_atomically(
                        asked.output.with_name(asked.output.name + suffix), text.encode()
                    )
    print("\n" + table(rows, title))


if __name__ == "__main__":
    main()
