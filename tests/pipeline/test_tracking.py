"""`--track` and `--energy`: what is written beside a record, by fakes of the packages that are not here, and that nothing of a run depends on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_ext.cli import main
from recbole_ext.pipeline import tracking
from recbole_ext.pipeline.tracking import flattened
from recbole_ext.results import read_record

SMALL = ["--dataset=ml-100k", "--protocols=full", "--ks=10", "--threads=1", "--save_weights=false"]


class Server:
    """Stands in for a tracker's package: remembers what it was told."""

    def __init__(self, broken_at: int = 1_000) -> None:
        self.asked, self.told, self.ended, self.broken_at = {}, [], [], broken_at

    def open(self, config, **about):
        self.asked = config | {"about": about}
        return self

    def log_metrics(self, values, step):
        if len(self.told) >= self.broken_at:
            raise ConnectionError("no route\nto host")
        self.told.append((step, values))

    def end_run(self, status):
        self.ended.append(status)

    def log(self, values):
        self.told.append((None, values))

    def define_metric(self, name, step_metric):
        self.told.append((name, step_metric))

    @property
    def summary(self):
        return SimpleNamespace(update=self.log)

    def finish(self, exit_code):
        self.ended.append(exit_code)


def installed(monkeypatch, kind: str, server: Server) -> Server:
    """Put a server in the place of a package and of Ray's function for it."""
    integration = ModuleType(f"ray.air.integrations.{kind}")
    setattr(integration, f"setup_{kind}", server.open)
    monkeypatch.setitem(sys.modules, integration.__name__, integration)
    monkeypatch.setitem(tracking._NEEDS, kind, "json")
    return server


def only_record(folder):
    (path,) = folder.glob("*/record.json")
    return read_record(path)


def test_tensorboard_has_trials_and_results_and_the_record_is_that_of_an_untracked_run(tmp_path):
    asked = ["--model=EASE", "--tune=2", *SMALL]
    assert main([*asked, f"--records={tmp_path / 'a'}", "--track=tensorboard"]) == 0
    assert main([*asked, f"--records={tmp_path / 'b'}"]) == 0
    record, plain = only_record(tmp_path / "a"), only_record(tmp_path / "b")
    assert (record.run_id, record.metrics) == (plain.run_id, plain.metrics)
    assert set(record.cost) == set(plain.cost)
    assert not (tmp_path / "b" / ".track").exists()
    found = EventAccumulator(str(tmp_path / "a" / ".track" / record.run_id))
    found.Reload()
    scores = [(e.step, round(e.value, 5)) for e in found.Scalars("trial/recall@20")]
    assert scores == [(n, round(t["value"], 5)) for n, t in enumerate(record.tuning["trials"], 1)]
    assert found.Scalars("test/full/ndcg@10")[0].value == pytest.approx(record.metrics["full"]["ndcg@10"]["mean"])  # fmt: skip
    text = found.Tensors("EASE on ml-100k/text_summary")[0].tensor_proto.string_val[0].decode()
    assert record.run_id in text and "fingerprint/data" in text


def test_mlflow_is_told_what_was_asked_and_every_epoch_by_names_that_it_takes(tmp_path, monkeypatch):  # fmt: skip
    server = installed(monkeypatch, "mlflow", Server())
    trained = ["--model=BPR", "--epochs=2", "--eval_step=1", "--embedding_size=4", *SMALL]
    assert main([*trained, f"--records={tmp_path}", "--track=mlflow"]) == 0
    record = only_record(tmp_path)
    assert server.asked["run_id"] == record.run_id
    assert server.asked["params/embedding_size"] == 4
    assert server.asked["about"]["run_name"] == "BPR on ml-100k"
    steps = [step for step, values in server.told if "validation/recall_at_20" in values]
    assert steps == [1, 2]
    assert not any("@" in name for _, values in server.told for name in values)
    step, last = server.told[-1]
    assert step is None and last["test/full/ndcg_at_10"] == record.metrics["full"]["ndcg@10"]["mean"]  # fmt: skip
    assert server.ended == ["FINISHED"]


