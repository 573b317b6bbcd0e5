"""Counting ranks against the score product, and sampled protocols against full ranking alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.measure import FULL, least_seconds, size
from recbole_ext.core.environment import peak_memory_mb, reset_peak_memory
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.ranks import RankTask, make_task, rank
from recbole_ext.pipeline.training import Training


def made_up(users: int, items: int, positives: int) -> RankTask:
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(users), positives + 10)
    columns = rng.integers(0, items, len(rows))
    test = np.tile(np.arange(positives + 10) < positives, users)
    return make_task(items, (rows[test], columns[test]), (rows[~test], columns[~test]))


def test_counts_against_the_score_product(figure):
    users, items = size(20_000, 1_000), size(50_000, 20_000)
    task = made_up(users, items, 5)
    left, right = torch.randn(users, 128), torch.randn(128, items)
    block = max(1, (32 << 20) // (4 * items))

    def product() -> None:
        for start in range(0, users, block):
            left[start : start + block] @ right

    reset_peak_memory()
    took = least_seconds(
        {"product": product, "ranks": lambda: rank(task, lambda u: [left[u] @ right])}, size(5, 9)
    )
    peak = peak_memory_mb()
    # 1.9 to 2.3 where two threads share a core, its caches and its memory.
    figure(
        f"scores and counts of {users:,} users x 5 positives x {items:,} items, in score products",
        took["ranks"] / took["product"],
        below=2.5,
    )
    assert peak < 4096


def test_validation_against_the_full_ranking(figure):
    """Both from scores to a metric: what selection reads needs no place below its cut-off."""
    users, items = size(6_000, 1_000), 4_000
    task, scores = made_up(users, items, 10), torch.randn(users, items)

    def full() -> None:
        (table,) = rank(task, lambda u: [scores[u]])
        summary.mean_of(table, "ndcg@20")

    took = least_seconds(
        {"full": full, "cut": lambda: summary.validated(task, lambda u: [scores[u]], "ndcg@20")}, 7
    )
    figure(
        f"ndcg@20 of {users:,} users x 10 positives x {items:,} items by validation, in full rankings",
        took["cut"] / took["full"],
        below=0.75,
    )


def test_all_protocols_against_full_alone(figure):
    """The whole evaluation of a scored model: ranks, metrics and intervals."""
    users, items = size(6_000, 1_000), size(12_000, 4_000)
    task = made_up(users, items, 2)
    left, right = torch.randn(users, 64), torch.randn(64, items)
    names = [f"{i:06d}" for i in range(max(users, items))]
    every = ["full", "uni19", "uni100", "pop100", "expected@100"]
    popularity = np.random.default_rng(0).zipf(1.5, items).clip(max=users)
    listed = summary.with_lists(
        task, every, names[:users], names[:items], 1, "key", popularity
    )  # frozen once for all models

    def evaluate(task: RankTask, which: list[str]) -> None:
        (table,) = rank(task, lambda u: [left[u] @ right])
        summary.summarise(table, which, [10, 20])

    took = least_seconds(
        {"full": lambda: evaluate(task, ["full"]), "every": lambda: evaluate(listed, every)}, 5
    )
    figure(
        f"{', '.join(every[:-1])} and {every[-1]} together, in evaluations by full alone ({users:,} users x {items:,} items)",
        took["every"] / took["full"],
        below=2.0 if FULL else 2.4,
    )


def test_uni100_against_recboles_own(figure, tmp_path: Path):
    """ml-100k, the same untrained models: RecBole draws negatives at each evaluation, scores pairs and ranks them.

    Ours scores and ranks every item, gives full ranking too, and finds its lists drawn: they are frozen for all models
    and seeds of a board. What drawing them costs once is a figure too.
    """
    from recbole_ext.recbole_compat import evaluate, score_function
    from tests.problems import make_experiment

    for model in ("LightGCN", "BPR") if FULL else ("BPR",):
        experiment = make_experiment(model, "ml-100k", protocols="full,uni100", draws=1)
        problem = experiment.problem
        built, bench = Training(experiment, None, tmp_path).build(experiment.settings.params)
        data, history = problem.data, problem.split.pairs(problem.data, *problem.seen_at_test)
        score = score_function(built, bench, data, history)
        task = problem.test_task

        def ours(task: RankTask = task, score: Any = score) -> dict[str, Any]:
            (table,) = rank(task, lambda users: [score(users)])
            return summary.per_user(table, "uni100", [10, 20])

        def draw(task: RankTask = task, data: Any = data) -> RankTask:
            popularity = np.bincount(data.item, minlength=task.n_items)
            tokens = data.user_tokens, data.item_tokens
            return summary.with_lists(task, ["uni100"], *tokens, 1, "key", popularity)

        took = least_seconds(
            {
                "ours": ours,
                "drawing": draw,
                "theirs": lambda built=built, bench=bench: evaluate(bench, built, [10, 20], 100),
            },
            size(5, 3),
        )
        figure(
            f"RecBole's own uni100 of {model} on ml-100k, in evaluations of ours",
            took["theirs"] / took["ours"],
            above=20,
        )
        figure(
            f"drawing a list per positive of {model} on ml-100k, once for all models, in RecBole's evaluations",
            took["drawing"] / took["theirs"],
            below=1,
        )
