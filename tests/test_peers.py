"""What benchmarks/scale/peers.py makes of other packages' lists."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from benchmarks.scale import peer_ours
from benchmarks.scale.peer_io import TOP, Asked, by_scores, peak_bytes
from benchmarks.scale.peers import METRICS, evaluate, main, row_of, run, table
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.places import joint_metrics
from recbole_ext.evaluator.ranks import make_task, rank
from recbole_ext.pipeline.training import rank_test
from tests.problems import make_experiment, train

USERS, ITEMS = 9, 50


@pytest.fixture(scope="module")
def task():
    of = np.random.default_rng(3)
    positives, excluded = (np.nonzero(of.random((USERS, ITEMS)) < p) for p in (0.1, 0.2))
    return make_task(ITEMS, positives, excluded)


@pytest.fixture(scope="module")
def scores():
    """No two are equal."""
    of = np.random.default_rng(4)
    return of.permutation(USERS * ITEMS).reshape(USERS, ITEMS).astype(np.float32)


def listed(task, scores, threads):
    shape = len(task.users), task.n_items
    masked = sp.csr_matrix(
        (np.ones(len(task.exc_items)), task.exc_items, task.exc_indptr), shape=shape
    )
    asked = Asked(sp.csr_matrix(scores.shape), masked, task.users)
    return by_scores(lambda users: scores[users].copy())(asked, threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_lists_have_the_metrics_of_the_scores_that_they_were_made_of(task, scores, threads):
    found = evaluate(task, listed(task, scores, threads))
    (table,) = rank(task, lambda users: [torch.from_numpy(scores[users])])
    wanted = joint_metrics(table, [TOP])
    for name in METRICS:
        assert found[name] == pytest.approx(wanted[name].mean(), abs=1e-12)  # sums in one order


def test_recall_is_over_all_positives_of_a_user():
    task = make_task(100, (np.zeros(40, int), np.arange(40)), (np.zeros(1, int), np.array([99])))
    found = evaluate(task, np.arange(TOP)[None])
    assert found["recall@20"] == pytest.approx(0.5) and found["ndcg@20"] == pytest.approx(1)


def test_a_list_is_short_where_candidates_are_few(scores):
    task = make_task(ITEMS, (np.array([2]), np.array([1])), (np.full(45, 2), np.arange(5, ITEMS)))
    lists = listed(task, scores, 1)
    assert (lists[0, :5] >= 0).all() and set(lists[0, :5]) == set(range(5))
    assert (lists[0, 5:] == -1).all()
    assert evaluate(task, lists)["recall@20"] == 1


def test_lists_that_cannot_be_are_refused(task, scores):
    lists = listed(task, scores, 1)
    user = np.flatnonzero(np.diff(task.exc_indptr))[0]
    for change, said in (
        (task.exc_items[task.exc_indptr[user]], "already"),
        (lists[user, 1], "twice"),
        (ITEMS, "of 50"),
    ):
        wrong = lists.copy()
        wrong[user, 0] = change
        with pytest.raises(HarnessError, match=said):
            evaluate(task, wrong)
    with pytest.raises(HarnessError, match="users"):
        evaluate(task, lists[1:])


def test_what_cannot_run_is_a_line_that_says_why(tmp_path, task):
    for python in (None, str(tmp_path / "python")):
        said = run("SANSA-ICF", python, {}, tmp_path, 1)
        assert isinstance(said, str) and said.startswith("--peers-python=")
    row = row_of("SANSA-ICF", task, "no such module", {"l2": "20"})
    assert row["why_not"] == "no such module" and not row["recall@20"]
    assert "not measured: no such module" in table([row], "here")


def test_one_run_measures_a_peer_of_ours_as_a_run_of_its_own_does(tiny_path, tmp_path, monkeypatch):
    """In this process in place of another; a peer without an interpreter is skipped."""

    def here(command, **_):
        assert command[:3] == [sys.executable, "-m", "benchmarks.scale.peer_ours"]
        peer_ours.main(command[3:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", here)
    output = tmp_path / "out"
    given = [f"--data-path={tiny_path}", "--dataset=tiny", "--models=EASE-dense,SANSA-ICF"]
    main([*given, "--threads=1", "--EASE-dense.reg_weight=5", f"--output={output}"])
    lines = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [line["peer"] for line in lines] == ["EASE-dense", "SANSA-ICF"]
    experiment = make_experiment(
        "EASE", "tiny", tiny_path, side="items", reg_weight=5, protocols="full", ks="20"
    )
    fitted = train(experiment, tmp_path)
    wanted = joint_metrics(rank_test(fitted, experiment.problem), [TOP])
    for name in METRICS:
        assert float(lines[0][name]) == pytest.approx(wanted[name].mean(), abs=6e-5)  # 4 digits
    assert int(lines[0]["peak_mib"]) >= int(lines[0]["fit_mib"]) >= int(lines[0]["before_mib"]) > 0
    assert "no interpreter" in lines[1]["why_not"]
    assert (tmp_path / "out.md").read_text().count("\n| ") == 3


def test_the_peak_of_a_process_is_its_own_and_not_its_parents():
    held = np.ones(1 << 26)  # 512 MiB, more than NumPy and SciPy take
    code = "from benchmarks.scale.peer_io import peak_bytes; print(peak_bytes())"
    child = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 0 < int(child.stdout) < held.nbytes <= peak_bytes()
