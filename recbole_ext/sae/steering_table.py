"""What steering came to, as a table: points with intervals, what each system can reach at little cost, and a csv file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recbole_ext.core.files import write_atomically
from recbole_ext.evaluator.findings import Paired

MOST_LOSS = 0.05
"""Share of the personal NDCG at strength 0 that a concept lift may cost; ours."""
_COLUMNS = (
    "system", "alpha", "measure", "users", "mean", "low", "high", "change", "change_low", "change_high", "p",
)  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A mean over users."""

    mean: float
    low: float
    high: float
    """95% bootstrap interval."""
    users: int
    """That have the measure."""
    change: Paired | None
    """Against strength 0 of the same system; None there."""


@dataclass(frozen=True)
class Point:
    """One system at one strength."""

    system: str
    alpha: float
    values: Mapping[str, Value]
    """Measure -> value; see `steering_evaluation.measured`."""

    @property
    def lift(self) -> float:
        """Share of the list that carries the desired tag, less that at strength 0: a difference, which is there at 0 too."""
        change = self.values["tagged"].change
        return 0.0 if change is None else change.difference


@dataclass(frozen=True)
class Summary:
    """A system's whole curve."""

    system: str
    lift: float
    """The largest concept lift of a point whose personal NDCG is at least 1 - `MOST_LOSS` of that at strength 0."""
    alpha: float
    """Where; the smallest strength of equal ones."""
    area: float
    """Area of the points (x, y) for which some strength has a segment NDCG of at least x and a personal NDCG of at least y.
    The hypervolume above (0, 0) of Zitzler and Thiele 1999: it needs no curve that falls, and ends at the last strength."""


@dataclass(frozen=True)
class SteeringTable:
    """All points, by system and then by strength."""

    points: tuple[Point, ...]
    k: int
    """Length of the lists."""
    tag_from: str
    users: int
    left_out: int
    """Users with held-out items and no desired tag."""

    @property
    def systems(self) -> dict[str, list[Point]]:
        """System -> its points, strengths ascending."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.system, []).append(point)
        return found

    def summaries(self, most_loss: float = MOST_LOSS) -> list[Summary]:
        """One for each system."""
        return [_summary(name, points, most_loss) for name, points in self.systems.items()]

    def csv_text(self) -> str:
        """A row for each system, strength and measure; the changes against strength 0 are empty there."""
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(_COLUMNS)
        for point in self.points:
            for measure, value in point.values.items():
                numbers = [value.mean, value.low, value.high]
                if (change := value.change) is not None:
                    numbers += [change.difference, change.low, change.high, change.p]
                cells = [f"{number:.6g}" for number in numbers]
                cells += [""] * (7 - len(cells))
                name = f"{measure}@{self.k}"
                table.writerow([point.system, f"{point.alpha:g}", name, value.users, *cells])
        return out.getvalue()

    def to_csv(self, path: Path) -> None:
        """Write `csv_text`."""
        write_atomically(path, self.csv_text())


def _summary(name: str, points: list[Point], most_loss: float) -> Summary:
    floor = (1.0 - most_loss) * points[0].values["personal_ndcg"].mean
    cheap = [point for point in points if point.values["personal_ndcg"].mean >= floor]
    best = max(cheap, key=lambda point: point.lift)  # the first of equal ones
    return Summary(name, best.lift, best.alpha, _area(points))


def _area(points: list[Point]) -> float:
    """Of the union of the rectangles from (0, 0) to each (segment, personal)."""
    corners = sorted(
        (point.values["segment_ndcg"].mean, point.values["personal_ndcg"].mean) for point in points
    )
    area, high = 0.0, 0.0
    # From the right: a corner adds what stands out above those to its right.
    for x, y in reversed(corners):
        area += x * max(0.0, y - high)
        high = max(high, y)
    return area
