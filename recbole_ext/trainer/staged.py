"""The trainer of models that are made in stages, each of which is kept and shared by what determines it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import locked, write_atomically
from recbole_ext.core.progress import say
from recbole_ext.core.stage import Computed, Schedule, Stage
from recbole_ext.trainer.base import Report, Trainer
from recbole_ext.trainer.part import Part, read_tensors, write_tensors
from recbole_ext.trainer.setup import Fitted, Setup
from recbole_ext.trainer.training import StageTraining, freeze

if TYPE_CHECKING:
    import torch


class Staged(Trainer):
    """Trains, or computes, the stages that a model names in `stages()`, in order.

    Points of a search share the stages that are alike. A stage is kept in `<records>/.stages/<fingerprint>/` as `weights.safetensors`, with `stage.json` for the reader. One that is
    there is loaded and not made; one that was killed in its training goes on from its checkpoint, and ends as if it had not been.
    Every stage begins from its own seed, so that its result does not depend on whether those before it were made here.
    """

    def fit(
        self, setup: Setup, params: dict[str, Any], what: str, report: Report | None = None
    ) -> Fitted:
        """The model after its last stage."""
        model, bench = setup.build(params)
        epochs, before = self._run(setup, model, model.stages(), what)
        value = setup.validate(model, bench)
        total = sum(epochs.values())
        if report is not None:
            report(value, value, total)
        return Fitted(model, bench, value, total, epochs, before)

    def refit(self, setup: Setup, params: dict[str, Any], chosen: Fitted, what: str) -> Fitted:
        """Every stage for as many epochs as were best."""
        model, bench = setup.build(params)
        stages = [
            _for_epochs(stage, chosen.chosen[stage.name]) if isinstance(stage, Stage) else stage
            for stage in model.stages()
        ]
        epochs, before = self._run(setup, model, stages, f"{what} again")
        return Fitted(model, bench, chosen.value, sum(epochs.values()), epochs, before)

    def _run(
        self, setup: Setup, model: Any, stages: list[Stage | Computed], what: str
    ) -> tuple[dict[str, int], float]:
        """(Stage -> epochs of its weights, 0 where they are computed; seconds that stages had taken before)."""
        kept: dict[str, str] = {}
        epochs: dict[str, int] = {}
        before_this = 0.0
        for number, stage in enumerate(stages, 1):
            before = kept if stage.after is None else {name: kept[name] for name in stage.after}
            seed = setup.seed if stage.seed is None else stage.seed
            identity = _identity(setup, stage, seed, before)
            kept[stage.name] = _named(identity)
            folder = setup.stages / kept[stage.name]
            title = f"{what}, stage {number} of {len(stages)} '{stage.name}'"
            own_seed = int(_named({"seed": seed, "stage": stage.name})[:8], 16)
            part = Part(model, _names(stage), f"stage '{stage.name}'")
            with locked(setup.stages / ".locks" / f"{kept[stage.name]}.lock", title):
                begun = time.perf_counter()
                facts = _taken(part, folder, title)
                if facts is None:
                    going_on = folder / "checkpoint.safetensors"
                    if isinstance(stage, Stage):
                        facts = StageTraining(
                            model, part, stage, own_seed, title, setup.device
                        ).run(going_on)
                    else:
                        facts = computed(model, part, stage, own_seed, title)
                    _keep(part, facts, identity, folder)
                    going_on.unlink(missing_ok=True)
                spent = time.perf_counter() - begun
            epochs[stage.name] = int(facts["epochs"])
            before_this += max(0.0, float(facts.get("seconds", 0)) - spent)
        return epochs, before_this


def _for_epochs(stage: Stage, epochs: int) -> Stage:
    """The stage without validation; each of its steps has the learning rate that it had before."""
    schedule = stage.schedule and replace(
        stage.schedule, epochs=stage.schedule.epochs or stage.epochs
    )
    return replace(stage, epochs=epochs, schedule=schedule, validate=None, patience=None)


def _names(stage: Stage | Computed) -> tuple[str, ...]:
    """What of the model it sets."""
    return stage.trainable if isinstance(stage, Stage) else stage.made


def _identity(
    setup: Setup, stage: Stage | Computed, seed: int, before: Mapping[str, str]
) -> dict[str, Any]:
    """What determines the weights of a stage. What came later is named only where it is used: older stages keep their names."""
    found: dict[str, Any] = {
        "stage": stage.name,
        "seed": seed,
        "reads": dict(setup.fingerprints()),
        "before": dict(before),
    }
    if isinstance(stage, Computed):
        return found | {"made": list(stage.made), **stage.fingerprint}
    if stage.reads is not None:
        reads = {key: value for key, value in found["reads"].items() if key in stage.reads}
        found["reads"] = reads
    found |= {
        "trainable": list(stage.trainable),
        "epochs": stage.epochs,
        "learning_rate": stage.learning_rate,
        "weight_decay": stage.weight_decay,
        "betas": list(stage.betas),
        "unit_rows": list(stage.unit_rows),
        "clip": stage.clip,
        "patience": stage.patience,
        "validated": (stage.validated_by or str(setup.selection)) if stage.validate else None,
    }
    if stage.schedule not in (None, Schedule()):
        found["schedule"] = asdict(stage.schedule)
    if stage.accumulate != 1:
        found["accumulate"] = stage.accumulate
    return found | dict(stage.fingerprint)


def _named(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]


def _taken(part: Part, folder: Path, title: str) -> dict[str, Any] | None:
    """Put the weights that were made before into the model; None where there are none."""
    stored = read_tensors(folder / "weights.safetensors")
    if stored is None:
        return None
    tensors, facts = stored
    part.put(tensors)
    made = f"trained before ({facts['epochs']} epochs)" if facts["epochs"] else "made before"
    say(f"{title}: {made}, taken from {folder}")
    return facts


def _keep(part: Part, facts: Mapping[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    """Write the weights that are in the model now, and what made them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "weights.safetensors", part.copies(), facts)
    told = json.dumps({**facts, "identity": identity}, indent=1, sort_keys=True)
    write_atomically(folder / "stage.json", told + "\n")


def computed(model: Any, part: Part, stage: Computed, seed: int, title: str) -> dict[str, Any]:
    """Compute the weights of a stage into the model, and tell what was done.

    Raises:
        HarnessError: a value is no finite number.
        ValueError: there are other tensors than the stage says, or of other shapes.
    """
    import torch

    size = sum(value.numel() for value in part.weights.values())
    say(f"{title}: computes {size:,} numbers ({', '.join(stage.made)})")
    begun = time.monotonic()
    freeze(model)
    torch.manual_seed(seed)
    with torch.no_grad():
        tensors = stage.compute()
    _check_shapes(part, tensors, stage.name)
    wrong = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if wrong:
        raise HarnessError(f"{title}: a value of '{wrong[0]}' is not finite")
    part.put(tensors)
    seconds = time.monotonic() - begun
    say(f"{title}: computed in {seconds:.1f} s")
    return {"stage": stage.name, "epochs": 0, "seconds": round(seconds, 3), "numbers": size}


def _check_shapes(part: Part, tensors: Mapping[str, torch.Tensor], name: str) -> None:
    asked = {key: tuple(value.shape) for key, value in part.weights.items()}
    given = {key: tuple(value.shape) for key, value in tensors.items()}
    for key in sorted(asked.keys() | given.keys()):
        if asked.get(key) != given.get(key):
            raise ValueError(
                f"stage '{name}': '{key}' should be {asked.get(key)}, computed is {given.get(key)}"
            )