def test_wandb_counts_trials_and_epochs_on_their_own(tmp_path, monkeypatch):
    server = installed(monkeypatch, "wandb", Server())
    assert main(["--model=EASE", "--tune=2", *SMALL, f"--records={tmp_path}", "--track=wandb"]) == 0
    assert ("trial/*", "trial/step") in server.told
    trials = [values for _, values in server.told if "trial/recall@20" in values]
    assert [values["trial/step"] for values in trials] == [1, 2]
    assert "test/full/ndcg@10" in server.told[-1][1] and server.ended == [0]


def test_a_server_that_goes_away_costs_a_line_and_not_the_run(tmp_path, monkeypatch, capsys):
    installed(monkeypatch, "mlflow", Server(broken_at=1))
    assert main(["--model=EASE", "--tune=2", *SMALL, f"--records={tmp_path}", "--track=mlflow"]) == 0  # fmt: skip
    assert capsys.readouterr().err.count("--track=mlflow ended: no route to host; the run goes on") == 1  # fmt: skip
    assert only_record(tmp_path).metrics["full"]


def test_a_run_that_fails_is_closed_as_failed(monkeypatch):
    server = installed(monkeypatch, "mlflow", Server())
    experiment = SimpleNamespace(
        run_id="1" * 16, model=SimpleNamespace(name="A"), problem=SimpleNamespace(spec=SimpleNamespace(name="d")),
        describe=lambda: {}, fingerprints=lambda: {}, settings=SimpleNamespace(evaluation={"valid_metric": "auc"}),
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt), tracking.tracking("mlflow", experiment, Path("x")):  # fmt: skip
        raise KeyboardInterrupt
    assert server.ended == ["FAILED"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--track=mlflow"], "--track=mlflow needs the package mlflow: pip install mlflow"),
        (["--track=tensorbord"], "--track=tensorbord"),
        (["--energy"], "--energy needs the package codecarbon: pip install codecarbon"),
    ],
)
def test_what_is_missing_is_one_line_before_anything_runs(words, expected, tmp_path, monkeypatch, capsys):  # fmt: skip
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["--model=Pop", *SMALL, f"--records={tmp_path / 'runs'}", *words]) == 2
    err = capsys.readouterr().err
    assert expected in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_tracker_that_cannot_begin_is_one_line(tmp_path, monkeypatch, capsys):
    def refused(*_, **__):
        raise ValueError("no key")

    monkeypatch.setattr(installed(monkeypatch, "wandb", Server()), "open", refused)
    sys.modules["ray.air.integrations.wandb"].setup_wandb = refused
    assert main(["--model=Pop", *SMALL, f"--records={tmp_path}", "--track=wandb"]) == 2
    assert "error: --track=wandb cannot begin: no key" in capsys.readouterr().err
    assert not [*tmp_path.glob("*/record.json")]


def test_energy_is_in_the_record_and_moves_nothing_else(tmp_path, monkeypatch):
    class Offline:
        def __init__(self, **asked):
            assert asked["save_to_file"] is False and asked["country_iso_code"]

        def start(self):
            self.began = True

        def stop(self):
            self.final_emissions_data = SimpleNamespace(energy_consumed=1.5e-5)

    monkeypatch.setitem(sys.modules, "codecarbon", ModuleType("codecarbon"))
    sys.modules["codecarbon"].OfflineEmissionsTracker = Offline
    monkeypatch.setattr("recbole_ext.core.energy.check_energy", lambda: None)
    assert main(["--model=Pop", *SMALL, f"--records={tmp_path / 'a'}", "--energy"]) == 0
    assert main(["--model=Pop", *SMALL, f"--records={tmp_path / 'b'}"]) == 0
    record, plain = only_record(tmp_path / "a"), only_record(tmp_path / "b")
    assert record.cost["energy_kwh"] == 1.5e-5 and "energy_kwh" not in plain.cost
    assert (record.run_id, record.metrics) == (plain.run_id, plain.metrics)
    assert main(["sweep", "--model=EASE", *SMALL, "--energy"]) == 2


def test_what_was_asked_is_flat_and_short():
    asked = {"a": {"b": {"c": 1}, "e": {}}, "l": [1, {"x": 2}], "n": None, "s": "y" * 900}
    found = flattened(asked)
    assert found == {"a/b/c": 1, "a/e": "{}", "l": '[1,{"x":2}]', "n": "null", "s": "y" * 500}
    assert json.loads(found["l"]) == asked["l"]
