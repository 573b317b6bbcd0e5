"""The notebook's way in: the same numbers as a run, from arrays, matrices and functions; and the docs' example runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator import evaluate
from recbole_ext.evaluator.places import joint_metrics
from recbole_ext.pipeline.training import rank_test
from tests.problems import make_experiment, train

DOCS = Path(__file__).resolve().parents[2] / "docs" / "protocols.md"


def problem(seed=0, users=12, items=40):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 6, (users, items))
    kind[:, 0] = 0
    return rng.normal(size=(users, items)).astype(np.float32), kind == 0, kind == 1


def test_arrays_matrices_tensors_and_functions_say_the_same():
    scores, test, seen = problem()
    wanted = dict(protocols=("full", "uni5", "pop3", "expected@5"), ks=(1, 5))
    base = evaluate(scores, np.nonzero(test), np.nonzero(seen), **wanted).metrics
    assert base.keys() == {"full", "uni5", "pop3", "expected@5"}
    same = [
        evaluate(scores, sparse.csr_matrix(test), sparse.coo_array(seen), **wanted),
        evaluate(torch.from_numpy(scores), np.nonzero(test), np.nonzero(seen), **wanted),
        evaluate(lambda users: scores[users], np.nonzero(test), np.nonzero(seen), **wanted),
    ]
    assert all(each.metrics == base for each in same)


def test_it_is_what_a_run_does(tmp_path):
    from recbole_ext.recbole_compat import score_function

    experiment = make_experiment("EASE", "ml-100k", protocols="full")
    problem, fitted = experiment.problem, train(experiment, tmp_path)
    seen = problem.split.pairs(problem.data, *problem.seen_at_test)
    scores = score_function(fitted.model, fitted.bench, problem.data, seen)(np.arange(943))
    found = evaluate(scores, problem.split.pairs(problem.data, 2), seen, ks=(20,))
    expected = joint_metrics(rank_test(fitted, problem), [20])["ndcg@20"]
    np.testing.assert_array_equal(found.per_user("full")["ndcg@20"], expected)


def test_estimates_of_full_ranking():
    scores, test, seen = problem(1, 60, 80)
    found = evaluate(scores, np.nonzero(test), np.nonzero(seen), ("full", "uni40"), (5,))
    estimate = found.full_from("uni40", resampled=50)["hit_pp@5"]
    assert estimate.naive == pytest.approx(found.metrics["uni40"]["hit_pp@5"]["mean"], abs=1e-8)
    assert estimate.low <= found.metrics["full"]["hit_pp@5"]["mean"] <= estimate.high
    low, high = estimate.ends["mle"]
    assert low <= estimate.mle <= high
    with pytest.raises(HarnessError, match="'uni7' was not drawn uniformly here \\(uni40\\)"):
        found.full_from("uni7")


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (([0], [99]), "test: item 99 has no column among 40"),
        (([99], [0]), "test: user 99 has no row among 12"),
        (([0, 1], [0]), "2 users and 1 items"),
    ],
)
def test_what_does_not_fit_is_said(test, said):
    scores, _, seen = problem()
    with pytest.raises(HarnessError, match=said):
        evaluate(scores, test, np.nonzero(seen))


def test_the_example_of_the_docs_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    exec(compile(code, str(DOCS), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    shown = DOCS.read_text().split("```text\n")[1].split("```")[0].splitlines()
    assert lines == shown
