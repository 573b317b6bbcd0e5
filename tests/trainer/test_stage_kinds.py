"""What a stage can say of its steps, and stages that are computed: over a small model, without data."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Schedule, Stage
from recbole_ext.pipeline.training import Training
from recbole_ext.trainer import training
from recbole_ext.trainer.part import Part
from recbole_ext.trainer.staged import Staged, _for_epochs, _identity, _named
from recbole_ext.trainer.training import StageTraining
from tests.problems import make_experiment

ROWS = torch.linspace(-1, 1, 33, dtype=torch.float64).reshape(11, 3)


class Batches:
    """Rows in batches of some size, shuffled in each epoch."""

    def __init__(self, rows, size, shuffled=True):
        self.rows, self.size, self.shuffled = rows, size, shuffled

    def __len__(self):
        return -(-len(self.rows) // self.size)

    def __call__(self, generator):
        order = torch.randperm(len(self.rows), generator=generator)
        yield from (self.rows[order] if self.shuffled else self.rows).split(self.size)


class Net(torch.nn.Module):
    """x -> x A + c, in float64."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.map = torch.nn.Linear(3, 2, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.map.weight.copy_(torch.randn(2, 3, generator=generator, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(2, dtype=torch.float64))

    def loss(self, x):
        return (self.map(x) + self.shift - x[:, :2]).square().sum(1).mean()

    def noisy(self, x):
        return self.loss(x + 0.1 * torch.randn(x.shape, dtype=x.dtype))


def setup_in(folder, **given):
    facts = {"stages": folder, "seed": 7, "device": "cpu", "selection": "auc"}
    return SimpleNamespace(**{**facts, "fingerprints": lambda: {"data": "d"}, **given})


def trained(model, stage, folder):
    """The facts of a training whose checkpoint is in a folder."""
    part = Part(model, stage.trainable, stage.name)
    return StageTraining(model, part, stage, 5, "toy", "cpu").run(folder / "checkpoint.safetensors")


def of_net(model, **given):
    own = {"loss": model.loss, "loader": Batches(ROWS, 3), "epochs": 3, "learning_rate": 0.05}
    own["trainable"] = ("map",)
    return Stage(name="map", fingerprint={}, **{**own, **given})


# --- identities ------------------------------------------------------------------------------------------------------


def test_stages_that_say_nothing_new_keep_their_names(tmp_path):
    """The hashes are those from before there were schedules: stages on people's disks are found again."""
    lines = ["user_id:token\titem_id:token\tlabel:float\ttimestamp:float"]
    lines += [f"u{u}\ti{(u + p) % 8}\t{(u * p) % 2}\t{100 * p + u}" for u in range(12) for p in range(6)]  # fmt: skip
    (tmp_path / "clicks").mkdir()
    (tmp_path / "clicks" / "clicks.inter").write_text("\n".join(lines) + "\n")

    def names(model, **given):
        common = {"keep_label": "true", "threads": 1, "split_ratio": "[0.6,0.2,0.2]", "seed": 7}
        of = make_experiment(model, "clicks", tmp_path, **common, embedding_size=8, epochs=4, **given)  # fmt: skip
        built, _ = Training(of, None, tmp_path / "scratch").build(of.settings.params)
        reads = setup_in(tmp_path, fingerprints=lambda: {"data": "d", "split": "s"})
        befores = ({} if stage.after == () else {"cfae": "x"} for stage in built.stages())
        return [_named(_identity(reads, s, 7, b)) for s, b in zip(built.stages(), befores, strict=True)]  # fmt: skip

    assert names("MF", train_batch_size=64, init_std=0.3) == ["40a5e498b8a852d7"]
    assert names("KnotsELSA", split="users", k=4) == ["8640e71a66661505", "52f092a79eb38e19"]


