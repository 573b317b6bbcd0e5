"""Stages: kept, shared, resumed after a kill as if nothing had happened; and models that another package brings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Stage
from recbole_ext.pipeline.training import Training
from recbole_ext.registry.find import find_model
from recbole_ext.trainer.part import Part, read_tensors, write_tensors
from recbole_ext.trainer.training import StageTraining
from tests.problems import make_experiment

ROOT = Path(__file__).resolve().parents[2]


def fit(tiny_path, folder, **given):
    experiment = make_experiment("TwoStages", "tiny", tiny_path, protocols="full", **given)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True, parents=True)
    training = Training(experiment, None, scratch, folder)
    return training.fit(experiment.settings.params, "TwoStages")


def stages_of(folder):
    return {json.loads(p.read_text())["stage"]: p.parent for p in (folder / ".stages").glob("*/stage.json")}  # fmt: skip


def test_a_stage_that_is_there_is_taken_and_the_result_is_the_same(
    installed, tiny_path, tmp_path, capsys
):
    one = fit(tiny_path, tmp_path / "one")
    first = capsys.readouterr().err
    assert "stage 1 of 2 'factors': trains" in first and "users, items" in first
    assert one.seconds_before < 1
    for folder in stages_of(tmp_path / "one").values():
        tensors, facts = read_tensors(folder / "weights.safetensors")
        write_tensors(folder / "weights.safetensors", tensors, facts | {"seconds": 1000.0})
    again = fit(tiny_path, tmp_path / "one")
    told = capsys.readouterr().err
    assert told.count("trained before") == 2 and "trains" not in told
    # Only the second is made anew: it begins from its own seed, whatever was trained before it here.
    third = fit(tiny_path, tmp_path / "one", map_epochs=2)
    assert capsys.readouterr().err.count("trained before") == 1
    alone = fit(tiny_path, tmp_path / "two", map_epochs=2)
    for this, that in ((one, again), (third, alone)):
        assert this.value == that.value
        for name, value in this.model.state_dict().items():
            assert torch.equal(value, that.model.state_dict()[name])
    assert not torch.equal(one.model.map.weight, third.model.map.weight)
    assert one.epochs == 7 and third.epochs == 5
    # What is taken costs what it did where it was trained.
    assert 1900 < again.seconds_before <= 2000 and 900 < third.seconds_before <= 1000


def test_seeds_and_parameters_make_stages_of_their_own(installed, tiny_path, tmp_path):
    fit(tiny_path, tmp_path)
    before = set((tmp_path / ".stages").glob("*/stage.json"))
    fit(tiny_path, tmp_path, seed=5)
    fit(tiny_path, tmp_path, embedding_size=4)
    assert len(before) == 2 and len(set((tmp_path / ".stages").glob("*/stage.json"))) == 6


def test_only_what_a_stage_names_is_trained(installed, tiny_path, tmp_path):
    fitted = fit(tiny_path, tmp_path)
    folders = stages_of(tmp_path)
    assert set(load_file(folders["map"] / "weights.safetensors")) == {"map.weight"}
    factors = load_file(folders["factors"] / "weights.safetensors")
    for name, value in factors.items():
        assert torch.equal(fitted.model.state_dict()[name], value)
    assert not any(p.requires_grad for p in fitted.model.parameters())


def test_killed_in_the_second_stage_it_goes_on_and_ends_as_if_it_had_not_been(
    toys, installed, tiny_path, tmp_path, capsys
):
    code = (
        f"import sys; sys.path[:0] = [{str(toys)!r}]\n"
        "from recbole_ext.trainer import training; training.SAVED_EVERY = 0.0\n"
        "from recbole_ext.cli import main\n"
        f"main(['--model=TwoStages', '--dataset=tiny', '--data-path={tiny_path}', '--records={tmp_path}', '--nap=0.05',"
        " '--protocols=full'])"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT)
    folder, end = tmp_path / ".stages", time.monotonic() + 120
    while (
        time.monotonic() < end and len(list(folder.glob("*/checkpoint.safetensors"))) == 0
    ) or not list(folder.glob("*/stage.json")):
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (first,) = folder.glob("*/stage.json")
    made = first.stat().st_mtime_ns
    (half,) = folder.glob("*/checkpoint.safetensors")
    assert half.parent != first.parent
    # `nap` is no part of what the stage depends on.
    fitted = fit(tiny_path, tmp_path)
    told = capsys.readouterr().err
    assert "'factors': trained before" in told and "'map': goes on after" in told
    assert first.stat().st_mtime_ns == made and not list(folder.glob("*/checkpoint.safetensors"))
    whole = fit(tiny_path, tmp_path / "whole")
    assert fitted.value == whole.value
    assert torch.equal(fitted.model.map.weight, whole.model.map.weight)


def test_a_damaged_stage_is_set_aside_and_trained_again(installed, tiny_path, tmp_path, capsys):
    one = fit(tiny_path, tmp_path)
    kept = stages_of(tmp_path)["map"] / "weights.safetensors"
    kept.write_bytes(kept.read_bytes()[:-7])
    two = fit(tiny_path, tmp_path)
    assert "damaged" in capsys.readouterr().err
    assert kept.with_suffix(".corrupt").is_file() and kept.is_file()
    assert torch.equal(one.model.map.weight, two.model.map.weight)


def test_a_loss_that_is_no_number_is_one_line(installed, tiny_path, tmp_path):
    with pytest.raises(
        HarnessError, match=r"'factors': the training loss is nan; lower the learning rate"
    ):
        fit(tiny_path, tmp_path, learning_rate="1e30")


def test_the_best_epoch_is_kept_and_patience_ends_a_stage(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False))
    scores = iter([0.1, 0.5, 0.2, 0.3, 0.9])
    weights = []

    def validate():
        weights.append(model[0].weight.item())
        return next(scores)

    class Ones:
        def __len__(self):
            return 3

        def __call__(self, generator):
            return iter(torch.ones(3, 1, 1))

    stage = Stage("only", ("0",), Ones(), lambda x: model(x).mean(), {}, 9, 0.1, validate=validate, patience=2)  # fmt: skip
    part = Part(model, stage.trainable, "only")
    facts = StageTraining(model, part, stage, 0, "toy", "cpu").run(tmp_path / "none")
    assert facts["validations"] == [0.1, 0.5, 0.2, 0.3] and facts["epochs"] == 2
    assert model[0].weight.item() == pytest.approx(weights[1])


def test_a_package_brings_its_model_by_name(toys, tiny_path, tmp_path):
    """Installed by pip, run by name in a fresh process, listed, and refused in one line where it is broken."""

    def run(*argv):
        code = f"import sys; sys.path[:0] = [{str(toys)!r}]\nfrom recbole_ext.__main__ import run\nsys.argv[1:] = {list(argv)!r}\nsys.exit(run())"
        return subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip

    common = ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}"]
    done = run("--model=TwoStages,Pop", *common, "--protocols=full")
    assert done.returncode == 0, done.stderr
    assert "TwoStages" in done.stdout
    assert "of package recbole-ext-toys" in run("list").stdout
    assert "--factor_epochs=3" in run("list", "TwoStages").stdout
    wrong = run("--model=TwoStage", *common)
    assert wrong.returncode == 2 and "TwoStages" in wrong.stderr.splitlines()[-1]


def test_a_broken_package_is_one_line(installed, monkeypatch):
    monkeypatch.setitem(sys.modules, "recbole_ext_toys", None)
    with pytest.raises(
        HarnessError, match="'TwoStages' of package recbole-ext-toys cannot be loaded"
    ):
        find_model("TwoStages")
