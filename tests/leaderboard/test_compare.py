"""`board --compare`: two runs paired by their users, and what cannot be paired."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from recbole_ext.cli import main
from recbole_ext.evaluator.findings import holm
from recbole_ext.evaluator.ranks_file import SCORES, read_ranks, read_scores, write_scores
from recbole_ext.evaluator.stats import paired_tests
from recbole_ext.evaluator.summary import per_user
from recbole_ext.leaderboard.asked import differences
from recbole_ext.leaderboard.chosen_run import chosen_run
from recbole_ext.leaderboard.compare import compare
from recbole_ext.results import read_record
from tests.leaderboard.factory import record
from tests.model.prompted_data import write_clicks


def made(records, data, models, *given, dataset="tiny"):
    common = [f"--dataset={dataset}", f"--data-path={data}", f"--records={records}", "--threads=1"]
    assert main([f"--model={models}", *common, *given]) == 0


@pytest.fixture(scope="module")
def runs(tiny_path, tmp_path_factory):
    """Three models on one split, and one of them again on another and without validation items."""
    records = tmp_path_factory.mktemp("runs")
    usual = ["--protocols=full,uni5,expected@5", "--ks=1,5,10,20"]
    made(records, tiny_path, "Pop,EASE,ItemKNN", *usual)
    made(records, tiny_path, "EASE", *usual, "--split_seed=7")
    made(records, tiny_path, "EASE", *usual, "--exclude=train")
    made(records, tiny_path, "EASE", "--protocols=expected@4", "--ks=5")
    return records


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    """Two models of labelled pairs."""
    records, data = (tmp_path_factory.mktemp(name) for name in ("labelled", "clicks"))
    write_clicks(data)
    split = ["--keep_label=true", "--split_ratio=0.5,0.2,0.3", "--protocols=ctr"]
    made(records, data, "Bias,MF", *split, "--MF.epochs=2", "--MF.embedding_size=4", dataset="clicks")  # fmt: skip
    return records


def ids(records, model, **asked):
    """Ids of a model's runs that were asked for so."""
    found = []
    for path in sorted(records.glob("*/record.json")):
        of = json.loads(path.read_text())
        split = of["experiment"]["dataset"]["split"] | of["experiment"]
        if of["experiment"]["model"] == model and all(split[k] == v for k, v in asked.items()):
            found.append(of["run_id"])
    return found


USUAL = {"split_seed": 2026, "exclude": "train+valid", "ks": [1, 5, 10, 20]}


def one(records, model, **asked):
    (found,) = ids(records, model, **(USUAL | asked))
    return found


def answer(capsys, records, *runs, code=0):
    capsys.readouterr()
    assert main(["board", f"--records={records}", "--compare", *runs]) == code
    out, err = capsys.readouterr()
    if code:
        assert out == "" and err.count("\n") == 1 and err.startswith("error: ")
    return err if code else out


def test_differences_are_those_of_the_house_test(runs):
    a, b = one(runs, "EASE"), one(runs, "Pop")
    found = compare(chosen_run(a, [runs]), chosen_run(b, [runs]))
    tables = [read_ranks(runs / run / "ranks.parquet")[0] for run in (a, b)]
    assert {line.protocol for line in found.lines} == {"full", "uni5", "expected@5"}
    for line in found.lines:
        values = [per_user(table, line.protocol, [1, 5, 10, 20])[line.metric] for table in tables]
        values = [v if v.ndim == 1 else v.mean(axis=1) for v in values]
        # One matrix or two columns of it: the same seed draws the same signs and users; sums differ in order.
        wanted = paired_tests(np.column_stack(values))[0, 1]
        assert dataclasses.astuple(line.paired) == pytest.approx(dataclasses.astuple(wanted), abs=1e-9)  # fmt: skip
        assert line.first - line.second == pytest.approx(wanted.difference, abs=1e-12)
        assert line.users == len(values[0])
    assert [line.p for line in found.lines] == holm([line.paired.p for line in found.lines])