def test_what_changes_the_steps_changes_the_name_and_defaults_do_not(tmp_path):
    model = Net()
    changed = (
        {"accumulate": 2},
        {"schedule": Schedule(3)},
        {"schedule": Schedule(0.5)},
        {"schedule": Schedule(decay="cosine")},
        {"schedule": Schedule(decay="cosine", floor=0.1)},
        {"schedule": Schedule(3, epochs=9)},
    )

    def named(**given):
        return _named(_identity(setup_in(tmp_path), of_net(model, **given), 7, {}))

    assert named() == named(schedule=Schedule(), accumulate=1)
    assert len({named(), *(named(**given) for given in changed)}) == len(changed) + 1


# --- schedules -------------------------------------------------------------------------------------------------------


def test_a_schedule_by_hand():
    warm = Schedule(4)
    assert [warm.share(step, 9) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    half = Schedule(
        0.5, "cosine", 0.2
    )  # of 8 steps 4, then 1, .., which would be at the floor in step 8
    assert [half.share(step, 8) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    rest = [0.2 + 0.8 * (1 + math.cos(math.pi * gone / 4)) / 2 for gone in range(4)]
    assert [half.share(step, 8) for step in range(4, 8)] == pytest.approx(rest, abs=1e-15)
    assert [Schedule(1.0, "cosine").share(step, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert half.share(8, 8) == half.share(99, 8) == pytest.approx(0.2)


@given(st.integers(0, 30), st.integers(1, 60), st.floats(0, 1))
def test_a_rate_rises_then_falls_and_stays_between_floor_and_full(warmup, steps, floor):
    shares = [Schedule(warmup, "cosine", floor).share(step, steps) for step in range(steps + 3)]
    rising, falling = shares[:warmup], shares[warmup:]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    assert all(0 < share <= 1 for share in rising)
    assert all(floor - 1e-12 <= share <= 1 + 1e-12 for share in falling)  # of rounding


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"warmup": 1.5}, {"decay": "linear"}, {"floor": 1.5}])  # fmt: skip
def test_a_schedule_that_says_nothing_sensible_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Schedule(**wrong)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_each_step_is_made_at_its_rate(accumulate, tmp_path):
    """Under a constant gradient Adam's step is the rate itself, so that the weight tells their sum."""
    model = Net()
    before = model.map.weight.detach().clone()
    schedule = Schedule(2, "cosine", 0.1)
    stage = of_net(model, loss=lambda x: model.map.weight.sum(), schedule=schedule, accumulate=accumulate)  # fmt: skip
    trained(model, stage, tmp_path)
    steps = 3 * -(-4 // accumulate)
    moved = 0.05 * sum(schedule.share(step, steps) for step in range(steps))
    # Adam's epsilon of 1e-8 beside a gradient of 1.
    torch.testing.assert_close(before - model.map.weight.detach(), torch.full_like(before, moved), rtol=1e-6, atol=0)  # fmt: skip


def test_a_refit_keeps_the_rate_of_every_step():
    stage = of_net(Net(), epochs=8, schedule=Schedule(0.1, "cosine"), validate=lambda: 0.0, patience=2)  # fmt: skip
    again = _for_epochs(stage, 3)
    assert again.epochs == 3 and again.validate is None and again.patience is None
    assert again.schedule == Schedule(0.1, "cosine", epochs=8)
    assert _for_epochs(again, 2).schedule == again.schedule
    assert _for_epochs(of_net(Net()), 2).schedule is None


# --- accumulation ----------------------------------------------------------------------------------------------------


def test_a_group_of_batches_makes_the_step_of_one_batch_of_all_their_rows(tmp_path):
    """11 rows in batches of 2: groups of 3, of which the last has 2 batches with 5 rows; against batches of 6."""
    models = Net(), Net()
    for model, size, accumulate in zip(models, (2, 6), (3, 1), strict=True):
        stage = of_net(model, loader=Batches(ROWS, size), accumulate=accumulate, clip=0.5)
        assert trained(model, stage, tmp_path)["rows"] == 33
    one, other = (model.map.weight for model in models)
    # Sums in another order, in float64.
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert not torch.equal(one, Net().map.weight)


def test_a_last_group_steps_by_the_rows_and_not_by_the_batches(tmp_path):
    """7 rows as 3, 3 and 1: the mean over the rows is not that of the batches' means."""
    models = Net(), Net()
    for model, size, accumulate in zip(models, (3, 7), (5, 1), strict=True):
        loader = Batches(ROWS[:7] ** 3 * 5, size, shuffled=False)
        trained(model, of_net(model, loader=loader, accumulate=accumulate, epochs=1), tmp_path)
    torch.testing.assert_close(models[0].map.weight, models[1].map.weight, rtol=1e-10, atol=1e-12)


# --- going on --------------------------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("stopped_at", [1, 2, 4, 5, 7, 9, 10, 11])
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(
    accumulate, stopped_at, tmp_path, monkeypatch
):
    """In the middle of an epoch, of a group, and at their ends: 4 batches an epoch, the last group has one."""
    monkeypatch.setattr(training, "SAVED_EVERY", -1.0)

    def stage_of(model, loss):
        def validate():
            torch.rand(3)  # moves no training
            return math.sin(1e4 * float(model.map.weight.sum()))

        schedule = Schedule(0.3, "cosine")
        return of_net(model, loss=loss, accumulate=accumulate, schedule=schedule, validate=validate)

    whole = Net()
    facts = trained(whole, stage_of(whole, whole.noisy), tmp_path / "whole")
    model, calls = Net(), 0

    def stopping(x):
        nonlocal calls
        calls += 1
        if calls > stopped_at:
            raise Stopped
        return model.noisy(x)

    with pytest.raises(Stopped):
        trained(model, stage_of(model, stopping), tmp_path / "half")
    assert (tmp_path / "half" / "checkpoint.safetensors").is_file() == (stopped_at >= accumulate)
    again = Net()
    other = trained(again, stage_of(again, again.noisy), tmp_path / "half")
    assert torch.equal(again.map.weight, whole.map.weight)
    assert {**other, "seconds": 0} == {**facts, "seconds": 0}
    assert len(facts["validations"]) == 3 and facts["rows"] == 33


def test_random_numbers_of_a_gpu_by_its_number_are_kept_too(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda at: asked.append(at) or torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, at: asked.append(at))
    model = Net()
    of = StageTraining(model, Part(model, ("map",), "map"), of_net(model), 0, "toy", "cuda:0")
    of._set_random(of._random())
    assert asked == ["cuda:0", "cuda:0"]


def test_a_stage_that_a_cpu_began_goes_on_on_a_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, at: asked.append(at))
    model = Net()
    of = StageTraining(model, Part(model, ("map",), "map"), of_net(model), 0, "toy", "cuda:0")
    of._set_random({"cpu": torch.get_rng_state()})
    assert asked == []


def test_after_a_validation_what_is_trained_and_nothing_else_is_in_training_mode(tmp_path):
    class Two(Net):
        def __init__(self):
            super().__init__()
            self.drop, self.other = (
                torch.nn.Sequential(torch.nn.Dropout(0.5)),
                torch.nn.Dropout(0.5),
            )

    model, seen = Two(), []

    def loss(x):
        seen.append((model.map.training, model.drop[0].training, model.other.training))
        return model.loss(x)

    def validate():
        assert not any(module.training for module in model.modules())
        return 0.0

    # A parameter of its own in `drop`, so that it can be named.
    model.drop.register_parameter("scale", torch.nn.Parameter(torch.ones(1)))
    trained(model, of_net(model, loss=loss, validate=validate, trainable=("map", "drop")), tmp_path)
    assert set(seen) == {(True, True, False)} and len(seen) == 12
    assert model.map.weight.requires_grad is False and not model.training


def test_the_first_line_counts_what_is_held_outside_the_model(tmp_path, capsys):
    model = Net()
    model.frozen_parameters = 1_000_000
    trained(model, of_net(model, accumulate=2), tmp_path)
    told = capsys.readouterr().err
    assert (
        "trains 6 of 1,000,006 parameters (map), 3 epochs of 4 batches, a step for each 2" in told
    )


# --- computed stages -------------------------------------------------------------------------------------------------


def shifted(model, calls, **given):
    def compute():
        assert not torch.is_grad_enabled() and not model.training
        calls.append(1)
        return {"shift": torch.randn(2, dtype=torch.float64)}

    return Computed(**{"name": "shift", "made": ("shift",), "compute": compute, "fingerprint": {}, **given})  # fmt: skip


def run(folder, calls, **given):
    model = Net()
    stages = [shifted(model, calls, **given), of_net(model)]
    epochs, _ = Staged()._run(setup_in(folder), model, stages, "toy")
    return model, epochs


def test_what_is_computed_is_kept_shared_and_read_by_the_stages_after(tmp_path, capsys):
    calls = []
    one, epochs = run(tmp_path, calls)
    told = capsys.readouterr().err
    assert "stage 1 of 2 'shift': computes 2 numbers (shift)" in told
    assert "'shift': computed in " in told
    assert epochs == {"shift": 0, "map": 3} and one.shift.abs().min() > 0
    two, _ = run(tmp_path, calls)
    told = capsys.readouterr().err
    assert "'shift': made before, taken from" in told and "'map': trained before" in told
    assert len(calls) == 1
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
    facts = {f["stage"]: f for f in map(json.loads, (p.read_text() for p in tmp_path.glob("*/stage.json")))}  # fmt: skip
    assert facts["shift"]["numbers"] == 2 and facts["shift"]["identity"]["made"] == ["shift"]
    folder = tmp_path / facts["map"]["identity"]["before"]["shift"]
    assert torch.equal(load_file(folder / "weights.safetensors")["shift"], one.shift)
    # Made of something else, it is computed anew, and so is what reads it.
    run(tmp_path, calls, fingerprint={"q": 2})
    assert len(calls) == 2 and "before" not in capsys.readouterr().err
    assert len(list(tmp_path.glob("*/stage.json"))) == 4


def test_a_damaged_computation_is_made_again(tmp_path, capsys):
    calls = []
    one, _ = run(tmp_path, calls)
    (kept,) = (p.parent for p in tmp_path.glob("*/stage.json") if json.loads(p.read_text())["stage"] == "shift")  # fmt: skip
    kept = kept / "weights.safetensors"
    kept.write_bytes(kept.read_bytes()[:-3])
    two, _ = run(tmp_path, calls)
    assert len(calls) == 2 and "damaged" in capsys.readouterr().err
    assert torch.equal(one.shift, two.shift)


def test_a_computed_seed_of_its_own_is_shared_by_all_runs(tmp_path):
    calls = []
    for seed in (1, 2):
        Staged()._run(setup_in(tmp_path, seed=seed), model := Net(), [shifted(model, calls, seed=0)], "toy")  # fmt: skip
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("found", "error", "why"),
    [
        ({"shift": torch.tensor([1.0, math.nan])}, HarnessError, "a value of 'shift' is not finite"),
        ({"shift": torch.zeros(3)}, ValueError, r"'shift' should be \(2,\), computed is \(3,\)"),
        ({}, ValueError, "'shift' should be"),
        ({"shift": torch.zeros(2), "map.weight": torch.zeros(2, 3)}, ValueError, "'map.weight'"),
    ],
)  # fmt: skip
def test_what_is_computed_is_looked_at(found, error, why, tmp_path):
    model = Net()
    with pytest.raises(error, match=why):
        Staged()._run(setup_in(tmp_path), model, [shifted(model, [], compute=lambda: found)], "toy")
    assert not list(tmp_path.glob("*/stage.json")) and not model.shift.any()


def test_a_name_that_the_model_lacks_is_refused(tmp_path):
    model = Net()
    with pytest.raises(ValueError, match="stage 'shift' sets 'shifts', which the model lacks"):
        Staged()._run(setup_in(tmp_path), model, [shifted(model, [], made=("shifts",))], "toy")
