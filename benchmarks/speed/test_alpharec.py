"""An epoch of AlphaRec against an epoch of RecBole's LightGCN, both of width 64 with batches of 4,096, RecBole's loader included;
the scores of sampled negatives, forth and back, against two other ways to them; sums over all others against torch's own steps.
Full size: ml-1m beside the checkout, else ml-100k.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.speed.measure import FULL, least_seconds, size
from recbole_ext.core.contrastive import mean_log_sum_exp, picked_scores
from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat import make_trainer
from tests.conftest import SHARED
from tests.problems import make_experiment

REAL = FULL and SHARED.is_dir()
ENCODER = "minilm" if FULL else "hash"
"""Reading texts is not what is timed."""


def training(
    model: str, scratch: Path, theirs: bool = False, **given: object
) -> tuple[Callable[[], None], int]:
    """(A step through RecBole's loader and trainer, steps of an epoch)."""
    name, path = ("ml-1m", SHARED) if REAL else ("ml-100k", None)
    given |= {"train_batch_size": 4096, "embedding_size": 64, "n_layers": 2}
    experiment = make_experiment(model, name, path, **given)
    built, bench = Training(experiment, experiment.embeddings(), scratch).build(
        experiment.settings.params
    )
    if theirs:  # as RecBole has it: the uncoalesced matrix
        built.norm_adj_matrix = built.get_norm_adj_mat()
    trainer: Any = make_trainer(bench, built, lambda: 0.0)
    built.train()
    batches = chain.from_iterable(repeat(bench.train_loader))

    def step() -> None:
        trainer.optimizer.zero_grad()
        built.calculate_loss(next(batches)).backward()
        trainer.optimizer.step()

    return step, len(bench.train_loader)


def test_an_epoch_of_alpharec_against_recboles_lightgcn(figure, tmp_path: Path) -> None:
    ours, steps = training("AlphaRec", tmp_path, encoder=ENCODER)
    plain, _ = training("LightGCN", tmp_path, theirs=True)
    rows, _ = training("LightGCN", tmp_path)
    took = least_seconds({"ours": ours, "plain": plain, "rows": rows}, size(10, 5))
    what = f"on {'ml-1m' if REAL else 'ml-100k'} ({steps} steps)"
    for name, of, bound in (("ours", "AlphaRec", 6), ("rows", "LightGCN by rows", 0.95)):
        figure(
            f"an epoch of {of} {what}, in epochs of RecBole's LightGCN",
            took[name] / took["plain"],
            below=bound,
        )


def test_scores_of_the_negatives_against_all_scores_and_gathered_vectors(figure) -> None:
    users, sizes = size(4096, 1024), (4_000, 12_000, 40_000) if FULL else (4_000,)
    ways = {
        "ours": picked_scores,
        "all scores": lambda u, i, picked: (u @ i.T).gather(1, picked),
        "gathered vectors": lambda u, i, picked: torch.bmm(
            functional.embedding(picked, i), u[:, :, None]
        ).squeeze(2),
    }
    for items in sizes:
        u, i = (torch.randn(rows, 64, requires_grad=True) for rows in (users, items))
        picked = torch.randint(0, items, (users, 256))
        took = least_seconds(
            {
                name: lambda scored=scored: scored(u, i, picked).sum().backward()  # noqa: B023
                for name, scored in ways.items()
            },
            5,
        )
        for name, bound in (("all scores", 1.2), ("gathered vectors", size(3, 5))):
            figure(
                f"256 of {items:,} items for {users:,} users by {name}, in ours",
                took[name] / took["ours"],
                above=bound,
            )


def test_sums_over_all_others_against_all_products_and_against_their_own(figure) -> None:
    """Forth and back three products are the least: that of the two, and one for each side's gradient."""
    many, n, width = 4096, size(11_000, 4_096), 32
    rows, columns = (torch.randn(of, width, requires_grad=True) for of in (many, n))
    a, b = torch.randn(many, width), torch.randn(width, n)
    out = torch.empty(many, n)
    took = least_seconds(
        {
            "ours": lambda: mean_log_sum_exp(rows, columns).backward(),
            "theirs": lambda: torch.logsumexp(rows @ columns.T, 1).mean().backward(),
            "product": lambda: torch.mm(a, b, out=out),
        },
        5,
    )
    what = f"sums over {n:,} others for {many:,} rows"
    figure(f"{what} by torch's own steps, in ours", took["theirs"] / took["ours"], above=2)
    figure(f"{what}, in products of theirs", took["ours"] / took["product"], below=9)