def test_the_answer_names_runs_users_and_what_was_asked(runs, capsys):
    a, b = one(runs, "EASE"), one(runs, "Pop")
    out = answer(capsys, runs, a[:10], b)
    lines = out.splitlines()
    assert lines[0].split() == ["first", a, "EASE", "on", "tiny,", "seed", "2026"]
    assert lines[1].split()[:3] == ["second", b, "Pop"]
    users = read_record(runs / a / "record.json").data["test_users"]
    assert f"full, {users} users" in out and "NDCG@20" in out and "95% interval" in out
    assert ["model", "EASE", "Pop"] in [line.split() for line in lines]
    assert not [line for line in lines if line.startswith(("seed", "split_seed", "fingerprint"))]
    # The same with a comma, and the other way round.
    assert answer(capsys, runs, f"{a},{b}") == out
    back = answer(capsys, runs, b, a)
    assert back != out and back.count("\n") == out.count("\n")


def test_other_metrics_are_compared_where_they_are_named(runs, capsys):
    pair = one(runs, "EASE"), one(runs, "Pop")
    assert main(["board", f"--records={runs}", "--compare", *pair, "--metrics=hr@5,mrr_pp"]) == 0
    out = capsys.readouterr().out
    assert "HR@5" in out and "MRR per positive" in out and "NDCG" not in out
    assert main(["board", f"--records={runs}", "--compare", *pair, "--metrics=all"]) == 0
    assert "MAP@20" in capsys.readouterr().out
    assert "did you mean ndcg@20" in answer(capsys, runs, *pair, "--metrics=ndgc@20", code=2)


def test_labelled_pairs_are_compared_by_draws_of_users(clicks, capsys):
    (a,), (b,) = ids(clicks, "Bias"), ids(clicks, "MF")
    found = compare(chosen_run(a, [clicks]), chosen_run(b, [clicks]))
    by_metric = {line.metric: line for line in found.lines}
    assert {"auc", "uauc"} <= by_metric.keys()
    table = read_scores(clicks / a / SCORES)[0]
    both = [u for u in np.unique(table.user) if len(set(table.label[table.user == u])) == 2]
    assert by_metric["uauc"].users == len(both) < by_metric["auc"].users == len(np.unique(table.user))  # fmt: skip
    assert np.isnan(by_metric["auc"].paired.effect)
    for line in found.lines:
        assert line.paired.low <= line.paired.difference <= line.paired.high
    out = answer(capsys, clicks, a, b)
    assert f"ctr, {len(np.unique(table.user))} users" in out and "AUC" in out
    loss = by_metric["log_loss"]
    assert loss.first_is_better == (loss.first < loss.second) and "smaller is better" in out


