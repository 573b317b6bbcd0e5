"""Table 6 and figures 5 to 8: numbers by hand and against loops, and the whole of it from runs of a tiny language model."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.sellarec import drawn, figures
from benchmarks.sellarec.against import same_rows
from benchmarks.sellarec.embeddings import BIN, Both, cosines, counts, flat, sample, told
from benchmarks.sellarec.runs import ALIGNED, NEITHER, comparable, grown, sella_runs
from recbole_ext.cli import main
from recbole_ext.evaluator.tables import read_tables
from recbole_ext.explain.top_items import loaded_run
from recbole_ext.results import read_record
from tests.model.prompted_data import OF, SMALL, write_clicks, write_llama

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data and, below `runs`, SeLLaRec with and without alignment and both before the last stage, and Bias."""
    folder = write_clicks(tmp_path_factory.mktemp("clicks"))
    backbone = write_llama(folder / "llama")
    base = [
        "--dataset=clicks", f"--data-path={folder}", f"--records={folder / 'runs'}", "--keep_label=true", "--threads=1",
        "--split_ratio=[0.6,0.2,0.2]", "--protocols=ctr",
    ]  # fmt: skip
    keys = [f"--{key}={SMALL[key]}" for key in OF["SeLLaRec"]]
    sella = [*base, "--model=SeLLaRec", f"--backbone={backbone}", "--max_length=200", *keys]
    assert main([*base, "--model=Bias"]) == 0
    for switches in ([], ["--align=false"]):
        for length in ([], ["--projection_epochs=0"]):
            assert main([*sella, *switches, *length]) == 0
    assert main([*sella, "--min_history=2", "--collab_loss=bce"]) == 0  # in no figure
    return folder


