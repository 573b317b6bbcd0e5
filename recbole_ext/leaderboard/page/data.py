"""What the page of `board --html` holds: rows with every number of theirs, and what makes rows comparable.

Plain data, all that is needed to sort, filter and draw where no record is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Number = tuple[float, float | None, float | None]
"""Mean, and the ends of its 95% interval where there is one."""


@dataclass(frozen=True)
class Metric:
    """A metric of some protocol."""

    name: str
    heading: str
    smaller: bool
    """Smaller is better."""


@dataclass(frozen=True)
class Swap:
    """A pair of models that a drawn protocol turns round."""

    protocol: str
    metric: str
    first: int
    second: int
    """Places in `BoardPage.rows` of the better and the worse under full ranking."""
    full: float | None
    here: float | None
    """p of their difference under full ranking and here, after Holm; None where they were not compared."""


@dataclass(frozen=True)
class Place:
    """Data, a split and what is no candidate: rows of one place may be compared, others never."""

    key: str
    """Of an address."""
    dataset: str
    title: str
    facts: Mapping[str, str]
    """Sizes, filters, split, hashes."""
    apart: tuple[str, ...]
    """Drawn protocols under which its rows had different candidates: values, but no places."""
    orders: tuple[str, ...]
    """What the chart of places goes through: full ranking, then uniform draws, most negatives first."""
    headline: tuple[str, str] | None
    """Protocol and metric that order its rows."""
    swaps: tuple[Swap, ...]


@dataclass(frozen=True)
class PageRow:
    """A row of the board."""

    id: str
    """Of its first run."""
    place: int
    """Of `BoardPage.places`."""
    table: str
    """Heading of the table that it stands in."""
    main: bool
    """Its model's one row in a table of models; otherwise an ablation, a control or a repeat."""
    model: str
    label: str
    tags: tuple[str, ...]
    points: int | None
    """That tuning tried; None where nothing was tuned."""
    seeds: int
    seconds: float | None
    """Of tuning and one fit."""
    numbers: Mapping[str, tuple[Number | None, ...]]
    """Protocol -> a number for each of the protocol's metrics in `BoardPage.metrics`."""
    splits: Mapping[str, tuple[float, float, int]]
    """Metric of full ranking -> mean and deviation over random splits, and how many."""
    curve: tuple[tuple[int, float], ...]
    """Where the best validation score so far rises over the trials, and the last trial."""
    validation: tuple[str, float | None]
    """What selected it."""
    params: Mapping[str, Any]
    """Of the model that was tested."""
    text: Mapping[str, Any]
    terms: Mapping[str, str]
    """What the row was made under (`alike.terms`): rows differ in the model alone if they agree in every term that both have."""
    read: Mapping[str, str]
    """Hashes of what was read beside data and split, and of candidate lists."""
    cost: Mapping[str, float]
    """Mean over seeds."""
    runs: tuple[str, ...]
    elsewhere: tuple[str, ...]
    """Runs of the same model's rows on the other random splits."""
    remarks: tuple[str, ...]
    environment: str
    command: str
    notes: tuple[str, ...]
    """What the command does not say itself."""


@dataclass(frozen=True)
class BoardPage:
    """A whole page."""

    records: int
    tags: Mapping[str, str]
    """Tag -> what it says."""
    protocols: Mapping[str, str]
    """Name -> what it means, in the order in which they are offered."""
    metrics: Mapping[str, tuple[Metric, ...]]
    places: tuple[Place, ...]
    rows: tuple[PageRow, ...]
    opened: int
    """The place that is seen first."""
