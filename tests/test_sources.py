"""Trained on some datasets, asked about another one."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.problem import Problem
from recbole_ext.data.splits import TRAIN, VALID
from recbole_ext.data.union import Union
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.ranks import make_task, rank
from recbole_ext.pipeline.prepare import prepare
from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat import score_function
from recbole_ext.recbole_compat.sampling import Negatives
from recbole_ext.registry.find import find_model
from tests.conftest import write_tiny
from tests.problems import make_experiment


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Folders one, two and target below one path: other users, other items, but for two that are also in the target."""
    path = tmp_path_factory.mktemp("three")
    for seed, name in enumerate(("one", "two", "target")):
        folder = write_tiny(path / "made" / name, seed=seed, users=40 + 10 * seed) / "tiny"
        (path / name).mkdir()
        for kind in ("inter", "item"):
            text = (folder / f"tiny.{kind}").read_text().replace("number", f"{name} number")
            text = re.sub(r"\bi(\d+)\b", rf"{name[0]}i\1", text)
            (path / name / f"{name}.{kind}").write_text(text)
    # Both begin with t: the second source's tokens are told apart from the target's by a letter more.
    for kind in ("inter", "item"):
        file = path / "two" / f"two.{kind}"
        file.write_text(re.sub(r"\bti(\d+)\b", r"wi\1", file.read_text()))
    items = path / "two" / "two.item"
    lines = items.read_text().splitlines()
    lines[1] = lines[1].split("\t")[0] + "\tRed  LAMP target number 0"  # the target's first title
    lines[2] = "ti5\tsomething else"  # the target's token
    items.write_text("\n".join(lines) + "\n")
    inter = path / "two" / "two.inter"
    inter.write_text(inter.read_text().replace("\twi1\t", "\tti5\t"))
    return path


def experiment_of(path, sources=("one", "two"), model="AlphaRec", target="target", **given):
    given = {"encoder": "hash:16", "epochs": 5, "num_neg": 8, "protocols": "full"} | given
    experiment = make_experiment(model, target, path, **given)
    problem = experiment.problem
    parts = []
    for name in sources:
        spec = find_dataset(name, path)
        parts.append(Problem(spec, problem.options | spec.options, problem.evaluation))
    return prepare(
        find_model(model), experiment.settings, problem, sources=Union.of(parts, problem)
    )


def training_of(experiment, scratch):
    return Training(experiment, experiment.embeddings(), scratch)


def test_items_of_the_target_are_left_out_of_the_sources(three, capsys):
    sources = experiment_of(three).sources
    one, two = (part.data.item_tokens for part in sources.parts)
    kept_one, kept_two = (data.item_tokens for data, _, _ in sources.kept)
    assert kept_one == one
    assert set(two) - set(kept_two) == {"wi0", "ti5"}
    assert "two: 2 of " in capsys.readouterr().err
    theirs = {" ".join(t.casefold().split()) for t in sources.target.texts[1]}
    assert not theirs & {" ".join(t.casefold().split()) for t in sources.texts[1]}
    assert not set(sources.target.data.item_tokens) & {*kept_one, *kept_two}


def test_the_merged_problem_is_its_parts_side_by_side(three):
    sources = experiment_of(three).sources
    data, split = sources.data, sources.split
    assert data.user_tokens == sorted(data.user_tokens)
    assert data.item_tokens == sorted(data.item_tokens)
    assert (np.diff(data.user * len(data.item_tokens) + data.item) > 0).all()
    pairs = {
        (f"{k}:{part.user_tokens[u]}", f"{k}:{part.item_tokens[i]}", int(s))
        for k, (part, own, _) in enumerate(sources.kept)
        for u, i, s in zip(part.user, part.item, own.part, strict=True)
    }
    assert pairs == {
        (data.user_tokens[u], data.item_tokens[i], int(s))
        for u, i, s in zip(data.user, data.item, split.part, strict=True)
    }
    assert len(sources.texts[1]) == len(data.item_tokens) == len(sources.blocks)
    trained, _ = split.pairs(data, TRAIN)
    assert set(trained) == set(range(len(data.user_tokens)))


def test_no_negative_is_of_another_dataset(three, tmp_path):
    experiment = experiment_of(three).origin
    model, _ = training_of(experiment, tmp_path).build(experiment.settings.params)
    blocks = np.concatenate([[-1], experiment.problem.blocks])
    of_user = np.zeros(model.n_users, dtype=int)
    user, item = experiment.problem.split.pairs(experiment.problem.data, TRAIN)
    of_user[user + 1] = blocks[item + 1]
    users = torch.arange(1, model.n_users)
    drawn = model.negatives(users, 200).numpy()
    assert (blocks[drawn] == of_user[1:, None]).all()
    have = set(zip(user + 1, item + 1, strict=True))
    assert not have & {(u, i) for u, row in zip(users.tolist(), drawn, strict=True) for i in row}
    # Every item that a user does not have can come.
    own = {i for u, i in have if u == 1}
    assert set(drawn[0]) == set(np.flatnonzero(blocks == of_user[1])) - own


def test_blocks_of_negatives_by_hand():
    users, items = np.array([1, 1, 2]), np.array([1, 3, 5])
    negatives = Negatives(users, items, 3, 7, blocks=np.array([0, 0, 0, 0, 1, 1, 1]))
    drawn = negatives(torch.tensor([1, 2]), 400).numpy()
    assert set(drawn[0]) == {2} and set(drawn[1]) == {4, 6}


