"""`--rows`: a seeded sample of the labelled training rows, and nothing else that changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.splits import HISTORY, TEST, TRAIN, UNUSED, VALID, make_split
from recbole_ext.pipeline import replay
from recbole_ext.pipeline.execute import execute
from recbole_ext.pipeline.replay import experiment_of
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    """24 users with 8 of 12 items each, labels of 0 and 1, times all different."""
    lines = ["user_id:token\titem_id:token\tlabel:float\ttimestamp:float"]
    lines += [f"u{u}\ti{(u + p) % 12}\t{(u * p) % 2}\t{100 * p + u}" for u in range(24) for p in range(8)]  # fmt: skip
    folder = tmp_path_factory.mktemp("data")
    (folder / "clicks").mkdir()
    (folder / "clicks" / "clicks.inter").write_text("\n".join(lines) + "\n")
    return folder


def experiment(clicks, model="Bias", **given):
    own = {"keep_label": "true", "threads": 1, "protocols": "ctr", "split_ratio": "[0.6,0.2,0.2]"}
    return make_experiment(model, "clicks", clicks, **{**own, **given})


@pytest.mark.parametrize("given", [{}, {"split": "global_time"}, {"split": "users"}, {"min_history": 1, "split": "global_time"}])  # fmt: skip
def test_training_has_so_many_rows_and_the_other_parts_and_histories_are_as_they_were(clicks, given):  # fmt: skip
    whole, cut = (experiment(clicks, "Pop", **given, **rows).problem for rows in ({}, {"rows": 20}))
    before, after = whole.split, cut.split
    assert int((after.part == TRAIN).sum()) == 20 < int((before.part == TRAIN).sum())
    for part in (VALID, TEST, HISTORY, UNUSED + VALID, UNUSED + TEST):
        np.testing.assert_array_equal(after.part == part, before.part == part)
    assert (before.part[after.part == TRAIN] == TRAIN).all()
    assert (after.part % UNUSED == before.part % UNUSED).all()
    histories = before.histories(whole.data), after.histories(cut.data)
    for row in range(len(whole.data)):
        assert histories[0].of(row).tolist() == histories[1].of(row).tolist()
    assert cut.data.fingerprint == whole.data.fingerprint
    assert cut.fingerprints["split"] != whole.fingerprints["split"]
    # What is counted is counted over the sample: popularity, and which rows are warm.
    assert cut.popularity.sum() == 20 and cut.sizes()["train"] == 20
    assert cut.sizes()["test"] == whole.sizes()["test"]


def test_a_sample_is_seeded_grows_and_knows_no_order_of_rows(clicks):
    def trained(rows, **given):
        problem = experiment(clicks, rows=rows, split="global_time", **given).problem
        users, items = problem.split.pairs(problem.data, TRAIN)
        tokens = problem.data.user_tokens, problem.data.item_tokens
        return {(tokens[0][u], tokens[1][i]) for u, i in zip(users, items, strict=True)}

    assert trained(15) == trained(15) and len(trained(15)) == 15
    assert trained(15) < trained(16) < trained(60)
    assert trained(15) != trained(15, split_seed=1)
    assert len({user for user, _ in trained(60)}) > 15  # of all users, not the first ones
    folder = clicks / "clicks" / "clicks.inter"
    head, *rows = folder.read_text().splitlines()
    before = trained(15)
    folder.write_text("\n".join([head, *reversed(rows)]) + "\n")
    assert trained(15) == before


def test_all_rows_are_the_whole_split(clicks):
    whole = experiment(clicks).problem
    count = whole.sizes()["train"]
    same = experiment(clicks, rows=count).problem
    assert same.split.fingerprint == whole.split.fingerprint


def test_it_is_named_only_where_it_is_asked_for_and_comes_back_from_a_record(
    clicks, tmp_path, monkeypatch
):
    plain, cut = experiment(clicks), experiment(clicks, rows=40)
    assert "rows" not in plain.describe()["dataset"]["split"]
    assert cut.describe()["dataset"]["split"]["rows"] == 40 and cut.run_id != plain.run_id
    for of in (plain, cut):
        record = execute(of, tmp_path)
        assert experiment_of(record, clicks).run_id == record.run_id
    assert record.data["train"] == 40
    # A YAML that came later does not cut a run that was of all rows.
    record = execute(plain, tmp_path)
    later = dataclasses.replace(plain.problem.spec, options={"rows": 5, "min_history": 1})
    monkeypatch.setattr(replay, "find_dataset", lambda *_: later)
    assert experiment_of(record, clicks).run_id == record.run_id


def test_a_model_learns_from_the_sample_alone(clicks, tmp_path):
    model, bench = Training(experiment(clicks, "MF", rows=25), None, tmp_path).build(
        experiment(clicks, "MF", rows=25).settings.params
    )
    assert len(model.user) == len(model.label) == len(model.row) == 25
    split = experiment(clicks, "MF", rows=25).problem.split
    np.testing.assert_array_equal(np.sort(model.row), np.flatnonzero(split.part == TRAIN))
    assert len(bench.dataset.inter_feat) == 25


@pytest.mark.parametrize("more", [1, 10_000])
def test_more_than_there_are_is_one_line_with_their_number(clicks, more):
    count = experiment(clicks).problem.sizes()["train"]
    told = f"^clicks: --rows={count + more} must be a whole number from 1 to {count}, its training rows$"
    with pytest.raises(HarnessError, match=told):
        _ = experiment(clicks, rows=count + more).problem.split


@pytest.mark.parametrize("rows", ["0", "-3", "many", "true"])
def test_no_number_of_rows_is_one_line(clicks, rows):
    with pytest.raises(HarnessError, match=f"--rows={rows}|--rows=True"):
        _ = experiment(clicks, rows=rows).problem.split


def test_half_a_row_and_unlabelled_data_are_one_line(clicks):
    with pytest.raises(HarnessError, match=r"--rows=2\.5 must be a whole number from 1 to \d+"):
        _ = experiment(clicks, rows=2.5).problem.split
    problem = experiment(clicks).problem
    bare = dataclasses.replace(problem.data, label=None)
    with pytest.raises(HarnessError, match=r"^clicks: --rows=5 is of labelled rows, and there are no labels here: --keep_label=true"):  # fmt: skip
        make_split(bare, {**problem.options, "rows": 5})
