"""`--users`: validation and test of a seeded sample of the users, and nothing else that changes."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.splits import TEST, TRAIN, VALID
from recbole_ext.pipeline.execute import execute
from recbole_ext.pipeline.replay import experiment_of
from tests.problems import make_experiment


def experiment(tiny_path, model="Pop", **given):
    own = {"split": "leave_one_out", "protocols": "full,uni5", "threads": 1, "ks": "1,5"}
    return make_experiment(model, "tiny", tiny_path, **{**own, **given})


def users_of(problem, part=TEST):
    return set(problem.split.pairs(problem.data, part)[0].tolist())


def test_so_many_users_are_tested_and_training_is_of_all(tiny_path):
    whole, cut = experiment(tiny_path).problem, experiment(tiny_path, users=12).problem
    assert len(users_of(cut)) == 12 and users_of(cut) == users_of(cut, VALID) < users_of(whole)
    np.testing.assert_array_equal(cut.split.part == TRAIN, whole.split.part == TRAIN)
    for part in (VALID, TEST):
        kept = np.isin(whole.data.user, list(users_of(cut))) & (whole.split.part == part)
        np.testing.assert_array_equal(cut.split.part == part, kept)
    assert cut.fingerprints["split"] != whole.fingerprints["split"]
    assert cut.data.fingerprint == whole.data.fingerprint


def test_their_frozen_lists_are_those_of_a_run_of_all(tiny_path):
    whole, cut = (
        experiment(tiny_path).problem.test_task,
        experiment(tiny_path, users=12).problem.test_task,
    )
    owner = whole.users[whole.row_of_positive]
    kept = np.isin(owner, cut.users)
    np.testing.assert_array_equal(whole.lists["uni5"][kept], cut.lists["uni5"])
    np.testing.assert_array_equal(whole.pos_items[kept], cut.pos_items)


def test_a_sample_is_seeded_and_grows(tiny_path):
    few, more, other = (
        users_of(experiment(tiny_path, **given).problem)
        for given in ({"users": 8}, {"users": 20}, {"users": 8, "split_seed": 1})
    )
    assert few < more and few != other


@pytest.mark.parametrize("users", [0, 41, 1000])
def test_more_users_than_there_are_is_a_line(users, tiny_path):
    with pytest.raises(HarnessError, match="users"):
        _ = experiment(tiny_path, users=users).problem.split


def test_a_record_names_it_and_is_made_again_from(tiny_path, tmp_path):
    plain, cut = experiment(tiny_path), experiment(tiny_path, users=12)
    assert "users" not in plain.describe()["dataset"]["split"]
    record = execute(cut, tmp_path)
    assert record.experiment["dataset"]["split"]["users"] == 12
    assert experiment_of(record, tiny_path).run_id == cut.run_id != plain.run_id
