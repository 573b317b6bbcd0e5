"""Frozen lists by models of single pairs: each candidate is asked about as in the row of the list's positive."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.config import resolve
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.splits import TEST, TRAIN, VALID
from recbole_ext.lm.prompts import Filler, load_template
from recbole_ext.pipeline.checks import check_served
from recbole_ext.pipeline.training import Training, score_test
from recbole_ext.registry.find import find_model
from recbole_ext.trainer.setup import Fitted
from tests.model.prompted_data import experiment
from tests.problems import make_experiment

LABELS = {"keep_label": "true", "split_ratio": "[0.5,0.2,0.3]", "threads": 1, "draws": 2, "ks": "1,2"}  # fmt: skip


def untrained(of, scratch):
    model, bench = Training(of, None, scratch).build(of.settings.params)
    return Fitted(model.eval(), bench, float("nan"), None)


def liked_before(problem, row):
    """Items that a row's user liked before it, in parts up to the row's, oldest first; by a look at every row."""
    data, part = problem.data, problem.split.part
    found = [
        (data.time[other], data.item[other])
        for other in range(len(data))
        if data.user[other] == data.user[row]
        and data.label[other] == 1
        and data.time[other] < data.time[row]
        and part[other] <= part[row]
    ]
    return [int(item) for _, item in sorted(found)]


def by_a_loop(problem, score):
    """{(user, item): [(above, tied) per draw]} by scores of (history, user, candidate)."""
    data, part = problem.data, problem.split.part
    task, found = problem.test_task, {}
    positives = list(zip(task.users[task.row_of_positive], task.pos_items, strict=True))
    for row in np.flatnonzero((part == TEST) & (data.label == 1)):
        user, item = int(data.user[row]), int(data.item[row])
        history = liked_before(problem, row)
        own = score(history, user, item)
        at = positives.index((user, item))
        counts = []
        for drawn in task.lists["uni3"][at]:
            others = [score(history, user, int(other)) for other in drawn]
            # No closer than what two batches of one prompt may differ by.
            assert all(abs(other - own) > 1e-6 or other == own for other in others)
            counts.append((sum(o > own for o in others), sum(o == own for o in others)))
        found[user, item] = counts
    return found


def as_counts(table):
    above, tied = table.lists["uni3"]
    pairs = zip(table.user.tolist(), table.item.tolist(), strict=True)
    return {
        pair: list(zip(above[n].tolist(), tied[n].tolist(), strict=True))
        for n, pair in enumerate(pairs)
    }


def test_a_language_model_is_asked_about_candidates_after_what_was_liked_before_the_positive(
    clicks, llama, tmp_path
):
    of = experiment("TALLRec", clicks, llama, protocols="uni3", lora_dropout=0, **LABELS)
    fitted = untrained(of, tmp_path)
    tables = score_test(fitted, of)
    assert tables.scored is None
    model, titles = fitted.model, of.problem.titles[1]
    filler = Filler(load_template(of.settings.params["prompt"]), model.backbone, 200)

    @torch.no_grad()
    def score(history, user, item):
        prompt = filler.fill([titles[i] for i in history[-10:]], titles[item])
        return float(torch.sigmoid(model.said([prompt], filler.template).double())[0])

    assert as_counts(tables.ranked) == by_a_loop(of.problem, score)


@pytest.mark.parametrize("name", ["MF", "SASRecBCE"])
def test_counts_are_those_of_a_loop_beside_the_labelled_pairs(name, clicks, tmp_path):
    of = make_experiment(name, "clicks", clicks, protocols="ctr,uni3", **LABELS)
    fitted = untrained(of, tmp_path)
    for value in fitted.model.parameters():
        torch.nn.init.normal_(value, std=0.5)
    tables = score_test(fitted, of)
    assert len(tables.scored) == (of.problem.split.part == TEST).sum()
    model = fitted.model

    @torch.no_grad()
    def score(history, user, item):
        one = torch.tensor([item + 1])
        if name == "MF":
            logit = model.users(torch.tensor([user + 1]))[0] @ model.items(one)[0]
        else:
            latest = [i + 1 for i in history][-model.longest :]
            before = torch.tensor([[0] * (model.longest - len(latest)) + latest])
            logit = model.state(before)[0] @ model.items(one)[0]
        return float(torch.sigmoid(logit))

    # float32 chances may be equal to the last digit in one batch and not in the other; here none of them is near 0 or 1.
    assert as_counts(tables.ranked) == by_a_loop(of.problem, score)


def test_positives_are_the_liked_rows_and_disliked_ones_are_candidates(clicks):
    problem = make_experiment("MF", "clicks", clicks, protocols="ctr,uni3", **LABELS).problem
    data, part, task = problem.data, problem.split.part, problem.test_task
    rows = problem.rows_of(task)
    assert (data.label[rows] == 1).all() and (part[rows] == TEST).all()
    assert sorted(rows) == np.flatnonzero((part == TEST) & (data.label == 1)).tolist()
    np.testing.assert_array_equal(data.user[rows], task.users[task.row_of_positive])
    np.testing.assert_array_equal(data.item[rows], task.pos_items)
    disliked = {(u, i) for u, i, y, p in zip(data.user, data.item, data.label, part, strict=True) if y == 0 and p == TEST}  # fmt: skip
    had = {(u, i) for u, i, p in zip(data.user, data.item, part, strict=True) if p in (TRAIN, VALID)}  # fmt: skip
    drawn = {
        (user, other)
        for user, lists in zip(data.user[rows], task.lists["uni3"], strict=True)
        for other in lists.ravel().tolist()
    }
    assert drawn & disliked and not drawn & had
    assert problem.sizes()["test_users"] == len(np.unique(data.user[part == TEST]))


def test_nothing_liked_in_the_test_part_is_one_line(clicks):
    of = make_experiment("MF", "clicks", clicks, protocols="ctr,uni3", **LABELS)
    label = np.where(of.problem.split.part == TEST, 0.0, of.problem.data.label)
    object.__setattr__(of.problem.data, "label", label)
    with pytest.raises(HarnessError, match=r"no row of the test part of clicks has label 1.*leave uni3 out"):  # fmt: skip
        _ = of.problem.test_task


def test_lists_are_asked_for_and_keep_the_rows_that_pairs_are_learnt_from(clicks):
    specs = [find_model("MF"), find_model("DIN")]
    own = {"keep_label": True, "duplicates": "keep"}
    for given, protocols in (({}, ["ctr"]), ({"protocols": "ctr,uni19"}, ["ctr", "uni19"])):
        settings = resolve(specs, {"min_rating": 1}, given, own)
        assert all(s.evaluation["protocols"] == protocols for s in settings)
        assert all(s.dataset["keep_label"] and s.dataset["min_rating"] is None for s in settings)
    (_, pop) = resolve([specs[0], find_model("Pop")], {"min_rating": 1}, {"protocols": "ctr,uni19"}, own)  # fmt: skip
    assert pop.dataset["min_rating"] == 1
    of = make_experiment("MF", "clicks", clicks, protocols="uni3", **LABELS)
    check_served(of)
    assert str(of.selection) == "auc" and of.served == ["uni3"] and of.test_labels is None


def test_a_positive_that_stands_twice_is_ranked_once_as_in_its_last_row(clicks, tmp_path):
    folder = tmp_path / "clicks"
    folder.mkdir()
    for name in ("clicks.inter", "clicks.item"):
        (folder / name).write_text((clicks / "clicks" / name).read_text())
    lines = (folder / "clicks.inter").read_text().splitlines()
    again = [line.rsplit("\t", 1)[0] + "\t9000" for line in lines[1:]]
    (folder / "clicks.inter").write_text("\n".join([*lines, *again]) + "\n")
    of = make_experiment("MF", "clicks", tmp_path, protocols="ctr,uni2", duplicates="keep", **LABELS)  # fmt: skip
    problem, task = of.problem, of.problem.test_task
    rows, data = problem.rows_of(task), problem.data
    np.testing.assert_array_equal(data.item[rows], task.pos_items)
    key = data.user * len(data.item_tokens) + data.item
    tested = (problem.split.part == TEST) & (data.label == 1)
    same = [np.flatnonzero(tested & (key == key[row])) for row in rows]
    assert rows.tolist() == [of[-1] for of in same] and max(map(len, same)) == 2
