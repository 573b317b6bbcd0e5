"""What a user had liked before a row, against a loop over all earlier rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.histories import Histories
from recbole_ext.data.interactions import canonical
from recbole_ext.data.splits import UNUSED, Split, make_split
from tests.problems import make_experiment

KEEP = {"keep_label": True, "duplicates": "keep"}
rows_strategy = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 1)), min_size=2, max_size=30
)


def made(rows, times=None):
    told = [
        (f"u{u}", f"i{i}", float(label), float(t if times is None else times[t]))
        for t, (u, i, label) in enumerate(rows)
    ]
    frame = pd.DataFrame(told, columns=["user_id", "item_id", "label", "timestamp"])
    return canonical("x", frame, None, KEEP)


@settings(max_examples=60, deadline=None)
@given(rows_strategy, st.integers(1, 4))
def test_histories_are_those_of_a_loop(rows, longest):
    data = made(rows)
    part = np.random.default_rng(len(rows)).integers(0, 3, len(data)).astype(np.int8)
    found = Split(part).histories(data)
    for row in range(len(data)):
        mine = (data.user == data.user[row]) & (data.time < data.time[row]) & (data.label == 1)
        mine &= part <= part[row]
        wanted = data.item[mine][np.argsort(data.time[mine])].tolist()
        assert found.of(row).tolist() == wanted and found.lengths[row] == len(wanted)
        shown = found.latest(np.array([row]), longest)[0]
        assert shown[shown >= 0].tolist() == wanted[-longest:]
        assert (shown[: longest - min(len(wanted), longest)] == -1).all()


def test_a_rows_own_label_and_later_ones_are_not_in_its_history():
    rows = [(0, item, item % 2) for item in range(6)]
    one = made(rows)
    for row in range(6):
        other = made([(u, i, label if i < row else 1 - label) for u, i, label in rows])
        histories = [
            Split(np.zeros(6, np.int8)).histories(of).of(row).tolist() for of in (one, other)
        ]
        assert histories[0] == histories[1]


def test_rows_with_too_short_a_history_are_used_for_nothing_and_stay_in_that_of_others():
    data = made([(0, item, 1) for item in range(10)], times=range(1000, 1100, 10))
    split = make_split(
        data,
        {"split": "global_time", "split_seed": 0, "split_ratio": [0.5, 0.2, 0.3], "min_history": 2},
    )
    assert (split.part >= UNUSED).tolist() == [True, True] + [False] * 8
    assert split.histories(data).of(2).tolist() == [0, 1]


def test_lists_that_do_not_run_are_a_line():
    data = made([(0, 0, 1), (0, 1, 1)])
    odd = type(data)(**{**vars(data), "liked_before": np.zeros(2, dtype=int)})
    with pytest.raises(HarnessError, match=r"'u0' has two liked rows with equally long histories"):
        Histories(odd, None, odd.user)


def test_without_labels_or_order_there_are_none():
    data = made([(0, 0, 1), (0, 1, 0)])
    with pytest.raises(HarnessError, match="need a timestamp column, or lists"):
        Histories(type(data)(**{**vars(data), "time": None}), None, data.user)
    with pytest.raises(HarnessError, match="set --keep_label=true"):
        Histories(type(data)(**{**vars(data), "label": None}), None, data.user)


def test_official_histories_are_the_files_lists_and_their_counts_the_papers(real_data):
    """Rows that stay with two titles at least: 31,366 / 10,162 / 7,182 (counted in CoLLM's own files)."""
    problem = make_experiment(
        "Pop", "collm-ml-1m", real_data, protocols="ctr", min_history=2
    ).problem
    data, part = problem.data, problem.split.part
    assert [int((part == p).sum()) for p in (0, 1, 2)] == [31_366, 10_162, 7_182]
    files = [
        pd.read_csv(real_data / f"collm-ml-1m/collm-ml-1m.{p}.inter.gz", sep="\t", dtype=str)
        for p in ("train", "valid", "test")
    ]
    lists = {
        (row[0], row[1]): row[4].split()[1:] for of in files for row in of.itertuples(index=False)
    }
    histories = problem.split.histories(data)
    for row in range(0, len(data), 7):
        pair = data.user_tokens[data.user[row]], data.item_tokens[data.item[row]]
        assert [data.item_tokens[item] for item in histories.of(row)] == lists[pair]
