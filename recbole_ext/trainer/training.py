"""The training of one stage: its loop, and the checkpoints from which it goes on as if it had not been stopped."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.progress import progress, say
from recbole_ext.core.stage import Stage
from recbole_ext.trainer.part import Part, read_tensors, write_tensors

if TYPE_CHECKING:
    import torch

SAVED_EVERY = 180.0
"""Seconds between checkpoints within a stage."""
_ESTIMATED_AFTER = 10.0
"""Seconds of training after which the rest can be estimated."""


class StageTraining:
    """One stage, from its checkpoint or its start to its weights in the model."""

    def __init__(
        self, model: Any, part: Part, stage: Stage, seed: int, title: str, device: str
    ) -> None:
        """A training that has not begun.

        Args:
            model: that has the weights.
            part: what is trained.
            stage: how.
            seed: of all that is random in it.
            title: begins what is said.
            device: of the model.
        """
        self.model, self.part, self.stage, self.title = model, part, stage, title
        self.seed, self.device = seed, device
        self.best, self.best_epoch = -math.inf, 0
        self.best_weights: dict[str, torch.Tensor] = {}
        """On the model's device: nothing is brought from it after an epoch."""
        self.scores: list[float] = []
        """Of each validation."""
        self.epoch, self.batch = 0, 0
        """What is done: whole epochs, and batches of the next one."""
        self.rows, self.seconds = 0, 0.0
        """Of earlier processes, and of this one up to the last checkpoint or the end."""
        of = dict(model.named_modules())
        self.modules = [of[name] for name in stage.trainable if name in of]

    def run(self, checkpoint: Path) -> dict[str, Any]:
        """Train, and tell what was done; the model is frozen after it."""
        import torch

        stage, trained = self.stage, self._thaw()
        optimiser = torch.optim.AdamW(
            trained,
            lr=stage.learning_rate,
            betas=stage.betas,
            weight_decay=stage.weight_decay,
            fused=True,
        )
        torch.manual_seed(self.seed)
        self._resume(checkpoint, optimiser)
        self._introduce(trained)
        clock = _Clock(self)
        with progress(self.title, clock.total) as advance:
            advance(self.epoch * len(stage.loader) + self.batch)
            while self.epoch < stage.epochs and not self._over():
                generator = torch.Generator().manual_seed(self.seed + 1 + self.epoch)
                batches = itertools.islice(stage.loader(generator), self.batch, None)
                for group in _groups(batches, stage.accumulate):
                    loss, rows = self._step(group, trained, optimiser)
                    self.batch += len(group)
                    clock.count(len(group), rows)
                    advance(len(group), f"loss {loss:.4f}, {clock.speed:,.0f} rows a second")
                    clock.estimate()
                    if clock.due():
                        self._save(checkpoint, optimiser)
                self.epoch, self.batch = self.epoch + 1, 0
                if stage.validate is not None:
                    self._validate(stage.validate)
        if self.best_weights:
            self.part.put(self.best_weights)
        freeze(self.model)
        clock.stop()
        return {
            "stage": stage.name,
            "epochs": self.best_epoch or self.epoch,
            "validations": self.scores,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "parameters": sum(p.numel() for p in trained),
        }

    def _thaw(self) -> list[torch.nn.Parameter]:
        """Parameters to be trained; nothing else takes a gradient, drops units or counts batches."""
        import torch

        freeze(self.model)
        for module in self.modules:
            module.train()
        trained = [v for v in self.part.weights.values() if isinstance(v, torch.nn.Parameter)]
        for parameter in trained:
            parameter.requires_grad_(True)
        return trained

    def _introduce(self, trained: list[torch.nn.Parameter]) -> None:
        stage = self.stage
        every = sum(p.numel() for p in self.model.parameters())
        every += int(getattr(self.model, "frozen_parameters", 0))
        steps = f", a step for each {stage.accumulate}" if stage.accumulate != 1 else ""
        say(
            f"{self.title}: trains {sum(p.numel() for p in trained):,} of {every:,} parameters "
            f"({', '.join(stage.trainable)}), {stage.epochs} epochs of {len(stage.loader):,} batches{steps}"
        )

    def _step(
        self, group: list[Any], trained: list[torch.nn.Parameter], optimiser: torch.optim.Optimizer
    ) -> tuple[float, int]:
        """One step on the mean over the rows of all batches of a group: (that loss, those rows)."""
        import torch

        stage = self.stage
        sizes, mean = [stage.rows(batch) for batch in group], 0.0
        optimiser.zero_grad(set_to_none=True)
        for batch, size in zip(group, sizes, strict=True):
            loss: torch.Tensor = stage.loss(batch)
            if not math.isfinite(value := float(loss.detach())):
                raise HarnessError(
                    f"{self.title}: the training loss is {value}; lower the learning rate"
                )
            if len(group) > 1:
                loss, value = loss * (size / sum(sizes)), value * (size / sum(sizes))
            mean += value
            loss.backward()  # type: ignore[no-untyped-call]
        if stage.clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, stage.clip)
        unit = [self.part.weights[name] for name in stage.unit_rows]
        _along_the_sphere(unit)
        self._set_rate(optimiser)
        optimiser.step()
        _to_unit_rows(unit)
        return mean, sum(sizes)

    def _set_rate(self, optimiser: torch.optim.Optimizer) -> None:
        """The rate of the step that is about to be made, which follows from its number alone."""
        stage = self.stage
        if stage.schedule is None:
            return
        an_epoch = -(-len(stage.loader) // stage.accumulate)
        step = self.epoch * an_epoch + self.batch // stage.accumulate
        share = stage.schedule.share(step, (stage.schedule.epochs or stage.epochs) * an_epoch)
        for group in optimiser.param_groups:
            group["lr"] = stage.learning_rate * share

    def _validate(self, validate: Any) -> None:
        """The score after an epoch; random numbers go on as if it had not been asked for."""
        import torch

        before = self._random()
        self.model.eval()
        with torch.no_grad():
            score = float(validate())
        # What takes a gradient has not changed: of a model of many modules that is not worth a walk through all.
        for module in self.modules:
            module.train()
        self._set_random(before)
        self.scores.append(score)
        if score > self.best:
            self.best, self.best_epoch = score, self.epoch
            self.best_weights = self.part.clones()

    def _over(self) -> bool:
        patience, scores = self.stage.patience, self.scores
        return patience is not None and len(scores) - self.best_epoch >= patience and bool(scores)

    @property
    def _on_cuda(self) -> bool:
        return self.device.partition(":")[0] == "cuda"

    def _random(self) -> dict[str, torch.Tensor]:
        """Where torch's random numbers are."""
        import torch

        found = {"cpu": torch.get_rng_state()}
        if self._on_cuda:
            found["cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def _set_random(self, state: Mapping[str, torch.Tensor]) -> None:
        import torch

        torch.set_rng_state(state["cpu"])
        # A stage that was begun on a CPU knows nothing of a GPU's.
        if self._on_cuda and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def _save(self, path: Path, optimiser: torch.optim.Optimizer) -> None:
        """All that the rest of the stage depends on; between two steps, so that no gradient is half made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {f"weights/{name}": value for name, value in self.part.copies().items()}
        tensors |= {f"best/{name}": value.cpu() for name, value in self.best_weights.items()}
        for place, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{place}/{key}": v.detach().cpu() for key, v in state.items()}
        tensors |= {f"random/{name}": value for name, value in self._random().items()}
        facts = {
            "epoch": self.epoch,
            "step": self.batch,
            "seconds": self.seconds,
            "rows": self.rows,
            "scores": self.scores,
            "best": self.best if self.best_weights else None,
            "best_epoch": self.best_epoch,
        }
        write_tensors(path, tensors, facts)

    def _resume(self, path: Path, optimiser: torch.optim.Optimizer) -> None:
        """Put everything back as it was at a checkpoint, where there is one."""
        stored = read_tensors(path)
        if stored is None:
            return
        tensors, facts = stored
        self.part.put(_under("weights/", tensors))
        self.best_weights = _under("best/", tensors)
        if facts["best"] is not None:
            self.best = facts["best"]
        self.best_epoch = facts["best_epoch"]
        self.epoch, self.batch, self.scores = facts["epoch"], facts["step"], facts["scores"]
        self.seconds, self.rows = facts["seconds"], facts["rows"]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _under("optimiser/", tensors).items():
            place, _, key = name.partition("/")
            state.setdefault(int(place), {})[key] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
        self._set_random(_under("random/", tensors))
        say(f"{self.title}: goes on after {self.epoch} epochs and {self.batch:,} batches")


class _Clock:
    """Counts the rows and seconds of this process, and adds them to those of a training."""

    def __init__(self, training: StageTraining) -> None:
        self.training, loader = training, training.stage.loader
        self.total = training.stage.epochs * len(loader)
        """Batches of the whole stage."""
        self.left = self.total - training.epoch * len(loader) - training.batch
        self.batches = self.rows = 0
        self.before = training.rows, training.seconds
        self.begun = self.saved = time.monotonic()
        self.estimated = False

    def count(self, batches: int, rows: int) -> None:
        """Batches of one step, and their rows."""
        self.batches += batches
        self.rows += rows
        self.left -= batches

    @property
    def spent(self) -> float:
        return time.monotonic() - self.begun

    @property
    def speed(self) -> float:
        """Rows a second."""
        return self.rows / max(self.spent, 1e-9)

    def estimate(self) -> None:
        """Say once, when it can be told, how long the rest takes."""
        if self.estimated or self.spent <= _ESTIMATED_AFTER:
            return
        self.estimated = True
        left = _spoken(self.left * self.spent / self.batches)
        say(f"{self.training.title}: {self.speed:,.0f} rows a second, about {left} left")

    def due(self) -> bool:
        """Whether it is time for a checkpoint; the training's totals are up to date then."""
        if time.monotonic() - self.saved <= SAVED_EVERY:
            return False
        self.saved = time.monotonic()
        self.stop()
        return True

    def stop(self) -> None:
        """Bring the training's totals up to date."""
        rows, seconds = self.before
        self.training.rows, self.training.seconds = rows + self.rows, seconds + self.spent


def freeze(model: Any) -> None:
    """Nothing of the model takes a gradient, drops units or counts batches."""
    model.eval()
    model.requires_grad_(False)


def _groups(batches: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """The batches of each step; the last group of an epoch may be smaller."""
    while group := list(itertools.islice(batches, size)):
        yield group


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


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
