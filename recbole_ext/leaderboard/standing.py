"""Models over datasets: what a first page says of each, and of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from recbole_ext.leaderboard.across import over_datasets
from recbole_ext.leaderboard.analysis import Analysis, Verdicts, verdicts
from recbole_ext.leaderboard.family import tags_over
from recbole_ext.leaderboard.groups import Group, restricted
from recbole_ext.leaderboard.plots import seconds
from recbole_ext.leaderboard.rows import HEADLINE, Row, Section
from recbole_ext.leaderboard.standings import COMPARED, standings

METRIC = HEADLINE[1]
MOVED = ("uni100", "uni19")


@dataclass(frozen=True)
class Field:
    """The one group of a dataset that the first page looks at."""

    group: Group
    section: Section
    """Its models."""
    found: Verdicts
    """How they differ, as the dataset's page has it."""

    def differs(self, one: Row, two: Row) -> float | None:
        """p of their difference in the headline, after Holm; None where they were not compared."""
        tested = self.found.get((one.label, METRIC), {}).get(two.label)
        return None if tested is None else tested.p

    def wins(self, one: Row, two: Row) -> bool:
        tested = self.found.get((one.label, METRIC), {}).get(two.label)
        return tested is not None and tested.wins


@dataclass(frozen=True)
class Standing:
    """A model over all datasets."""

    model: str
    rows: dict[str, Row]
    """Dataset -> its row."""
    tags: tuple[str, ...]
    mean: float | None
    """Mean place among the models of the largest table that all stand in; None outside of it."""
    wins: int
    ties: int
    losses: int
    seconds: float | None
    """Of tuning and one training, mean over datasets."""
    moved: dict[str, float]
    """Protocol -> places that it wins (or loses) on average."""
    place: float
    """Mean over datasets of its place as a share of the models there: orders those without a mean place."""

    @property
    def tested(self) -> int:
        return self.wins + self.ties + self.losses


def fields(groups: Sequence[Group], known: Analysis) -> list[Field]:
    """Of each dataset the group with most models under full ranking, of several the first."""
    best: dict[str, Group] = {}
    for group in groups:
        main = group.main
        if main is None or main.headline != HEADLINE or group.unseen_users:
            continue
        other = best.get(group.dataset)
        if other is None or other.main is None or len(main.rows) > len(other.main.rows):
            best[group.dataset] = group
    out = []
    for group in best.values():
        assert group.main is not None
        out.append(Field(group, group.main, verdicts(group.main, known)))
    return out


def models_over(fields: Sequence[Field]) -> list[Standing]:
    """Best mean place first; then those outside of the common table."""
    common = over_datasets(_every_split(fields))
    mean = {standing.model: standing.mean for standing in common}
    names = sorted({row.model for field in fields for row in field.section.rows})
    found = [_standing(name, fields, mean.get(name)) for name in names]
    return sorted(found, key=lambda s: (s.mean is None, s.mean or 0.0, s.place, s.model))


def common_size(fields: Sequence[Field]) -> tuple[int, list[str]]:
    """(models, datasets) of the table that mean places are of."""
    common = over_datasets(_every_split(fields))
    return len(common), list(common[0].places) if common else []


def _every_split(fields: Sequence[Field]) -> list[Section]:
    return [
        restricted(section, list(rows.values()))
        for field in fields
        for section, rows in zip(field.group.sections, field.group.mains, strict=True)
        if rows
    ]


def _standing(model: str, fields: Sequence[Field], mean: float | None) -> Standing:
    rows, shares, costs = {}, [], []
    wins = ties = losses = 0
    moved: dict[str, list[int]] = {protocol: [] for protocol in MOVED}
    for field in fields:
        row = next((row for row in field.section.rows if row.model == model), None)
        if row is None:
            continue
        rows[field.group.dataset] = row
        if row.place is not None:
            shares.append(row.place / len(field.section.rows))
        if (cost := seconds(row)) is not None:
            costs.append(cost)
        for other in field.section.rows:
            if other is row or field.differs(row, other) is None:
                continue
            won, lost = field.wins(row, other), field.wins(other, row)
            wins, losses, ties = wins + won, losses + lost, ties + (not won and not lost)
        for protocol, changes in moved.items():
            change = standings(field.section, protocol, COMPARED[0])[row.label].change
            changes += [] if change is None else [change]
    return Standing(
        model=model,
        rows=rows,
        tags=tuple(tags_over(list(rows.values()))),
        mean=mean,
        wins=wins,
        ties=ties,
        losses=losses,
        seconds=fmean(costs) if costs else None,
        moved={protocol: fmean(of) for protocol, of in moved.items() if of},
        place=fmean(shares) if shares else 1.0,
    )
