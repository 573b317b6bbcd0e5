"""One training among several that make up a model, as the model describes it; `trainer/staged.py` carries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Loader(Protocol):
    """The batches of an epoch. What is random about them is drawn by the generator, so that a resumed epoch is the same."""

    def __len__(self) -> int: ...

    def __call__(self, generator: torch.Generator) -> Iterable[Any]: ...


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
    validate: Callable[[], float] | None = None
    """After each epoch, larger is better: the best epoch's weights are kept. None keeps the last."""
    patience: int | None = None
    """Validations in a row without a better one that end the stage."""
    after: tuple[str, ...] | None = None
    """Earlier stages that it reads; None for all of them. A stage that reads none is shared by models that have it."""
    seed: int | None = None
    """None for the run's: a stage with a seed of its own is shared by runs of all seeds."""
    rows: Callable[[Any], int] = field(default=len)
    """Of a batch."""
