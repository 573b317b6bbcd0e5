"""Counting ranks against the score product, and sampled protocols against full ranking alone. Ratios within one run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.speed.sizes import FULL, ROUNDS, size
from benchmarks.speed.test_fit import seconds
from recbole_ext.environment import peak_memory_mb, reset_peak_memory
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.ranks import RankTask, make_task, rank
from recbole_ext.training import Training


def made_up(users: int, items: int, positives: int) -> RankTask:
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(users), positives + 10)
    columns = rng.integers(0, items, len(rows))
    test = np.tile(np.arange(positives + 10) < positives, users)
    return make_task(items, (rows[test], columns[test]), (rows[~test], columns[~test]))


def test_counts_against_the_score_product(benchmark):
    users, items = size(20_000, 2_000), size(50_000, 20_000)
    task = made_up(users, items, 5)
    left, right = torch.randn(users, 128), torch.randn(128, items)
    block = max(1, (32 << 20) // (4 * items))

    def product() -> None:
        for start in range(0, users, block):
            left[start : start + block] @ right

    alone = seconds(product)
    reset_peak_memory()
    benchmark.pedantic(
        lambda: rank(task, lambda u: [left[u] @ right]), rounds=ROUNDS, warmup_rounds=1
    )
    ratio = benchmark.stats.stats.median / alone
    print(f"\nscores and counts of {users} users x 5 positives x {items} items: {ratio:.2f} x the score product, "
          f"process peak {peak_memory_mb():.0f} MB")  # fmt: skip
    benchmark.extra_info.update(users=users, items=items, ratio=ratio, peak_mb=peak_memory_mb())
    # Measured between 1.7 and 1.9 on two cores with AVX-512; a small size leaves the threads less to do.
    assert ratio < (2.0 if FULL else 3.0)
    assert peak_memory_mb() < 4096


def test_all_protocols_against_full_alone(benchmark):
    """The whole evaluation of a scored model: ranks, metrics and intervals."""
    users, items = size(6_000, 1_000), size(12_000, 4_000)
    task = made_up(users, items, 2)
    left, right = torch.randn(users, 64), torch.randn(64, items)
    names = [f"{i:06d}" for i in range(max(users, items))]
    every = ["full", "uni19", "uni100", "expected@100"]
    listed = summary.with_lists(
        task, every, names, names[:items], 1, "key"
    )  # frozen once for all models

    def evaluate(task: RankTask, which: list[str]) -> None:
        (table,) = rank(task, lambda u: [left[u] @ right])
        summary.summarise(table, which, [10, 20])

    full = seconds(lambda: evaluate(task, ["full"]))
    benchmark.pedantic(evaluate, args=(listed, every), rounds=ROUNDS, warmup_rounds=1)
    ratio = benchmark.stats.stats.median / full
    print(
        f"\nfull, uni19, uni100 and expected@100 together: {ratio:.2f} x full alone ({users} x {items})"
    )
    benchmark.extra_info.update(users=users, items=items, ratio=ratio)
    assert ratio < (1.5 if FULL else 3.0)


def test_uni100_against_recboles_own(benchmark, tmp_path):
    """ml-100k, the same untrained models: RecBole draws negatives at each evaluation, scores pairs and ranks them.

    Ours scores and ranks every item, gives full ranking too, and finds its lists drawn: they are frozen for all models
    and seeds of a board. What drawing them costs once is printed.
    """
    from recbole_ext.recbole_compat import evaluate, score_function
    from tests.grounds import make_experiment

    speedups = {}
    for model in ("LightGCN", "BPR"):
        experiment = make_experiment(model, "ml-100k", protocols="full,uni100", draws=1)
        ground = experiment.ground
        built, bench = Training(experiment, None, tmp_path).build(experiment.settings.params)
        data, history = ground.data, ground.split.pairs(ground.data, *ground.seen_at_test)
        score = score_function(built, bench, data, history)
        task = ground.test_task

        def ours(task: RankTask = task, score: Any = score) -> dict[str, Any]:
            (table,) = rank(task, lambda users: [score(users)])
            return summary.per_user(table, "uni100", [10, 20])

        theirs = seconds(lambda built=built, bench=bench: evaluate(bench, built, [10, 20], 100))
        if model == "BPR":
            benchmark.pedantic(ours, rounds=ROUNDS, warmup_rounds=1)
        speedups[model] = theirs / seconds(ours)
        drawing = seconds(
            lambda task=task, data=data: summary.with_lists(
                task, ["uni100"], data.user_tokens, data.item_tokens, 1, "key"
            )
        )
        print(f"\nuni100 of {model} on ml-100k: {speedups[model]:.1f} times faster than RecBole's own; "
              f"drawing a list per positive, once for all models: {drawing / theirs:.2f} of RecBole's evaluation")  # fmt: skip
    benchmark.extra_info.update(speedups)
    assert min(speedups.values()) > 20
