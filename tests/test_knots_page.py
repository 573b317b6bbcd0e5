"""The page of what coders cost: its arithmetic by hand, and that lines outlive the runs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.knots import accuracy
from recbole_ext.cli import main
from recbole_ext.results import read_record

COMMON = ["--dataset=tiny", "--split=users", "--protocols=full", "--ks=20", "--embedding_size=8", "--epochs=3"]  # fmt: skip


@pytest.fixture(scope="module")
def records(tiny_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    base = [*COMMON, f"--data-path={tiny_path}", f"--records={folder}", "--threads=1"]
    coded = [*base, "--model=KnotsELSA", "--sae_epochs=3"]
    assert main([*base, "--model=ELSA"]) == 0
    for k in (2, 4):
        assert main([*coded, f"--k={k}"]) == 0
    assert main([*base, "--model=ELSA", "--fold=1"]) == 0
    assert main([*coded, "--k=4", "--fold=1"]) == 0
    assert main([*coded, "--k=4", "--fold=2"]) == 0  # nothing to stand beside
    return folder


def test_a_coder_stands_beside_the_autoencoder_of_its_users(records):
    lines = accuracy.lines_of(records)
    assert sorted((line["k"], line["fold"]) for line in lines) == [
        ("2", "0"),
        ("4", "0"),
        ("4", "1"),
    ]
    for line in lines:
        record = read_record(records / line["run_id"] / "record.json")
        assert float(line["ndcg"]) == pytest.approx(
            record.metrics["full"]["ndcg@20"]["mean"], abs=1e-6
        )
        assert float(line["change"]) == pytest.approx(
            float(line["ndcg"]) - float(line["cfae_ndcg"]), abs=2e-6
        )
        assert float(line["l0"]) == pytest.approx(record.measures["l0"], rel=1e-5)


def test_folds_are_pooled_as_if_their_users_were_one_set():
    rng = np.random.default_rng(0)
    folds = [rng.normal(-0.02, 0.08, size) for size in (40, 25)]
    bases = [0.3, 0.4]
    lines = [
        {"users": str(len(f)), "cfae_ndcg": str(b), "change": str(f.mean()), "change_sd": str(f.std(ddof=1))}
        for f, b in zip(folds, bases, strict=True)
    ]  # fmt: skip
    every = np.concatenate(folds)
    base = (40 * 0.3 + 25 * 0.4) / 65
    change, half = accuracy.relative(lines)
    assert change == pytest.approx(100 * every.mean() / base)
    assert half == pytest.approx(196 * every.std(ddof=1) / np.sqrt(65) / base)


def test_lines_outlive_their_runs_and_the_page_shows_each_once(
    records, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for folder in ("benchmarks/knots", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    accuracy.main([str(records)])
    first = accuracy.PAGE.read_text()
    assert first.count("| topk, k = ") == 2 and "(2 folds)" in first
    assert "λ₁ = 0.0003" in first and accuracy.PLOT.read_text().startswith("<?xml")
    accuracy.main([])  # the runs are gone
    assert accuracy.PAGE.read_text() == first
    accuracy.main([str(records), str(records)])
    assert len(accuracy.known(accuracy.LINES)) == 3 and accuracy.PAGE.read_text() == first
    assert "3 runs" in capsys.readouterr().out
