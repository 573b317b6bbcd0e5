"""An epoch of AlphaRec against an epoch of RecBole's LightGCN, both of width 64 with batches of 4,096, RecBole's loader included;
and the scores of sampled negatives, forth and back, against two other ways to them.

SPEED=full python -m pytest benchmarks/speed/test_alpharec.py -s     (ml-1m beside the checkout, else ml-100k)
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.speed.sizes import FULL
from recbole_ext.model.contrastive import picked_scores
from recbole_ext.recbole_compat import make_trainer
from recbole_ext.training import Training
from tests.conftest import SHARED
from tests.grounds import make_experiment

REAL = FULL and SHARED.is_dir()
STEPS = 10


def step_seconds(
    model: str, scratch: Path, theirs: bool = False, **given: object
) -> tuple[float, int]:
    """(Median seconds of a step through RecBole's loader and trainer, steps of an epoch)."""
    name, path = ("ml-1m", SHARED) if REAL else ("ml-100k", None)
    experiment = make_experiment(
        model, name, path, train_batch_size=4096, embedding_size=64, **given
    )
    training = Training(experiment, experiment.embeddings(), scratch)
    built, bench = training.build(experiment.settings.params)
    if theirs:  # as RecBole has it: the uncoalesced matrix
        built.norm_adj_matrix = built.get_norm_adj_mat()
    trainer: Any = make_trainer(bench, built, lambda: 0.0)
    built.train()
    times = []
    begun = time.perf_counter()
    for number, batch in enumerate(bench.train_loader):
        trainer.optimizer.zero_grad()
        built.calculate_loss(batch).backward()
        trainer.optimizer.step()
        times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        if number == STEPS:
            break
    return statistics.median(times[1:]), len(bench.train_loader)


def test_an_epoch_of_alpharec_against_recboles_lightgcn(tmp_path: Path) -> None:
    given = {"n_layers": 2}
    ours, steps = step_seconds("AlphaRec", tmp_path, **given)
    plain, _ = step_seconds("LightGCN", tmp_path, theirs=True, **given)
    rows, _ = step_seconds("LightGCN", tmp_path, **given)
    print(
        f"\n{steps} steps an epoch, {torch.get_num_threads()} threads: AlphaRec {ours * 1e3:.0f} ms a step, RecBole's LightGCN "
        f"{plain * 1e3:.0f} ms (ratio {ours / plain:.2f}), by rows {rows * 1e3:.0f} ms"
    )
    assert ours > 0


def test_scores_of_the_negatives_against_all_scores_and_gathered_vectors() -> None:
    users, sizes = 4096, (4_000, 12_000, 40_000) if FULL else (4_000,)
    ways = {
        "ours": picked_scores,
        "all scores": lambda u, i, picked: (u @ i.T).gather(1, picked),
        "gathered": lambda u, i, picked: torch.bmm(
            functional.embedding(picked, i), u[:, :, None]
        ).squeeze(2),
    }
    for items in sizes:
        u, i = (torch.randn(rows, 64, requires_grad=True) for rows in (users, items))
        picked = torch.randint(0, items, (users, 256))
        took = {}
        for name, scored in ways.items():
            times = []
            for _ in range(6):
                begun = time.perf_counter()
                scored(u, i, picked).sum().backward()
                times.append(time.perf_counter() - begun)
            took[name] = statistics.median(times[1:])
        ratios = ", ".join(
            f"{name} {seconds / took['ours']:.1f} times" for name, seconds in took.items()
        )
        print(
            f"\n256 of {items:,} items for {users:,} users: {took['ours'] * 1e3:.1f} ms; {ratios}"
        )
        assert took["ours"] > 0