def test_what_cannot_be_paired_is_one_line(runs, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    a, b = one(runs, "EASE"), one(runs, "Pop")
    split = one(runs, "EASE", split_seed=7)
    said = answer(capsys, runs, a, split, code=2)
    here, there = (read_record(runs / r / "record.json").fingerprints["split"] for r in (a, split))
    assert f"fingerprint of their split is {here[:12]} and {there[:12]} (split_seed 2026 and 7)" in said  # fmt: skip
    assert "exclude=train+valid and exclude=train\n" in answer(
        capsys, runs, a, one(runs, "EASE", exclude="train"), code=2
    )
    assert (
        "no protocol in common: full is of the first only; expected@4 is of the second only; "
        in answer(capsys, runs, b, one(runs, "EASE", ks=[5]), code=2)
    )
    assert "both are EASE on tiny" in answer(capsys, runs, a, a[:9], code=2)
    wrong = ("0" if a[0] != "0" else "1") + a[1:]
    assert f"did you mean {a}" in answer(capsys, runs, wrong, b, code=2)
    assert "an id is the name of a run's folder" in answer(capsys, runs, "xyz", b, code=2)
    assert f"{b} (tiny)" in answer(capsys, runs, "pop", a, code=2)
    assert "takes two runs, not 1" in answer(capsys, runs, a, code=2)
    assert "takes two runs, not 3" in answer(capsys, runs, a, b, split, code=2)
    assert "--model says nothing to --compare" in answer(capsys, runs, a, b, "--model=EASE", code=2)
    assert "--publish and --compare are two questions" in answer(
        capsys, runs, a, b, "--publish", code=2
    )
    assert "did you mean metrics?" in answer(capsys, runs, a, b, "--metric=ndcg@20", code=2)
    assert "no such folder" in answer(capsys, tmp_path / "nowhere", a, b, code=2)
    (tmp_path / "empty").mkdir()
    assert "has no records" in answer(capsys, tmp_path / "empty", a, b, code=2)


def test_a_beginning_of_several_runs_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seeds = [record("A", 0.5, seed=seed) for seed in range(40)]
    for of in seeds:
        (tmp_path / of.run_id).mkdir()
        (tmp_path / of.run_id / "record.json").write_text(of.to_json())
    letter = max("0123456789abcdef", key=lambda c: sum(of.run_id[0] == c for of in seeds))
    count = sum(of.run_id[0] == letter for of in seeds)
    assert count > 1
    said = answer(capsys, tmp_path, letter, seeds[0].run_id, code=2)
    assert f"'{letter}' begins {count} runs (" in said and "give more of the id" in said


def test_a_published_record_is_compared_where_its_ranks_are(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine, a, b = tmp_path / "runs", one(runs, "EASE"), one(runs, "Pop")
    shutil.copytree(runs / b, mine / b)
    place = tmp_path / "leaderboard" / "records" / "tiny" / "EASE"
    place.mkdir(parents=True)
    shutil.copy(runs / a / "record.json", place / f"{a}.json")
    said = answer(capsys, mine, a, b, code=2)
    assert f"EASE on tiny ({a[:8]}) has no ranks in {mine / a}" in said
    (mine / a).mkdir()
    shutil.copy(runs / a / "ranks.parquet", mine / a)
    assert "NDCG@20" in answer(capsys, mine, a, b)


def test_files_that_are_not_the_runs_own_are_refused(runs, clicks, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine, a, b = tmp_path / "runs", one(runs, "EASE"), one(runs, "Pop")
    for run in (a, b):
        shutil.copytree(runs / run, mine / run)
    shutil.copy(runs / b / "ranks.parquet", mine / a)
    assert "its tables say full recall@10" in answer(capsys, mine, a, b, code=2)
    shutil.copy(runs / one(runs, "EASE", split_seed=7) / "ranks.parquet", mine / a)
    assert "have tables of other items" in answer(capsys, mine, a, b, code=2)
    (mine / a / "ranks.parquet").write_bytes(b"PAR1")
    assert "not a readable rank table" in answer(capsys, mine, a, b, code=2)
    text = (mine / b / "record.json").read_text()
    (mine / b / "record.json").write_text(text.replace('"seed": 2026', '"seed": 1', 1))
    assert "its run_id does not match its content" in answer(capsys, mine, a, b, code=2)
    (mine / b).rename(mine / ("f" * 16))
    (mine / ("f" * 16) / "record.json").write_text(text)
    assert "not what its name says" in answer(capsys, mine, a, "f" * 16, code=2)
    labelled = tmp_path / "labelled"
    shutil.copytree(clicks, labelled)
    (first,), (second,) = ids(labelled, "Bias"), ids(labelled, "MF")
    table, users, items = read_scores(labelled / first / SCORES)
    turned = dataclasses.replace(table, label=1 - table.label)
    write_scores(turned, users, items, labelled / first / SCORES)
    assert "have tables of other labels" in answer(capsys, labelled, first, second, code=2)


def test_lists_that_were_drawn_otherwise_are_left_out(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine, a, b = tmp_path / "runs", one(runs, "EASE"), one(runs, "Pop")
    for run in (a, b):
        shutil.copytree(runs / run, mine / run)
    other = read_record(mine / b / "record.json")
    changed = dataclasses.replace(other, candidates={"uni5": "0" * 64})
    (mine / b / "record.json").write_text(changed.to_json())
    out = answer(capsys, mine, a, b)
    assert "left out: uni5 was ranked on other lists" in out and "expected@5, " in out


def test_every_setting_that_differs_is_named_once():
    one = record("A", 0.5, points=8, params={"p": 1, "q": {"x": 2}}, seed=1, read={"encoder": "e" * 64})  # fmt: skip
    other = record("A", 0.5, params={"p": 3, "q": {"x": 4}, "r": None}, seed=2, device="cuda")
    found = {what: (a, b) for what, a, b in differences(one, other)}
    assert found == {
        "seed": ("1", "2"),
        "device": ("cpu", "cuda"),
        "fingerprint of encoder": ("e" * 12, "–"),
        "tuned": ("8 points", "no"),
        "p": ("1", "3"),
        "q x": ("2", "4"),
        "r": ("–", "none"),
    }
    assert list(differences(one, one)) == []
    theirs = {what: (a, b) for what, a, b in differences(one, record("B", 0.5, params={"p": 3, "s": 1}, seed=1, points=9))}  # fmt: skip
    assert theirs["model"] == ("A", "B") and theirs["p"] == ("1", "3") and "s" not in theirs
    assert theirs["keys of its own"] == ("1", "1") and theirs["tune trials"] == ("8", "9")
