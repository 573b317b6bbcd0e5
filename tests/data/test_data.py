"""Files, filters and splits: canonical whatever the order of rows, and clear about what is wrong."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.atomic import read_atomic
from recbole_ext.data.card import card
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.interactions import canonical
from recbole_ext.data.load import load_dataset
from recbole_ext.data.splits import TEST, TRAIN, VALID, make_split, shared_latest

RATIO = {"split": "ratio", "split_ratio": [0.8, 0.1, 0.1], "split_seed": 1}
LOO = {"split": "leave_one_out", "split_seed": 1}

rows_strategy = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 12), st.integers(1, 5), st.integers(0, 50)),
    min_size=1,
    max_size=80,
)


def frame(rows):
    return pd.DataFrame(
        [(f"u{u}", f"i{i}", float(r), float(t)) for u, i, r, t in rows],
        columns=["user_id", "item_id", "rating", "timestamp"],
    )


@settings(max_examples=60, deadline=None)
@given(rows_strategy, st.integers(0, 9), st.integers(0, 3), st.integers(0, 3))
def test_filters_and_fingerprint_do_not_see_the_order_of_rows(rows, seed, min_user, min_item):
    filters = {"min_user": min_user, "min_item": min_item}
    try:
        one = canonical("x", frame(rows), None, filters)
    except HarnessError:
        return
    shuffled = frame(rows).sample(frac=1, random_state=seed)
    two = canonical("x", shuffled, None, filters)
    assert one.fingerprint == two.fingerprint
    # k-core by its definition, to a fixed point
    pairs = {(u, i) for u, i, *_ in rows}
    while True:
        kept = {
            (u, i)
            for u, i in pairs
            if sum(a == u for a, _ in pairs) >= min_user
            and sum(b == i for _, b in pairs) >= min_item
        }
        if kept == pairs:
            break
        pairs = kept
    assert {
        (one.user_tokens[u], one.item_tokens[i]) for u, i in zip(one.user, one.item, strict=True)
    } == {(f"u{u}", f"i{i}") for u, i in pairs}
    for spec in (RATIO, LOO):
        try:
            split = make_split(one, spec)
        except HarnessError:
            continue
        assert split.fingerprint == make_split(two, spec).fingerprint


@settings(max_examples=60, deadline=None)
@given(rows_strategy)
def test_split_sizes_per_user(rows):
    data = canonical("x", frame(rows), None, {})
    try:
        split = make_split(data, RATIO)
    except HarnessError:
        return
    for user in range(len(data.user_tokens)):
        parts = split.part[data.user == user]
        n = len(parts)
        test = min(max(1, n // 10), n - 1)
        valid = min(max(1, n // 10), n - test - 1)
        assert [int((parts == p).sum()) for p in (TRAIN, VALID, TEST)] == [
            n - test - valid,
            valid,
            test,
        ]


def test_leave_one_out_takes_the_latest():
    rows = [(0, 3, 5, 1), (0, 1, 5, 9), (0, 2, 5, 4), (1, 0, 5, 2), (1, 5, 5, 3), (2, 4, 5, 1)]
    data = canonical("x", frame(rows), None, {})
    part = make_split(data, LOO).part
    found = {
        (int(u), data.item_tokens[i]): int(p)
        for u, i, p in zip(data.user, data.item, part, strict=True)
    }
    assert found == {(0, "i3"): TRAIN, (0, "i2"): VALID, (0, "i1"): TEST, (1, "i0"): TRAIN, (1, "i5"): TEST,
                     (2, "i4"): TRAIN}  # fmt: skip


def test_equal_times_are_ordered_by_the_seed_and_by_no_token(capsys):
    rows = [(u, i, 5, 7) for u in range(400) for i in range(5)]
    data = canonical("x", frame(rows), None, {})
    one, two = (make_split(data, {**LOO, "split_seed": seed}) for seed in (1, 2))
    assert one.fingerprint != two.fingerprint
    tested = np.bincount(data.item[one.part == TEST], minlength=5)
    assert tested.sum() == 400 and abs(tested - 80).max() < 4 * np.sqrt(400 * 0.2 * 0.8)
    assert shared_latest(data) == 400
    assert (
        "400 of 400 users have several interactions at their latest time" in capsys.readouterr().err
    )
    places = one.places(data).reshape(400, 5)
    assert (np.sort(places, axis=1) == np.arange(5)).all()
    assert (places[one.part.reshape(400, 5) == TEST] == 4).all()
    assert "shared by several interactions of 400 users (100.0%)" in "\n".join(card(data, one, "x"))


def test_places_follow_time_to_the_last_digit():
    rows = [(0, i, 5, 1_500_000_000_000 + t) for i, t in enumerate([3, 0, 2, 1])]
    data = canonical("x", frame(rows), None, {})
    assert make_split(data, LOO).places(data).tolist() == [3, 0, 2, 1]
    assert shared_latest(data) == 0


def test_the_latest_duplicate_stays():
    data = canonical("x", frame([(0, 0, 5, 3), (0, 0, 1, 7), (0, 0, 2, 5)]), None, {})
    assert len(data) == 1 and data.time.tolist() == [7.0] and data.dropped["duplicates"] == 2


def test_an_old_five_does_not_outlive_a_later_one():
    rows = [(0, 0, 5, 1), (0, 0, 1, 9), (0, 1, 1, 1), (0, 1, 5, 9), (0, 2, 4, 3)]
    data = canonical("x", frame(rows), None, {"min_rating": 4})
    assert data.item_tokens == ["i1", "i2"] and data.time.tolist() == [9.0, 3.0]
    assert data.dropped == {"duplicates": 2, "min_rating": 1, "min_user,min_item": 0}


@pytest.mark.parametrize("order", [1, -1])
def test_of_duplicates_at_one_time_the_highest_rating_stays(order):
    rows = frame([(0, 0, 5, 1), (0, 0, 1, 1), (0, 1, 4, 2)]).rename(columns={"rating": "stars"})
    rows.loc[3] = ["u0", "i0", np.nan, 1.0]
    filters = {"min_rating": 5, "rating_field": "stars"}
    assert canonical("x", rows[::order], None, filters).item_tokens == ["i0"]
    bare = rows.drop(columns="timestamp")[::order]
    assert canonical("x", bare, None, filters).item_tokens == ["i0"]


def test_what_is_tested_changes_nothing_of_what_is_trained_on():
    """The latest is taken within a part; a pair that is left in two parts stays in the earlier."""
    rows = frame(
        [(0, 0, 5, 1), (0, 0, 1, 9), (0, 1, 1, 1), (0, 1, 5, 9), (0, 2, 5, 1), (0, 2, 5, 9)]
    )
    rows["part"] = [0, 2, 0, 2, 0, 2]
    data = canonical("x", rows, None, {"min_rating": 4})
    assert data.item_tokens == ["i0", "i1", "i2"] and data.part.tolist() == [0, 2, 0]
    assert data.dropped == {"duplicates": 1, "min_rating": 2, "min_user,min_item": 0}
    assert data.time.tolist() == [1.0, 9.0, 1.0]


def labelled(tmp_path, values, column="label"):
    folder = tmp_path / "own"
    folder.mkdir(exist_ok=True)
    lines = [f"u{n // 6}\ti{n % 6}\t{value}\n" for n, value in enumerate(values)]
    head = f"user_id:token\titem_id:token\t{column}:float\n"
    (folder / "own.inter").write_text(head + "".join(lines))
    return find_dataset("own", tmp_path)


def test_zeros_that_count_as_positives_are_said(tmp_path, capsys):
    spec = labelled(tmp_path, [0, 1, 1] * 8)
    assert len(load_dataset(spec, {})) == 24
    assert capsys.readouterr().err == (
        "own: its label is 0 or 1, and its 8 interactions with 0 count as positives like those with 1; "
        "--min_label=1 leaves them out, --min_label=0 says that they are meant\n"
    )
    data = load_dataset(spec, {"min_label": 1})
    assert len(data) == 16 and data.dropped["min_label"] == 8
    by_name = load_dataset(spec, {"rating_field": "label", "min_rating": 1})
    assert by_name.fingerprint == data.fingerprint
    assert len(load_dataset(spec, {"min_label": 0})) == 24 and capsys.readouterr().err == ""
    load_dataset(labelled(tmp_path, [0, 1, ""] * 8, "rating"), {})
    assert "its rating is 0 or 1" in (said := capsys.readouterr().err) and "--min_rating=1 " in said


@pytest.mark.parametrize(
    ("values", "column"), [([1] * 24, "label"), ([0, 1, 2] * 8, "label"), ([0, 1] * 12, "exact")]
)
def test_what_is_no_label_is_not_spoken_of(values, column, tmp_path, capsys):
    assert len(load_dataset(labelled(tmp_path, values, column), {})) == 24
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"min_label": 1}, "own: min_label needs a column 'label' (here: user_id, item_id, rating); set min_label=null"),
        ({"min_rating": "high"}, "own: min_rating=high must be a number, or null for off"),
        ({"min_label": True}, "own: min_label=True must be a number, or null for off"),
    ],
)  # fmt: skip
def test_a_threshold_that_cannot_be_is_one_line(filters, said, tmp_path):
    spec = labelled(tmp_path, [1, 5] * 12, "rating")
    with pytest.raises(HarnessError) as caught:
        load_dataset(spec, filters)
    assert str(caught.value) == said


def test_a_random_split_differs_by_seed_and_is_even():
    rng = np.random.default_rng(0)
    rows = [(u, i, 5, 0) for u in range(200) for i in rng.choice(50, 20, replace=False)]
    data = canonical("x", frame(rows), None, {})
    one, two = (make_split(data, {**RATIO, "split_seed": s}) for s in (1, 2))
    assert one.fingerprint != two.fingerprint
    share = np.bincount(data.item[one.part == TEST], minlength=50) / np.bincount(
        data.item, minlength=50
    )
    # 10% of about 80 interactions per item, 50 items: four standard deviations of one share are 0.13
    assert abs(share - 0.1).max() < 0.16


def test_quotes_are_data_and_gzip_is_read(tmp_path):
    text = b'item_id:token\ttitle:token_seq\n1\t"Seven" (a.k.a. Se7en)\n2\tO\'Brien "\n3\t\n'
    plain, zipped = tmp_path / "x.item", tmp_path / "y.item.gz"
    plain.write_bytes(text)
    zipped.write_bytes(gzip.compress(text))
    for path in (plain, zipped):
        assert read_atomic(path, {"title": "text"})["title"].tolist() == [
            '"Seven" (a.k.a. Se7en)',
            "O'Brien \"",
            "",
        ]


def test_numbers_are_read_to_the_last_bit(tmp_path):
    times = np.append(np.random.default_rng(0).random(2000), [1_600_000_000.123, 1e18, np.nan])
    lines = ["" if np.isnan(time) else str(time) for time in times]
    path = tmp_path / "x.inter"
    path.write_text("user_id:token\ttimestamp:float\n" + "".join(f"u\t{t}\n" for t in lines))
    np.testing.assert_array_equal(read_atomic(path, {"timestamp": "number"})["timestamp"], times)


def test_real_files_load(real_data):
    data = load_dataset(find_dataset("amazon-toys-2014", real_data), {})
    assert (len(data.user_tokens), len(data.item_tokens), len(data)) == (19412, 11924, 167597)
    assert sum(bool(title) for title in data.item_columns["title"]) > 11_000


def test_global_time_cuts_at_two_moments():
    rows = [(u, i, 5, t) for t, (u, i) in enumerate((u, i) for i in range(10) for u in range(10))]
    data = canonical("x", frame(rows), None, {})
    part = make_split(data, {**RATIO, "split": "global_time"}).part
    assert not data.time_is_order
    assert data.time[part == TRAIN].max() < data.time[part == VALID].min() <= 80
    assert data.time[part == VALID].max() < data.time[part == TEST].min()
    assert [int((part == p).sum()) for p in (TRAIN, VALID, TEST)] == [80, 10, 10]


@pytest.mark.parametrize("first", [0, 1])
def test_ranks_in_the_history_are_no_times(first):
    rows = [(u, (u + t) % 7, 5, t) for u in range(5) for t in range(first, first + 3 + u % 3)]
    data = canonical("x", frame(rows), None, {})
    assert data.time_is_order
    with pytest.raises(HarnessError, match="ranks within each history"):
        make_split(data, {**RATIO, "split": "global_time"})
    make_split(data, LOO)


@pytest.mark.parametrize(
    "times", [[(0, 1, 2), (1, 2, 3)], [(0, 1, 1), (0, 1, 2)], [(0, 1, 3), (0, 1, 2)], [(2, 3, 4)], [(0, 0.5, 1)], [(0, 7, 9)]]
)  # fmt: skip
def test_times_that_are_no_ranks_stay_times(times):
    rows = frame([(u, i, 5, t) for u, of_user in enumerate(times) for i, t in enumerate(of_user)])
    assert not canonical("x", rows, None, {}).time_is_order


def test_one_pass_counts_are_not_the_core():
    rows = [
        (0, 0, 5, 0),
        (0, 1, 5, 1),
        (1, 0, 5, 2),
        (1, 2, 5, 3),
        (2, 1, 5, 4),
        (2, 0, 5, 5),
        (3, 2, 5, 6),
    ]
    filters = {"min_user": 2, "min_item": 2}
    core = canonical("x", frame(rows), None, filters)
    once = canonical("x", frame(rows), None, {**filters, "k_core": False})
    assert "i2" in once.item_tokens and "i2" not in core.item_tokens


def test_own_files_are_the_split_and_a_pair_in_two_parts_is_trained_on(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    head = "user_id:token\titem_id:token\n"
    train = [(u, i) for u in range(4) for i in range(6)]
    (folder / "own.train.inter").write_text(head + "".join(f"u{u}\ti{i}\n" for u, i in train))
    (folder / "own.test.inter").write_text(head + "".join(f"u{u}\ti{u + 5}\n" for u in range(4)))
    spec = find_dataset("own", tmp_path)
    assert spec.options == {"split": "files"}
    data = load_dataset(spec, {"split": "files"})
    part = make_split(data, {**RATIO, "split": "files"}).part
    pairs = {
        (int(u), data.item_tokens[i]): int(p)
        for u, i, p in zip(data.user, data.item, part, strict=True)
    }
    assert pairs[0, "i5"] != TEST and pairs[3, "i8"] == TEST
    # One sixth of 0.1 to 0.8 rounds down to nothing, so one of each history validates.
    assert [sum(p == VALID for (u, _), p in pairs.items() if u == user) for user in range(4)] == [
        1
    ] * 4
    whole = load_dataset(spec, {"split": "ratio"})
    assert whole.part is None and whole.fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("name", "users", "items", "pairs"),
    [
        ("amazon-games-2018", 50546, 16859, 452989),
        ("citeulike-sgfcf", 5551, 16980, 210504),  # 11 pairs stand in both files, 22 twice in one
        ("collm-ml-1m", 825, 2694, 27684),  # liked rows only
        ("gowalla-lightgcn", 29858, 40981, 1027370),
        ("lastfm-hetrec", 1362, 2975, 15674),  # a row per tag event; pairs are fewer
        ("ml-1m", 6040, 3706, 1000209),
        ("ml-latest-small", 610, 9724, 100836),
        ("rlmrec-amazon-book", 11000, 9332, 200860),
    ],
)
def test_every_real_folder_loads_and_splits(real_data, name, users, items, pairs):
    from recbole_ext.config import dataset_settings
    from recbole_ext.data.card import card

    spec = find_dataset(name, real_data)
    options = dataset_settings(spec.options, {})
    data = load_dataset(spec, options)
    assert (len(data.user_tokens), len(data.item_tokens), len(data)) == (users, items, pairs)
    lines = card(data, make_split(data, options), options["split"])
    assert f"{pairs:,}" in lines[3] and len(lines) > 12


def test_the_ten_core_of_games(real_data):
    data = load_dataset(
        find_dataset("amazon-games-2018", real_data), {"min_user": 10, "min_item": 10}
    )
    assert (len(data.user_tokens), len(data.item_tokens), len(data)) == (5921, 3784, 103362)
