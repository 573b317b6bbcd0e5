"""What turning came to, as a summary, a csv and pictures."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.findings import Paired
from recbole_ext.sae.steering_plots import curves, movement, movement_map, written
from recbole_ext.sae.steering_table import Point, SteeringTable, Value
from tests.sae.steering_toys import evaluate_toy


def point(alpha: float, segment: float, personal: float, tagged: float) -> Point:
    change = None if alpha == 0 else Paired(tagged, tagged, tagged, 0.0, 1.0)
    means = {"segment_ndcg": segment, "personal_ndcg": personal, "tagged": 0.1 + tagged}
    return Point("s", alpha, {k: Value(v, v, v, 9, change) for k, v in means.items()})


def test_a_summary_takes_the_largest_lift_at_little_loss_and_the_area_by_hand():
    points = (
        point(0.0, 0.1, 0.40, 0.0),
        point(0.1, 0.3, 0.41, 0.2),
        point(0.2, 0.2, 0.385, 0.3),
        point(0.3, 0.5, 0.30, 0.7),
    )
    table = SteeringTable(points, 20, "targets", 9, 0)
    (found,) = table.summaries()
    # 0.95 x 0.40 = 0.38: the third still counts, the fourth does not.
    assert (found.system, found.lift, found.alpha) == ("s", 0.3, 0.2)
    # Up to 0.30 as far as 0.5, from there to 0.41 as far as 0.3; the first and the third lie below.
    assert found.area == pytest.approx(0.5 * 0.30 + 0.3 * 0.11)
    (all_of_it,) = table.summaries(most_loss=1.0)
    assert (all_of_it.lift, all_of_it.alpha) == (0.7, 0.3)
    (nothing,) = SteeringTable(points[:1], 20, "targets", 9, 0).summaries()
    assert (nothing.lift, nothing.alpha, nothing.area) == (0.0, 0.0, pytest.approx(0.04))


def test_the_csv_has_a_row_for_each_system_strength_and_measure(tmp_path):
    table = evaluate_toy()
    rows = list(csv.DictReader(io.StringIO(table.csv_text())))
    assert len(rows) == sum(len(p.values) for p in table.points)
    by = {(r["system"], r["alpha"], r["measure"]): r for r in rows}
    start, end = (by["map, 1", alpha, "tagged@3"] for alpha in ("0", "0.5"))
    assert start["change"] == start["p"] == "" and float(end["mean"]) == 1.0
    assert float(end["change"]) == pytest.approx(1 - 2 / 3, rel=1e-5) and 0 < float(end["p"]) <= 1
    table.to_csv(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == table.csv_text()


def test_the_curves_are_one_picture_of_every_system(tmp_path):
    table = evaluate_toy()
    text = curves(table, "a title")
    ElementTree.fromstring(text)
    assert text == curves(table, "a title")
    assert all(words in text for words in ("a title", "map, 1", "without the autoencoder", "segment NDCG@3", "α = 0.5"))  # fmt: skip
    paths = written(table, "a title", tmp_path)
    assert [p.name for p in paths] == ["steering-targets.csv", "steering-targets.svg"]
    assert paths[1].read_text() == text and paths[0].read_text() == table.csv_text()


def test_a_map_keeps_the_distances_of_users_items_and_centroid_that_lie_in_a_plane():
    rng = np.random.default_rng(0)
    # Vectors in a plane of ten dimensions: two components hold everything.
    basis = np.linalg.qr(rng.normal(size=(10, 2)))[0].T
    start, end, items = (rng.normal(size=(n, 2)) for n in (6, 6, 9))
    found = movement([start @ basis, end @ basis], items @ basis)

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    middle = unit(unit(items).mean(axis=0, keepdims=True))
    truth = np.concatenate([unit(start), unit(end), unit(items), middle])
    seen = np.concatenate([*found.users, found.items, found.centroid[None]])
    gaps = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (truth, seen)]
    np.testing.assert_allclose(*gaps, atol=1e-12)
    assert found.explained.sum() == pytest.approx(1.0) and found.explained[0] >= found.explained[1]
    # Longer embeddings of the same directions are the same picture.
    again = movement([5 * start @ basis, end @ basis], items @ basis)
    np.testing.assert_allclose(again.users, found.users, atol=1e-12)


def test_a_map_is_a_picture_that_says_it_is_of_principal_components():
    rng = np.random.default_rng(0)
    found = movement([rng.normal(size=(300, 5)) for _ in range(2)], rng.normal(size=(9, 5)))
    text = movement_map(found, (0.0, 0.5), "towards a tag")
    ElementTree.fromstring(text)
    assert text == movement_map(found, (0.0, 0.5), "towards a tag")
    assert "(PCA)" in text and "users, α = 0.5" in text and "towards a tag" in text


def test_vectors_of_zeros_and_too_little_for_a_map_are_seen_to():
    found = movement([np.zeros((3, 4))], np.zeros((2, 4)))
    assert np.isfinite(found.users).all() and found.explained.tolist() == [0.0, 0.0]
    for steps, items in (([], np.ones((2, 4))), ([np.ones((3, 1))], np.ones((2, 1))), ([np.ones((3, 4))], np.ones((0, 4)))):  # fmt: skip
        with pytest.raises(HarnessError, match="a map needs users at a strength"):
            movement(steps, items)