def unit(rows, seed=0):
    vectors = np.random.default_rng(seed).normal(size=rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_cosines_of_two_items_are_of_two_and_use_each_item_once():
    n = 7
    both = Both(np.eye(n), np.eye(n) * np.arange(1, n + 1)[:, None])  # e_i^L tells who it is
    own, random = cosines(both)
    np.testing.assert_array_equal(own, np.arange(1, n + 1))
    assert not random.any(), "an item stands beside itself"
    marked = Both(np.ones((n, 1)), np.arange(1.0, n + 1)[:, None])
    assert sorted(cosines(marked)[1]) == list(range(1, n + 1))


def test_how_near_both_are_is_what_a_loop_says():
    both = Both(unit((30, 4), 1), unit((30, 4), 2))
    found = told(both)
    every = np.concatenate([both.collab, both.semantic])
    apart = 0
    for i in range(60):
        others = [j for j in range(60) if j != i]
        nearest = max(others, key=lambda j: float(every[i] @ every[j]))
        apart += (nearest < 30) == (i < 30)
    near = 0
    for i in range(30):
        across = [float(both.collab[i] @ both.semantic[j]) for j in range(30)]
        near += sum(value > across[i] for value in across) < 10
    assert found["apart"] == pytest.approx(apart / 60) and found["found"] == pytest.approx(
        near / 30
    )


def test_one_cloud_and_two_clouds_are_told_apart():
    one = unit((40, 5))
    same = told(Both(one, one))
    assert same["apart"] == 0 and same["found"] == 1 and same["own"] == pytest.approx(1)
    far = told(Both(unit((40, 5)) * 0 + np.eye(5)[0], unit((40, 5)) * 0 + np.eye(5)[1]))
    assert far["apart"] == 1 and far["own"] == far["random"] == 0


def test_every_cosine_is_in_one_bin():
    values = np.array([-1.0, -0.999, -1e-9, 0.0, 0.049, 0.05, 1.0, 1.0 + 1e-15])
    found = counts(values)
    assert sum(found.values()) == len(values)
    assert found == {-1.0: 2, -BIN: 1, 0.0: 2, BIN: 1, 0.95: 2}


def test_a_picture_has_the_points_of_its_sample_and_stays_small():
    chosen = sample(3255, panels=4)
    assert len(set(chosen.tolist())) == len(chosen) == 750 and chosen.max() < 3255
    points = np.random.default_rng(0).normal(size=(1500, 2)) * 100
    text = drawn.embeddings({f"panel {n}": points for n in range(4)})
    assert text.count("h0") == 6000 and len(text.encode()) < 100_000
    small = flat(Both(unit((12, 3)), unit((12, 3), 1)), np.arange(10))
    assert small.shape == (20, 2) and np.isfinite(small).all()


def test_runs_are_of_the_plain_model_and_of_one_seed(folder):
    runs = sella_runs(folder / "runs", "clicks")
    assert [(run.variant, run.begins) for run in runs] == [
        (variant, begins) for variant in (ALIGNED, NEITHER) for begins in (False, True)
    ]

    def like(run, seed=2026, train=None, **params):
        record = run.record
        data = {**record.data, "train": train or record.data["train"]}
        asked = {**record.experiment, "seed": seed}
        changed = {"data": data, "experiment": asked, "params": {**record.params, **params}}
        return dataclasses.replace(run, record=dataclasses.replace(record, **changed))

    assert comparable([like(runs[0], collab_loss="bce")]) == []
    seeds = [like(runs[0], seed=1), like(runs[1], seed=1), *runs[:1]]
    assert comparable(seeds) == seeds[:2], "of the seed that has more variants, and of no other"
    larger = [*runs, like(runs[3], train=10**6)]
    assert comparable(larger) == larger[-1:], "of one number of training rows, the largest"
    other = [*runs, like(runs[2], backbone="smollm2")]
    assert len(comparable(other)) == 5


def test_fewer_rows_are_compared_on_those(folder):
    paths = {
        (record.experiment["model"], record.experiment["dataset"]["split"].get("min_history")): path.parent
        for path in sorted((folder / "runs").glob("*/record.json"))
        for record in [read_record(path)]
    }  # fmt: skip
    bias, fewer = paths["Bias", None], paths["SeLLaRec", 2]
    whole, theirs = (read_tables(path).scored for path in (bias, fewer))
    found = same_rows(bias, fewer)
    assert 0 < len(found) == len(theirs) < len(whole)
    np.testing.assert_array_equal(found.label, theirs.label)


def test_lines_grow_by_runs(tmp_path):
    path = tmp_path / "t.csv"
    grown(path, [{"run": "a", "x": 0.5}, {"run": "b", "x": 1}])
    found = grown(path, [{"run": "b", "x": 2}, {"run": "b", "x": 3}])
    assert found == [{"run": "a", "x": "0.5"}, {"run": "b", "x": "2"}, {"run": "b", "x": "3"}]
    assert grown(path, []) == found == list(csv.DictReader(path.open()))
    assert grown(tmp_path / "none.csv", []) == [] and not (tmp_path / "none.csv").exists()


def test_tables_and_pictures_come_from_runs_and_outlive_them(folder, tmp_path, capsys):
    given = [f"--data-path={folder}", "--dataset=clicks", "--rows=9"]
    out = [f"--tables={tmp_path}", f"--docs={tmp_path}"]
    figures.main([str(folder / "runs"), *given, *out])
    told_first = capsys.readouterr().out
    tables = {path.stem: list(csv.DictReader(path.open())) for path in tmp_path.glob("*.csv")}
    pictures = {path.stem: path.read_text() for path in tmp_path.glob("*.svg")}
    runs = {(run.variant, run.begins): run for run in sella_runs(folder / "runs", "clicks")}

    step0 = [line for line in tables["step-0"] if line["part"] == "warm"]
    assert [line["variant"] for line in step0] == [ALIGNED, NEITHER]
    for line in step0:
        parts = runs[line["variant"], True].record.parts["warm"]
        assert int(line["rows"]) == parts["rows"]
        for key in ("auc", "uauc"):
            assert float(line[key]) == pytest.approx(parts["metrics"][key]["mean"], abs=1e-5)
    first, second = (float(line["auc"]) for line in step0)
    assert float(step0[1]["auc_less"]) == pytest.approx(first - second, abs=2e-6)
    assert step0[0]["auc_less"] == ""

    assert {line["model"].partition(",")[0] for line in tables["warm-cold"]} == {"Bias", "SeLLaRec"}
    assert {line["run"] for line in tables["attention"]} == {runs[ALIGNED, False].name}
    assert {line["token"] for line in tables["attention"]} == {"user", "item", "warm"}
    assert all(0 < float(line["mean"]) < 1 for line in tables["attention"])
    bins = [line for line in tables["cosines"] if line["run"] == runs[NEITHER, True].name]
    assert sum(int(line["count"]) for line in bins if line["pair"] == "own") == 15
    assert set(pictures) == {
        "sella-rec-warm-cold", "sella-rec-cosines", "sella-rec-attention", "sella-rec-embeddings-llama",
    }  # fmt: skip
    assert "| llama | neither | warm, " in told_first

    figures.main([str(folder / "no runs"), *given, *out])  # they are gone
    again = {path.stem: list(csv.DictReader(path.open())) for path in tmp_path.glob("*.csv")}
    assert again == tables
    assert {path.stem: path.read_text() for path in tmp_path.glob("*.svg")} == pictures
    assert capsys.readouterr().out.count("\n| llama") == told_first.count("\n| llama")


def test_without_alignment_the_vectors_are_the_distilled_and_the_projected(folder):
    runs = {(run.variant, run.begins): run for run in sella_runs(folder / "runs", "clicks")}
    with loaded_run(runs[NEITHER, False].path, runs[NEITHER, False].record, folder) as saved:
        model = saved.fitted.model
        model.train()  # the LoRA's dropout would make others each time
        trained, others = figures.both_of(saved)
        with torch.no_grad():
            collab = model.new_projection(model.items.weight[1:]).double()
            semantic = model.distilled()["semantic.weight"][1:].double()
    assert len(trained.collab) + len(others.collab) == 15
    of = saved.experiment.problem.popularity > 0
    for ours, theirs in ((trained.collab, collab), (trained.semantic, semantic)):
        np.testing.assert_allclose(
            ours, torch.nn.functional.normalize(theirs, dim=1).numpy()[of], atol=1e-7
        )
