"""Rows of clicks: labels, repeated pairs, histories and parts as the source has them."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.catalog import DatasetSpec
from recbole_ext.data.interactions import canonical
from recbole_ext.data.load import load_dataset
from tests.problems import make_experiment

KEEP = {"keep_label": True, "duplicates": "keep"}
HEAD = "user_id:token\titem_id:token\tlabel:float\ttimestamp:float\tliked:token_seq"


def write(folder, parts):
    """A folder `own` with a file for each part; a row is (user, item, label, time, history)."""
    own = folder / "own"
    own.mkdir()
    for part, rows in parts.items():
        text = "\n".join([HEAD, *("\t".join(map(str, row)) for row in rows)]) + "\n"
        with gzip.open(own / f"own.{part}.inter.gz", "wt") as stream:
            stream.write(text)
    return DatasetSpec("own", own)


PARTS = {
    "train": [("a", "x", 1, 1, "0"), ("a", "y", 0, 2, "0 x"), ("b", "x", 1, 2, "0")],
    "valid": [("a", "z", 1, 3, "0 x"), ("b", "y", 0, 3, "0 x")],
    "valid_small": [("b", "y", 0, 3, "0 x")],
    "test": [("a", "x", 0, 4, "0 x z"), ("a", "x", 1, 4, "0 x z"), ("b", "z", 0, 5, "0 x")],
}
ASKED = {**KEEP, "split": "files", "history_field": "liked"}


def test_repeated_pairs_stay_within_and_between_parts_with_their_labels_and_histories(tmp_path):
    data = load_dataset(write(tmp_path, PARTS), ASKED)
    told = zip(data.user, data.item, data.label, data.part, data.liked_before, strict=True)
    rows = {
        (data.user_tokens[u], data.item_tokens[i], label, part, before)
        for u, i, label, part, before in told
    }
    number = {"train": 0, "valid": 1, "test": 2}
    wanted = {
        (user, item, label, number[part], len(history.split()) - 1)
        for part, of in PARTS.items()
        if part in number
        for user, item, label, _, history in of
    }
    assert rows == wanted and len(data) == 8
    assert data.valid_small.sum() == 1
    (small,) = np.flatnonzero(data.valid_small)
    assert data.user_tokens[data.user[small]] == "b" and data.part[small] == 1


def test_without_being_asked_the_latest_of_a_pair_is_left_and_nothing_else_is_read(tmp_path):
    data = load_dataset(write(tmp_path, PARTS), {"split": "files"})
    assert len(data) == 6  # a's x is in training, and not tested
    assert data.label is None and data.liked_before is None and data.valid_small is None


@pytest.mark.parametrize("seed", range(5))
def test_repeated_rows_have_one_order_whatever_that_of_the_file(seed):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"user_id": rng.choice(list("ab"), 30), "item_id": rng.choice(list("xy"), 30),
         "label": rng.integers(0, 2, 30).astype(float), "timestamp": rng.integers(0, 4, 30).astype(float)}
    )  # fmt: skip
    one, two = (
        canonical("x", of, None, KEEP) for of in (rows, rows.sample(frac=1, random_state=seed))
    )
    assert len(one) == 30 and one.fingerprint == two.fingerprint
    np.testing.assert_array_equal(one.label, two.label)
    np.testing.assert_array_equal(one.time, two.time)


def test_a_small_validation_part_that_is_no_part_of_the_large_one_is_a_line(tmp_path):
    spec = write(tmp_path, {**PARTS, "valid_small": [("b", "x", 0, 3, "0")]})
    with pytest.raises(
        HarnessError, match=r"valid_small.inter.gz: 1 of its rows are not in the validation part"
    ):
        load_dataset(spec, ASKED)


def test_a_history_field_that_is_not_there_is_a_line_with_the_nearest(tmp_path):
    with pytest.raises(
        HarnessError, match=r"history_field needs a column 'like' .* did you mean liked"
    ):
        load_dataset(write(tmp_path, PARTS), {**ASKED, "history_field": "like"})


def test_repeated_pairs_are_refused_where_items_are_ranked(tiny_path):
    with pytest.raises(HarnessError, match=r"--duplicates=keep leaves pairs .*--protocols=ctr"):
        make_experiment("Pop", "tiny", tiny_path, duplicates="keep", protocols="full,ctr")


def test_the_official_rows_are_all_there_for_ctr_and_liked_ones_only_for_ranking(real_data):
    ctr = make_experiment("Pop", "collm-ml-1m", real_data, protocols="ctr").problem
    data = ctr.data
    assert [int((ctr.split.part == part).sum()) for part in (0, 1, 2)] == [33_891, 10_401, 7_331]
    assert set(data.label.tolist()) == {0.0, 1.0}
    assert len(data.user_tokens) == 838 and len(data.item_tokens) == 3_255
    assert data.valid_small.sum() == 5_200 and (data.part[data.valid_small] == 1).all()
    ranked = make_experiment("Pop", "collm-ml-1m", real_data, protocols="full").problem.data
    assert ranked.label is None and len(ranked) == int(data.label.sum())
