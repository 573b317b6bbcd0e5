"""Labels that are kept beside the interactions, and change nothing where they are not."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.interactions import canonical
from recbole_ext.data.load import load_dataset
from tests.problems import make_experiment

KEEP = {"keep_label": True}
rows_strategy = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.0, 1.0]), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)


def frame(rows):
    told = [(f"u{u}", f"i{i}", label, float(t)) for u, i, label, t in rows]
    return pd.DataFrame(told, columns=["user_id", "item_id", "label", "timestamp"])


@settings(max_examples=60, deadline=None)
@given(rows_strategy, st.integers(0, 9))
def test_the_label_is_that_of_the_latest_and_of_equal_times_the_highest(rows, seed):
    data = canonical("x", frame(rows).sample(frac=1, random_state=seed), None, KEEP)
    latest = {
        (f"u{u}", f"i{i}"): label for u, i, label, t in sorted(rows, key=lambda r: (r[3], r[2]))
    }
    found = zip(data.user, data.item, data.label, strict=True)
    assert {(data.user_tokens[u], data.item_tokens[i]): label for u, i, label in found} == latest
    assert data.fingerprint == canonical("x", frame(rows), None, KEEP).fingerprint


def test_labels_are_kept_only_when_they_are_asked_for():
    rows = frame([(0, 0, 1, 5), (0, 1, 0, 6), (1, 0, 0, 7)])
    plain, kept = canonical("x", rows, None, {}), canonical("x", rows, None, KEEP)
    assert plain.label is None and kept.label.tolist() == [1, 0, 0]
    assert plain.fingerprint == canonical("x", rows.drop(columns="label"), None, {}).fingerprint
    assert plain.fingerprint != kept.fingerprint
    other = canonical("x", rows.assign(label=[1.0, 1.0, 0.0]), None, KEEP)
    assert other.fingerprint != kept.fingerprint and len(other) == len(kept) == len(plain)


def test_labels_go_with_their_rows_through_filters():
    rows = frame([(0, 0, 1, 1), (0, 1, 0, 2), (1, 0, 1, 3), (1, 1, 1, 4), (2, 1, 0, 5)])
    data = canonical("x", rows, None, {**KEEP, "min_user": 2})
    assert data.user_tokens == ["u0", "u1"] and data.label.tolist() == [1, 0, 1, 1]


def test_a_label_that_is_missing_or_not_there_is_one_line(tmp_path):
    rows = frame([(0, 0, 1, 1), (0, 1, None, 2)])
    with pytest.raises(
        HarnessError, match=r"^x: 1 interactions have no label; fill them in, or set"
    ):
        canonical("x", rows, None, KEEP)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.inter").write_text("user_id:token\titem_id:token\tlabels:float\nu\ti\t1\n")
    with pytest.raises(
        HarnessError, match=r"keep_label needs a column 'label' of numbers .* did you mean labels"
    ):
        load_dataset(find_dataset("own", tmp_path), KEEP)


def test_a_record_names_the_key_where_labels_are_kept(tiny_path, real_data):
    assert (
        "keep_label"
        not in make_experiment("Pop", "tiny", tiny_path).describe()["dataset"]["filters"]
    )
    given = {"min_rating": "null", "keep_label": "true"}
    experiment = make_experiment("Pop", "collm-ml-1m", real_data, **given)
    assert experiment.describe()["dataset"]["filters"]["keep_label"] is True
    labels = experiment.problem.data.label
    assert set(labels.tolist()) == {0.0, 1.0} and len(labels) == len(experiment.problem.data)
