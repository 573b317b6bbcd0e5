"""Mean places over datasets, by hand."""

from __future__ import annotations

import itertools
import random
import time

from recbole_ext.leaderboard.across import _largest, over_datasets
from recbole_ext.leaderboard.groups import groups
from recbole_ext.leaderboard.rows import sections
from tests.leaderboard.factory import pages, record

SPLITS = [{"split": "ratio", "split_seed": seed} for seed in (1, 2)]


def board():
    found = [
        record("A", 0.5, dataset="one"), record("B", 0.4, dataset="one"), record("C", 0.3, dataset="one"),
        record("Only", 0.45, dataset="one"),  # stands on one dataset, pushes nobody down
        record("A", 0.2, dataset="one", params={"p": 2}),  # a second, worse configuration
    ]  # fmt: skip
    for seed, (a, b, c) in enumerate([(0.1, 0.3, 0.2), (0.3, 0.2, 0.1)]):
        read = {"split": str(seed) * 64}
        found += [
            record(model, value, dataset="two", split=SPLITS[seed], read=read)
            for model, value in (("A", a), ("B", b), ("C", c))
        ]
    return found


def test_places_are_averaged_over_splits_and_then_over_datasets():
    standings = over_datasets(sections(board()))
    assert [(s.model, s.places, s.mean) for s in standings] == [
        ("A", {"one": 1, "two": 2}, 1.5),
        ("B", {"one": 2, "two": 1.5}, 1.75),
        ("C", {"one": 3, "two": 2.5}, 2.75),
    ]
    page = pages(board())["LEADERBOARD.md"]
    assert "|A|–|1.50|–|" in page and "|B|–|1.75|–|" in page and "|Only|–|–|–|" in page
    assert "among the 3 models that stand on all of one and two" in page


def test_random_splits_have_a_mean_and_a_deviation():
    one, two = groups(sections(board()))
    assert len(two.sections) == 2 and two.over_splits("B", "ndcg@20") == [0.3, 0.2]
    assert one.over_splits("A", "ndcg@20") is None
    line = next(x for x in pages(board())["two.md"].splitlines() if x.startswith("| B "))
    assert "0.2500 (sd 0.0707)" in line


def test_a_dataset_with_few_models_does_not_keep_the_others_out():
    found = board()
    found += [record(m, v, dataset="three") for m, v in (("A", 0.1), ("B", 0.3), ("C", 0.2))]
    few = [record(m, v, dataset="four") for m, v in (("A", 0.2), ("B", 0.1))]
    of = {s.model: s.places for s in over_datasets(sections(found + few))}
    assert of["C"] == {"one": 3, "two": 2.5, "three": 2} and len(of) == 3
    # A second data under one name is a dataset of its own.
    other = [
        record(m, v, dataset="one", read={"data": "f" * 64}) for m, v in (("A", 0.1), ("B", 0.2), ("C", 0.3))
    ]  # fmt: skip
    of = {s.model: s.places for s in over_datasets(sections(found + other))}
    assert len(of["A"]) == 4 and of["A"]["one ffffff"] == 3


def exhaustive(models):
    """Places of the largest table, all sets of datasets having been tried."""
    return max(
        (
            size * len(common)
            for size in range(2, len(models) + 1)
            for chosen in itertools.combinations(models, size)
            if len(common := set.intersection(*(models[name] for name in chosen))) > 1
        ),
        default=0,
    )


def test_the_largest_table_is_found_on_random_boards():
    rng = random.Random(1)
    for board in range(400):
        count = rng.randint(3, 20)
        families = [rng.sample(range(count), rng.randint(2, count)) for _ in range(3)]
        models = {
            (f"d{d}", "data"): {
                f"m{m}"
                for m in (range(count) if board % 2 else rng.choice(families))
                if rng.random() < (rng.uniform(0.4, 0.95) if board % 2 else 0.95)
            }
            for d in range(rng.randint(0, 8))
        }
        datasets, common = _largest(models)
        assert all(common <= models[name] for name in datasets) and len(datasets) != 1
        assert len(datasets) * len(common) == exhaustive(models)


def test_twenty_datasets_take_no_time():
    rng = random.Random(0)
    names = [f"m{m}" for m in range(30)]
    models = {(f"d{d}", "data"): set(rng.sample(names, rng.randint(10, 28))) for d in range(20)}
    begun = time.process_time()
    datasets, common = _largest(models)
    assert time.process_time() - begun < 0.5  # 0.02 s on an idle core; all 2^20 sets take three
    assert (len(datasets), len(common)) == (4, 17)  # as trying all of them finds


def test_one_dataset_has_no_mean():
    alone = [r for r in board() if r.experiment["dataset"]["name"] == "one"]
    assert over_datasets(sections(alone)) == [] and over_datasets([]) == []
    assert "Mean place: " not in pages(alone)["LEADERBOARD.md"]
