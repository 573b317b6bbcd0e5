"""One training, or computation, among several that make up a model, as the model describes it; `trainer/staged.py` carries it out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch


class Loader(Protocol):
    """The batches of an epoch. What is random about them is drawn by the generator, so that a resumed epoch is the same."""

    def __len__(self) -> int: ...

    def __call__(self, generator: torch.Generator) -> Iterable[Any]: ...


@dataclass(frozen=True)
class Schedule:
    """How the learning rate of a stage moves from step to step."""

    warmup: int | float = 0
    """Steps in which it rises in a line from nothing, the last of them being at the full rate; a float is a share of all, from 0 to
    1."""
    decay: Literal["constant", "cosine"] = "constant"
    """What follows: nothing, or half a cosine from the full rate, which would be at `floor` in the step after the last."""
    floor: float = 0.0
    """Share of the full rate."""
    epochs: int | None = None
    """Over which it is laid out; None for those of the stage. A stage that is trained again for fewer keeps those of the first time."""

    def __post_init__(self) -> None:
        share = isinstance(self.warmup, float)
        if self.warmup < 0 or (share and self.warmup > 1):
            raise ValueError(f"warmup={self.warmup}: steps from 0, or a share from 0 to 1")
        if self.decay not in ("constant", "cosine"):
            raise ValueError(f"decay='{self.decay}': constant or cosine")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor={self.floor}: a share from 0 to 1")

    def share(self, step: int, steps: int) -> float:
        """Of the full rate at a step.

        Args:
            step: counted from 0.
            steps: of the whole stage; later ones stay where the last would lead.
        """
        warmup = int(self.warmup * steps) if isinstance(self.warmup, float) else self.warmup
        if step < warmup:
            return (step + 1) / warmup
        if self.decay == "constant":
            return 1.0
        gone = min(1.0, (step - warmup) / max(1, steps - warmup))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * gone)) / 2


@dataclass(frozen=True)
class Stage:
    """One training among several that make up a model."""

    name: str
    trainable: tuple[str, ...]
    """Modules or parameters of the model that are trained and kept; all others are frozen, and in evaluation mode."""
    loader: Loader
    loss: Callable[[Any], torch.Tensor]
    """Mean over the rows of a batch. What is random in it is torch's."""
    fingerprint: Mapping[str, Any]
    """JSON of what it depends on beside the seed, what is read, the stages before and the fields here."""
    epochs: int
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam."""
    unit_rows: tuple[str, ...] = ()
    """Matrices among the trainable whose rows stay of length 1: the part of their gradient along the row is removed before each step
    of Adam, and the rows are brought back to length 1 after it."""
    clip: float | None = None
    """Largest norm of the gradient."""
    reads: tuple[str, ...] | None = None
    """What it depends on of all that the run reads, by the names of its fingerprints (`data`, `split`, `text`, ..); None for everything. One
    that does not read text is shared with models that have no text."""
    schedule: Schedule | None = None
    """None keeps the rate as it is."""
    accumulate: int = 1
    """Batches that make one step: its gradient is the mean over all their rows. The last step of an epoch may have fewer."""
    validate: Callable[[], float] | None = None
    """After each epoch, larger is better: the best epoch's weights are kept. None keeps the last."""
    validated_by: str | None = None
    """What `validate` measures, as a `Selection` is written; None where it is what the run is selected by."""
    patience: int | None = None
    """Validations in a row without a better one that end the stage."""
    after: tuple[str, ...] | None = None
    """Earlier stages that it reads; None for all of them. A stage that reads none is shared by models that have it."""
    seed: int | None = None
    """None for the run's: a stage with a seed of its own is shared by runs of all seeds."""
    rows: Callable[[Any], int] = field(default=len)
    """Of a batch."""


@dataclass(frozen=True)
class Computed:
    """Weights of a model that are computed, not trained, between its trainings; kept and shared like those that are."""

    name: str
    made: tuple[str, ...]
    """Modules, parameters or buffers of the model that it sets."""
    compute: Callable[[], Mapping[str, torch.Tensor]]
    """Their tensors by the names of the model's `state_dict`, each of its shape. Called without gradients, the model being in evaluation
    mode; what is random in it is torch's."""
    fingerprint: Mapping[str, Any]
    """JSON of what it depends on beside the seed, what is read and the stages before."""
    after: tuple[str, ...] | None = None
    """As of a `Stage`."""
    seed: int | None = None
    """As of a `Stage`."""
