"""The trainer of models that are trained in stages, each of which is kept and shared by what determines it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import locked, write_atomically
from recbole_ext.core.progress import progress, say
from recbole_ext.core.stage import Stage
from recbole_ext.trainer.base import Report, Trainer
from recbole_ext.trainer.setup import Fitted, Setup

if TYPE_CHECKING:
    import torch

SAVED_EVERY = 180.0
"""Seconds between checkpoints within a stage."""
_ESTIMATED_AFTER = 10.0
"""Seconds of training after which the rest can be estimated."""


class Staged(Trainer):
    """Trains the stages that a model names in `stages()`, in order.

    Points of a search share the stages that are alike. A stage is kept in `<records>/.stages/<fingerprint>/` as `weights.safetensors`, with `stage.json` for the reader. One that is
    there is loaded and not trained; one that was killed goes on from its checkpoint, and ends as if it had not been.
    Every stage begins from its own seed, so that its result does not depend on whether those before it were trained here.
    """

    def fit(
        self, setup: Setup, params: dict[str, Any], what: str, report: Report | None = None
    ) -> Fitted:
        """The model after its last stage."""
        model, bench = setup.build(params)
        epochs = self._run(setup, model, model.stages(), what)
        value = setup.validate(model, bench)
        total = sum(epochs.values())
        if report is not None:
            report(value, value, total)
        return Fitted(model, bench, value, total, epochs)

    def refit(self, setup: Setup, params: dict[str, Any], chosen: Fitted, what: str) -> Fitted:
        """Every stage for as many epochs as were best."""
        model, bench = setup.build(params)
        stages = [
            replace(stage, epochs=chosen.chosen[stage.name], validate=None, patience=None)
            for stage in model.stages()
        ]
        epochs = self._run(setup, model, stages, f"{what} again")
        return Fitted(model, bench, chosen.value, sum(epochs.values()), epochs)

    def _run(self, setup: Setup, model: Any, stages: list[Stage], what: str) -> dict[str, int]:
        """Stage -> epochs of its weights."""
        kept: dict[str, str] = {}
        epochs: dict[str, int] = {}
        for number, stage in enumerate(stages, 1):
            before = kept if stage.after is None else {name: kept[name] for name in stage.after}
            seed = setup.seed if stage.seed is None else stage.seed
            identity = _identity(setup, stage, seed, before)
            kept[stage.name] = _named(identity)
            folder = setup.stages / kept[stage.name]
            title = f"{what}, stage {number} of {len(stages)} '{stage.name}'"
            with locked(setup.stages / ".locks" / f"{kept[stage.name]}.lock", title):
                training = _Training(model, stage, seed, folder, title, setup.device)
                epochs[stage.name] = training.run(identity)
        return epochs


def _identity(setup: Setup, stage: Stage, seed: int, before: Mapping[str, str]) -> dict[str, Any]:
    """What determines the weights of a stage."""
    return {
        "stage": stage.name,
        "trainable": list(stage.trainable),
        "epochs": stage.epochs,
        "learning_rate": stage.learning_rate,
        "weight_decay": stage.weight_decay,
        "betas": list(stage.betas),
        "unit_rows": list(stage.unit_rows),
        "clip": stage.clip,
        "patience": stage.patience,
        "validated": str(setup.selection) if stage.validate else None,
        "seed": seed,
        "reads": dict(setup.fingerprints()),
        "before": dict(before),
        **stage.fingerprint,
    }


def _named(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]


class _Training:
    """One stage, from whatever of it is on disk to its weights in the model."""

    def __init__(
        self, model: Any, stage: Stage, seed: int, folder: Path, title: str, device: str
    ) -> None:
        self.model, self.stage, self.folder, self.title = model, stage, folder, title
        self.device = device
        self.seed = int(_named({"seed": seed, "stage": stage.name})[:8], 16)
        self.weights = {
            name: value
            for name, value in model.state_dict(keep_vars=True).items()
            if any(name == part or name.startswith(f"{part}.") for part in stage.trainable)
        }
        lacking = [
            part
            for part in stage.trainable
            if not any(name == part or name.startswith(f"{part}.") for name in self.weights)
        ]
        if lacking:
            raise ValueError(f"stage '{stage.name}' trains '{lacking[0]}', which the model lacks")
        self.best, self.best_epoch = -math.inf, 0
        self.best_weights: dict[str, torch.Tensor] = {}

    def run(self, identity: Mapping[str, Any]) -> int:
        """Epochs that were trained, here or before."""
        done, going_on = self.folder / "weights.safetensors", self.folder / "checkpoint.safetensors"
        stored = _read(done)
        if stored is not None:
            tensors, facts = stored
            self._put(tensors)
            say(
                f"{self.title}: trained before ({facts['epochs']} epochs), taken from {self.folder}"
            )
            return int(facts["epochs"])
        facts = self._train(going_on)
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(done, self._copies(), facts)
        told = json.dumps({**facts, "identity": identity}, indent=1, sort_keys=True)
        write_atomically(self.folder / "stage.json", told + "\n")
        going_on.unlink(missing_ok=True)
        return int(facts["epochs"])

    def _train(self, checkpoint: Path) -> dict[str, Any]:
        import torch

        stage, trained = self.stage, self._freeze()
        optimiser = torch.optim.AdamW(
            trained, lr=stage.learning_rate, betas=stage.betas, weight_decay=stage.weight_decay
        )
        unit = [self.weights[name] for name in stage.unit_rows]
        torch.manual_seed(self.seed)
        epoch, step, seconds, rows, scores = self._resume(checkpoint, optimiser)
        total = stage.epochs * len(stage.loader)
        every = sum(p.numel() for p in self.model.parameters())
        say(
            f"{self.title}: trains {sum(p.numel() for p in trained):,} of {every:,} parameters "
            f"({', '.join(stage.trainable)}), {stage.epochs} epochs of {len(stage.loader):,} batches"
        )
        begun = saved = time.monotonic()
        here, steps, estimated = 0, 0, False
        with progress(self.title, total) as advance:
            advance(epoch * len(stage.loader) + step)
            while epoch < stage.epochs and not self._over(scores):
                generator = torch.Generator().manual_seed(self.seed + 1 + epoch)
                for place, batch in enumerate(stage.loader(generator)):
                    if place < step:
                        continue
                    loss = stage.loss(batch)
                    if not math.isfinite(value := float(loss.detach())):
                        raise HarnessError(
                            f"{self.title}: the training loss is {value}; lower the learning rate"
                        )
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    if stage.clip is not None:
                        torch.nn.utils.clip_grad_norm_(trained, stage.clip)
                    _along_the_sphere(unit)
                    optimiser.step()
                    _to_unit_rows(unit)
                    step, steps = step + 1, steps + 1
                    here += stage.rows(batch)
                    spent = time.monotonic() - begun
                    speed = here / max(spent, 1e-9)
                    advance(1, f"loss {value:.4f}, {speed:,.0f} rows a second")
                    if not estimated and spent > _ESTIMATED_AFTER:
                        estimated = True
                        left = (total - epoch * len(stage.loader) - step) * spent / steps
                        say(f"{self.title}: {speed:,.0f} rows a second, about {_spoken(left)} left")
                    if time.monotonic() - saved > SAVED_EVERY:
                        so_far = (epoch, step, seconds + spent, rows + here, scores)
                        self._save(checkpoint, optimiser, *so_far)
                        saved = time.monotonic()
                epoch, step = epoch + 1, 0
                if stage.validate is not None:
                    scores.append(self._validated(epoch))
        if self.best_weights:
            self._put(self.best_weights)
        self._eval()
        return {
            "stage": stage.name,
            "epochs": self.best_epoch or epoch,
            "validations": scores,
            "rows": rows + here,
            "seconds": round(seconds + time.monotonic() - begun, 3),
            "parameters": sum(p.numel() for p in trained),
        }

    def _freeze(self) -> list[torch.nn.Parameter]:
        """Parameters to be trained; nothing else takes a gradient, drops units or counts batches."""
        import torch

        self._eval()
        for module in (dict(self.model.named_modules()).get(p) for p in self.stage.trainable):
            if module is not None:
                module.train()
        trained = [v for v in self.weights.values() if isinstance(v, torch.nn.Parameter)]
        for parameter in trained:
            parameter.requires_grad_(True)
        return trained

    def _eval(self) -> None:
        self.model.eval()
        self.model.requires_grad_(False)

    def _validated(self, epoch: int) -> float:
        """The score after an epoch; random numbers go on as if it had not been asked for."""
        import torch

        assert self.stage.validate is not None
        before = torch.get_rng_state()
        self.model.eval()
        with torch.no_grad():
            score = float(self.stage.validate())
        self._freeze()
        torch.set_rng_state(before)
        if score > self.best:
            self.best, self.best_epoch, self.best_weights = score, epoch, self._copies()
        return score

    def _over(self, scores: list[float]) -> bool:
        patience = self.stage.patience
        return patience is not None and len(scores) - self.best_epoch >= patience and bool(scores)

    def _copies(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.weights.items()}

    def _put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(tensors[name])

    def _save(
        self,
        path: Path,
        optimiser: torch.optim.Optimizer,
        epoch: int,
        step: int,
        seconds: float,
        rows: int,
        scores: list[float],
    ) -> None:
        """All that the rest of the stage depends on."""
        import torch

        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {f"weights/{name}": value for name, value in self._copies().items()}
        tensors |= {f"best/{name}": value for name, value in self.best_weights.items()}
        for place, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{place}/{key}": v.detach().cpu() for key, v in state.items()}
        tensors["random/cpu"] = torch.get_rng_state()
        if self.device == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        facts = {
            "epoch": epoch,
            "step": step,
            "seconds": seconds,
            "rows": rows,
            "scores": scores,
            "best": self.best if self.best_weights else None,
            "best_epoch": self.best_epoch,
        }
        _write(path, tensors, facts)

    def _resume(
        self, path: Path, optimiser: torch.optim.Optimizer
    ) -> tuple[int, int, float, int, list[float]]:
        """(Epochs, steps of the next one, seconds, rows, validations) so far, all else put back as it was."""
        import torch

        stored = _read(path)
        if stored is None:
            return 0, 0, 0.0, 0, []
        tensors, facts = stored
        self._put(_under("weights/", tensors))
        self.best_weights = _under("best/", tensors)
        if facts["best"] is not None:
            self.best = facts["best"]
        self.best_epoch = facts["best_epoch"]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _under("optimiser/", tensors).items():
            place, _, key = name.partition("/")
            state.setdefault(int(place), {})[key] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["random/cpu"])
        if self.device == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"])
        say(f"{self.title}: goes on after {facts['epoch']} epochs and {facts['step']:,} batches")
        return facts["epoch"], facts["step"], facts["seconds"], facts["rows"], facts["scores"]


def _along_the_sphere(matrices: list[torch.Tensor]) -> None:
    """Remove from each gradient what only changes the length of a row."""
    for matrix in matrices:
        if matrix.grad is not None:
            unit, gradient = matrix.detach(), matrix.grad
            gradient.sub_((gradient * unit).sum(1, keepdim=True) * unit)


def _to_unit_rows(matrices: list[torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for matrix in matrices:
            matrix.div_(matrix.norm(dim=1, keepdim=True).clamp_min(1e-12))


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _write(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    from safetensors.torch import save

    alone = {name: value.contiguous().clone() for name, value in tensors.items()}
    write_atomically(path, save(alone, metadata={"facts": json.dumps(facts)}))


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and what is told with them; None where there is no such file. One that is damaged is set aside."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            return tensors, json.loads(stored.metadata()["facts"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        path.replace(path.with_suffix(".corrupt"))
        say(f"{path}: damaged ({' '.join(str(error).split())[:120]}); set aside, trained again")
        return None


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