def test_graphs_are_apart_and_validation_is_the_mean_over_the_sources(three, tmp_path):
    experiment = experiment_of(three)
    sources = experiment.sources
    training = training_of(experiment.origin, tmp_path)
    fitted = training.fit(experiment.settings.params, "test")
    history = sources.split.pairs(sources.data, TRAIN)
    scores = score_function(fitted.model, fitted.bench, sources.data, history)
    values, first_user, first_item = [], 0, 0
    for (data, split, texts), part in zip(sources.kept, sources.parts, strict=True):
        # The source alone, with the same mapping: the same scores as its block of the whole.
        alone = experiment_of(three, sources=[part.spec.name])
        own = training_of(alone.origin, tmp_path).setup.moved(fitted, experiment.settings.params)
        theirs = score_function(own.model, own.bench, alone.sources.data, history)
        users = np.arange(len(data.user_tokens))
        block = scores(users + first_user)[:, first_item : first_item + len(texts)]
        torch.testing.assert_close(block, theirs(users), rtol=0, atol=1e-5)
        task = make_task(len(texts), split.pairs(data, VALID), split.pairs(data, TRAIN))
        (table,) = rank(task, lambda users, theirs=theirs: [theirs(users)])
        values.append(summary.mean_of(table, "recall@20"))
        first_user, first_item = first_user + len(users), first_item + len(texts)
    assert fitted.value == pytest.approx(sum(values) / 2, abs=1e-6)


def test_what_moves_is_frozen_and_the_target_changes_nothing(three, tmp_path):
    experiment = experiment_of(three)
    training = training_of(experiment.origin, tmp_path)
    fitted = training.fit(experiment.settings.params, "test")
    before = {name: value.clone() for name, value in fitted.model.state_dict().items()}
    moved = training_of(experiment, tmp_path).setup.moved(fitted, experiment.settings.params)
    after = moved.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any("embedding" in name for name in after)


def test_a_run_from_elsewhere_is_a_row_of_its_own(three, tmp_path, capsys):
    base = [
        "--dataset=target", f"--data-path={three}", f"--records={tmp_path}", "--protocols=full,uni5", "--epochs=5",
        "--encoder=hash:16", "--model=AlphaRec",
    ]  # fmt: skip
    assert main([*base, "--json"]) == 0
    (own,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert main([*base, "--train=one,two", "--one.min_item=2", "--json", "--tune=2"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["run_id"] != own["run_id"] and record["candidates"] == own["candidates"]
    asked = record["experiment"]["train_on"]
    assert [place["name"] for place in asked] == ["one", "two"]
    assert [place["filters"]["min_item"] for place in asked] == [2, 0]
    assert record["experiment"]["dataset"]["filters"]["min_item"] == 0
    assert record["data"]["sources"]["two"]["items_left_out"] == 2
    assert len(record["tuning"]["trials"]) == 2
    assert "train_on" not in own["experiment"] and "sources" not in own["data"]
    assert main(["board", f"--records={tmp_path}"]) == 0
    assert "AlphaRec from one and two" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "train", "said"),
    [
        ("AlphaRec", "target", "--train=target: target is the target itself"),
        ("BPR", "one,two", "--train: BPR has parameters of users or items"),
        ("AlphaRec", "on", "dataset 'on' has no source here, did you mean one"),
        ("AlphaRec", "", "--train=NAME is missing"),
    ],
)
def test_a_mistake_is_one_line(model, train, said, three, capsys):
    base = [f"--model={model}", "--dataset=target", f"--data-path={three}", f"--train={train}"]
    assert main(base) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_a_source_of_the_targets_items_alone_is_an_error(three, tmp_path):
    for kind in ("inter", "item"):
        (three / "same").mkdir(exist_ok=True)
        text = (three / "target" / f"target.{kind}").read_text()
        (three / "same" / f"same.{kind}").write_text(text)
    with pytest.raises(HarnessError, match="nothing of same is left without the items of target"):
        _ = experiment_of(three, sources=["same"]).run_id


def test_a_source_with_nothing_left_to_validate_on_is_one_line(three, capsys, tmp_path):
    # Of every history the item before the last, which validation gets, is the target's.
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(6):
        items = [f"n{user % 3}", f"n{(user + 1) % 3}", "ti5", f"n{(user + 2) % 3}"]
        lines += [f"u{user}\t{item}\t{time}" for time, item in enumerate(items)]
    (three / "late").mkdir()
    (three / "late" / "late.inter").write_text("\n".join(lines) + "\n")
    items = "".join(f"{name}\tnovel {name}\n" for name in ("n0", "n1", "n2", "ti5"))
    (three / "late" / "late.item").write_text(f"item_id:token\ttitle:token_seq\n{items}")
    argv = [
        "--model=AlphaRec", "--dataset=target", f"--data-path={three}", "--train=one,late", "--encoder=hash:16",
        "--protocols=full", "--late.split=leave_one_out", f"--records={tmp_path}", "--epochs=1",
    ]  # fmt: skip
    assert main(argv) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: --train: nothing of late is left to validate on without the items of target; leave late out, or "
        "split it otherwise (--late.split=.., --late.split_ratio=..)"
    )
