"""Records are made again and compared."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.core.yaml_files import properties, read_yaml
from recbole_ext.leaderboard.board import load_records
from recbole_ext.pipeline import replay as rerun
from recbole_ext.pipeline.replay import experiment_of
from recbole_ext.pipeline.verify import verify_records
from tests.leaderboard.factory import as_if_by_gpu


def tuned(tiny_path, records):
    """The record of a search of two drawn points."""
    argv = [
        "--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={records}", "--protocols=full,uni5",
        "--epochs=2", "--valid_metric=recall@5", "--tune=2", "--threads=1",
    ]  # fmt: skip
    assert main(argv) == 0
    (record,), _ = load_records(records)
    return record


def test_a_record_repeats_and_a_changed_one_does_not(tiny_path, tmp_path, capsys):
    record = tuned(tiny_path, tmp_path)
    assert verify_records([record], 1, 1, tiny_path) == 0
    assert "agrees  BPR on tiny" in capsys.readouterr().out
    worse = {"full": {"recall@5": {**record.metrics["full"]["recall@5"], "mean": 0.9}}}
    assert verify_records([dataclasses.replace(record, metrics=worse)], 1, 1, tiny_path) == 1
    assert "DIFFERENT  BPR on tiny" in capsys.readouterr().out


def test_of_a_search_that_does_not_repeat_the_winner_is_trained_again(tiny_path, tmp_path, capsys):
    record = tuned(tiny_path, tmp_path)
    tune = {**record.experiment["tune"], "searcher": "optuna"}
    chosen = dataclasses.replace(record, experiment={**record.experiment, "tune": tune})
    capsys.readouterr()
    assert verify_records([chosen], 1, 1, tiny_path) == 0
    out, err = capsys.readouterr()
    assert "agrees  BPR on tiny" in out and "tuning" not in err


def test_filters_of_a_record_win_over_what_the_dataset_says(tiny_path, tmp_path, monkeypatch):
    from recbole_ext.data import catalog

    told = {"min_rating": 2, "min_label": 1, "k_core": False, "rating_field": "label"}
    monkeypatch.setattr(catalog, "described", lambda name: {"options": told})
    usual = {"min_rating": "null", "min_label": "null", "k_core": "true", "rating_field": "rating"}
    given = ["--protocols=full", f"--records={tmp_path}", f"--data-path={tiny_path}"]
    typed = [f"--{key}={value}" for key, value in usual.items()]
    assert main(["--model=Pop", "--dataset=tiny", *given, *typed]) == 0
    (record,), _ = load_records(tmp_path)
    assert set(record.experiment["dataset"]["filters"]) == {"min_rating", "min_user", "min_item"}
    assert experiment_of(record, tiny_path).run_id == record.run_id


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_what_ran_on_a_gpu_is_skipped_and_counted_where_there_is_none(tiny_path, tmp_path, capsys):
    record = tuned(tiny_path, tmp_path)
    (path,) = tmp_path.glob("*/record.json")
    far = as_if_by_gpu(path)
    capsys.readouterr()
    assert verify_records([record, far], 2, 1, tiny_path) == 0
    out = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in out[:2]) == ["agrees", "skipped"]
    assert f"skipped  BPR on tiny ({far.run_id}): it ran on a GPU" in "\n".join(out)
    assert out[2] == "1 of 2 compared, 1 skipped"
    worse = {"full": {"recall@5": {**record.metrics["full"]["recall@5"], "mean": 0.9}}}
    assert verify_records([dataclasses.replace(record, metrics=worse), far], 2, 1, tiny_path) == 1


def test_a_metric_that_is_no_more_is_a_difference(tiny_path, tmp_path, capsys):
    record = tuned(tiny_path, tmp_path)
    old = {"full": record.metrics["full"] | {"gone@5": {"mean": 0.1, "low": 0.0, "high": 0.2}}}
    assert verify_records([dataclasses.replace(record, metrics=old)], 1, 1, tiny_path) == 1
    assert "largest difference inf (full gone@5)" in capsys.readouterr().out


@pytest.mark.parametrize("section", ["evaluation", "run"])
def test_a_key_that_has_come_since_takes_its_default(section, tiny_path, tmp_path, monkeypatch):
    record = tuned(tiny_path, tmp_path)
    later = read_yaml(properties() / "overall.yaml")
    later[section]["key_of_tomorrow"] = 3
    monkeypatch.setattr(rerun, "read_yaml", lambda path: later)
    again = rerun.experiment_of(record, tiny_path)
    assert getattr(again.settings, section)["key_of_tomorrow"] == 3
    assert again.run_id == record.run_id
