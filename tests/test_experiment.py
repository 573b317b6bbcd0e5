"""What is a candidate: one set of negatives for every protocol, as `exclude` says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.splits import TEST, TRAIN, VALID
from recbole_ext.evaluator.ranks import rank
from tests.problems import make_experiment


def negatives_by_definition(problem, user: int, parts: tuple[int, ...]) -> set[int]:
    data, part = problem.data, problem.split.part
    known = np.isin(part, (*parts, TEST)) & (data.user == user)
    return set(range(len(data.item_tokens))) - set(data.item[known].tolist())


@pytest.mark.parametrize(
    ("exclude", "parts"), [("train", (TRAIN,)), ("train+valid", (TRAIN, VALID))]
)
def test_full_drawn_and_expected_share_one_set_of_negatives(exclude, parts, tiny_path):
    problem = make_experiment(
        "Pop", "tiny", tiny_path, exclude=exclude, protocols="full,uni5,expected@5"
    ).problem
    task = problem.test_task
    items = len(problem.data.item_tokens)
    seen = {user: set() for user in task.users.tolist()}
    for row, position in enumerate(task.row_of_positive):
        seen[int(task.users[position])] |= set(task.lists["uni5"][row].ravel().tolist())
    # Each item scores 1 in turn and the positives 0: what stands above a positive is the negatives, one by one.
    counted = {user: set() for user in task.users.tolist()}
    for item in range(items):
        row = torch.full((1, items), -1.0)
        row[0, item] = 1.0
        (table,) = rank(task, lambda users, row=row: [row.repeat(len(users), 1)])
        for user, positive, above in zip(table.user, table.item, table.above, strict=True):
            if above and positive != item:
                counted[int(user)].add(item)
    for place, user in enumerate(task.users.tolist()):
        wanted = negatives_by_definition(problem, user, parts)
        assert counted[user] == wanted
        assert seen[user] <= wanted
        assert task.negatives[place] == len(wanted)
    (table,) = rank(task, lambda users: [torch.zeros(len(users), items)])
    np.testing.assert_array_equal(table.tied, task.negatives[task.row_of_positive])


def test_exclude_changes_the_lists_and_never_the_validation(tiny_path):
    strict, loose = (
        make_experiment("Pop", "tiny", tiny_path, exclude=exclude, protocols="full,uni5").problem
        for exclude in ("train+valid", "train")
    )
    assert strict.candidates != loose.candidates
    assert (loose.test_task.negatives > strict.test_task.negatives).any()
    for name in ("users", "pos_items", "exc_items", "exc_indptr"):
        np.testing.assert_array_equal(
            getattr(strict.validations[0].task, name), getattr(loose.validations[0].task, name)
        )
    user = int(strict.validations[0].task.users[0])
    part, data = strict.split.part, strict.data
    low, high = strict.validations[0].task.exc_indptr[:2]
    # Validation masks training items and nothing of the test part.
    assert (
        strict.validations[0].task.exc_items[low:high].tolist()
        == data.item[(data.user == user) & (part == TRAIN)].tolist()
    )


def test_an_unknown_exclude_is_one_line(tiny_path):
    with pytest.raises(HarnessError, match="must be train or train\\+valid"):
        _ = make_experiment("Pop", "tiny", tiny_path, exclude="valid").problem.test_task


def test_a_key_that_came_later_changes_no_identity_until_it_is_something_else(tiny_path):
    plain, asked, other = (
        make_experiment("AlphaRec", "tiny", tiny_path, encoder="hash:4", **given)
        for given in ({}, {"neg_mode": "sampled"}, {"neg_mode": "in_batch"})
    )
    assert "neg_mode" not in plain.describe()["params"]
    assert plain.settings.params["neg_mode"] == "sampled"
    assert plain.run_id == asked.run_id != other.run_id
    assert other.describe()["params"]["neg_mode"] == "in_batch"
