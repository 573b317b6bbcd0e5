"""The generated catalogue of benchmarks/scale: what is planted in it, and that it is a dataset like any other."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scale.catalogue import Catalogue
from benchmarks.scale.size import exponents
from recbole_ext.text.encoder import make_encoder
from tests.problems import make_experiment

SMALL = Catalogue(items=600, interactions_per_item=30, items_per_topic=60, groups=4, width=16)


@pytest.fixture(scope="module")
def pairs():
    users, items = (np.concatenate(x) for x in zip(*SMALL.interactions(), strict=True))
    return users, items


def test_pairs_are_distinct_and_as_many_as_asked_for(pairs):
    users, items = pairs
    assert len(np.unique(users * SMALL.items + items)) == len(users)
    # Some users want more of a topic than it has.
    assert 0.9 < len(users) / (SMALL.items * SMALL.interactions_per_item) < 1.05
    assert users.max() < SMALL.users and items.min() >= 0 and items.max() < SMALL.items


def test_popularity_and_activity_have_long_tails(pairs):
    for of in pairs:
        counts = np.sort(np.bincount(of))[::-1]
        assert counts[: len(counts) // 10].sum() > 0.2 * counts.sum()


def test_text_and_users_agree_on_topics_of_unpopular_items_too(pairs):
    users, items = pairs
    topic = SMALL.topics()
    unpopular = np.bincount(items, minlength=SMALL.items) < np.median(np.bincount(items))
    shares = np.zeros((SMALL.users, topic[-1] + 1))
    np.add.at(shares, (users, topic[items]), 1)
    here = unpopular[items]
    # A user's own topic among what it has, against what a stranger has of that topic.
    own = shares[users[here], topic[items[here]]].mean()
    assert own > 2 * shares[(users[here] + 1) % SMALL.users, topic[items[here]]].mean()
    text = np.concatenate(list(SMALL.vectors())).astype(float)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, atol=2e-3)  # float16
    alike = text @ text.T
    same = topic[:, None] == topic[None]
    assert alike[same].mean() > alike[~same].mean() + 0.2


def test_it_is_a_dataset_with_vectors_and_the_same_each_time(tmp_path, pairs):
    folder = SMALL.write(tmp_path)
    experiment = make_experiment("Pop", SMALL.name, tmp_path)
    data = experiment.problem.data
    assert len(data) == len(pairs[0]) and not data.dropped["duplicates"]
    tokens = SMALL.tokens()
    assert {f"i{t:07d}" for t in tokens[np.unique(pairs[1])]} == set(data.item_tokens)
    found = make_encoder(f"file:{folder / 'vectors.parquet'}").of(data.item_tokens)
    text = dict(
        zip((f"i{t:07d}" for t in tokens), np.concatenate(list(SMALL.vectors())), strict=True)
    )
    np.testing.assert_array_equal(found.vectors[:5], [text[t] for t in data.item_tokens[:5]])
    again = SMALL.write(tmp_path / "again")
    for name in (f"{SMALL.name}.inter", "vectors.parquet", "catalogue.json"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_exponents_of_two_sizes():
    lines = [
        {"model": "EASE", "phase": "fit", "items": n, "seconds": 3 * (n / 10) ** 2, "peak_mib": n}
        for n in (1000, 10)
    ]
    assert exponents(lines) == ["EASE fit 10 to 1,000: seconds n^2.00, peak_mib n^1.00"]
