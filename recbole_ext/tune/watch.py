"""A sweep while it runs: a live table in a terminal, a line now and then elsewhere, and curves for TensorBoard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.core.progress import progress
from recbole_ext.tune.search import Asked, Point, Trial, axes

if TYPE_CHECKING:
    from rich.console import Group

_ROWS = 12
"""Of the table: what runs, then the best."""


@dataclass(frozen=True)
class Event:
    """What happened to one worker's trials: they began, were validated, or are over."""

    worker: str
    points: Sequence[Point]
    trials: Sequence[Trial] = ()
    curve: Sequence[tuple[int, float]] = ()
    """(Epochs, score) of the validations since the last event."""
    over: bool = False


Tell = Callable[[Event], None]


@contextmanager
def watching(what: str, metric: str, asked: Asked, curves: Path) -> Iterator[Tell]:
    """Yields a function that is told of every event of a stage.

    Args:
        what: heads the table.
        metric: that trials are compared by.
        asked: the stage.
        curves: folder of the TensorBoard files.
    """
    board, writers = Board(what, metric, asked), Curves(curves, metric, asked)

    def take(event: Event) -> None:
        board.add(event)
        writers.add(event)

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(get_renderable=board.render, console=Console(stderr=True), refresh_per_second=2):
            yield take
        return
    with progress(what, asked.count) as advance:

        def line(event: Event) -> None:
            take(event)
            if event.over:
                advance(len(event.trials), board.best())

        yield line


@dataclass
class Board:
    """What is known of a stage at this moment."""

    what: str
    metric: str
    asked: Asked
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.running: dict[str, tuple[float, Sequence[Point], Trial | None]] = {}
        self.over: list[Trial] = []
        self.keys = list(axes(self.asked.points))

    def add(self, event: Event) -> None:
        """Take an event in."""
        if event.over:
            self.running.pop(event.worker, None)
            self.over += event.trials
            return
        begun = self.running.get(event.worker, (time.monotonic(), (), None))[0]
        last = event.trials[0] if len(event.trials) == 1 else None
        self.running[event.worker] = (begun, event.points, last)

    def best(self) -> str:
        """The best so far in words."""
        scored = [t for t in [*self.asked.known, *self.over] if t.value is not None]
        if not scored:
            return ""
        best = max(scored, key=lambda trial: trial.value or 0.0)
        return f"best {self.metric} {best.value:.4f} at {self.named(best.point)}"

    def named(self, point: Point) -> str:
        """A point by the keys that vary."""
        return ", ".join(f"{key}={point[key]}" for key in self.keys)

    def headline(self) -> str:
        """Trials made, time left at the pace so far, the best."""
        done, spent = len(self.over), time.monotonic() - self.began
        words = [f"{self.what}: {done} of {self.asked.count} trials"]
        if self.asked.known:
            words[0] += f" ({len(self.asked.known)} known before)"
        if 0 < done < self.asked.count:
            words.append(f"about {_span(spent / done * (self.asked.count - done))} left")
        return ", ".join([*words, *filter(None, [self.best()])])

    def render(self) -> Group:
        """As a terminal shows it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for name in (*self.keys, "epochs", "seconds", self.metric, ""):
            table.add_column(name, justify="left" if name in self.keys else "right")
        for cells in self.rows():
            table.add_row(*cells)
        return Group(Text(self.headline()), table)

    def rows(self) -> list[list[str]]:
        """Cells of the table: what runs first, then what is over, the best first and failures last."""
        found = []
        for begun, points, last in self.running.values():
            found.append(self._row(points, last, time.monotonic() - begun, "running"))
        ended = sorted(self.over, key=lambda t: (t.value is None, -(t.value or 0.0)))
        for trial in ended[: max(0, _ROWS - len(found))]:
            found.append(self._row([trial.point], trial, trial.seconds, trial.error or "over"))
        return found

    def _row(
        self, points: Sequence[Point], trial: Trial | None, seconds: float, state: str
    ) -> list[str]:
        if len(points) == 1:
            cells = [str(points[0][key]) for key in self.keys]
        else:  # a family of points shares one trial
            cells = [f"{len({str(p[key]) for p in points})} values" for key in self.keys]
        epochs = "" if trial is None or trial.epochs is None else str(trial.epochs)
        value = "" if trial is None or trial.value is None else f"{trial.value:.4f}"
        return [*cells, epochs, f"{seconds:.0f}", value, state]


@dataclass
class Curves:
    """Validation scores by epoch, a TensorBoard run for each trial, named by its point."""

    folder: Path
    metric: str
    asked: Asked

    def __post_init__(self) -> None:
        self.keys = list(axes(self.asked.points))
        self.open: dict[str, Any] = {}

    def add(self, event: Event) -> None:
        """Write a validation; close what is over."""
        if event.curve and event.worker not in self.open:
            from torch.utils.tensorboard import SummaryWriter

            name = ",".join(f"{key}={event.points[0][key]}" for key in self.keys)
            safe = "".join(c if c.isalnum() or c in "=.,_-" else "_" for c in name)
            self.open[event.worker] = SummaryWriter(str(self.folder / (safe[:150] or "trial")))
        for epochs, score in event.curve:
            self.open[event.worker].add_scalar(f"validation/{self.metric}", score, epochs)
        if event.over and event.worker in self.open:
            self.open.pop(event.worker).close()


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
