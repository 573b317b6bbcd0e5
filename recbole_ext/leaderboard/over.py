"""Models over datasets: the mean of their places, one place per dataset; and over the random splits of one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from recbole_ext.leaderboard.rows import HEADLINE, Section
from recbole_ext.results import canonical_json


@dataclass(frozen=True)
class Standing:
    """A model over datasets."""

    model: str
    places: dict[str, float]
    """Dataset -> place by the headline, averaged over its sections (splits, exclusions)."""

    @property
    def mean(self) -> float:
        return fmean(self.places.values())


def over_datasets(sections: Sequence[Section]) -> list[Standing]:
    """Standings of the models that stand on every dataset, best mean place first; empty for fewer than two datasets.

    A place is that of the model's best row among the best rows of these models in a section, so that neither a second
    configuration nor a model that is missing elsewhere pushes anybody down.
    """
    ranked = [s for s in sections if s.headline == HEADLINE]
    datasets = list(dict.fromkeys(_dataset(s) for s in ranked))
    orders = [
        list(dict.fromkeys(row.model for row in s.rows if row.place is not None)) for s in ranked
    ]
    common = set.intersection(*map(set, orders)) if orders else set()
    if len(datasets) < 2 or len(common) < 2:
        return []
    places: dict[str, dict[str, list[int]]] = {model: {} for model in common}
    for section, order in zip(ranked, orders, strict=True):
        for place, model in enumerate((m for m in order if m in common), 1):
            places[model].setdefault(_dataset(section), []).append(place)
    standings = [
        Standing(model, {name: fmean(of[name]) for name in datasets})
        for model, of in places.items()
    ]
    return sorted(standings, key=lambda s: (s.mean, s.model))


@dataclass(frozen=True)
class OverSplits:
    """Models over sections that differ in nothing but the seed of the split."""

    section: Section
    """One of them."""
    seeds: tuple[int, ...]
    values: dict[str, dict[str, list[float]]]
    """Model -> metric of full ranking -> its value on each split; models that stand on every split, best first."""


def over_splits(sections: Sequence[Section], metrics: Sequence[str]) -> list[OverSplits]:
    """Groups of at least two splits of the same data."""
    groups: dict[str, list[Section]] = {}
    for section in sections:
        asked = section.first.experiment
        split = {k: v for k, v in asked["dataset"]["split"].items() if k != "split_seed"}
        key = canonical_json(
            [_dataset(section), section.first.fingerprints["data"], split, asked["exclude"]]
        )
        groups.setdefault(key, []).append(section)
    found = []
    for group in groups.values():
        if len(group) < 2:
            continue
        models = set.intersection(*({row.model for row in s.rows} for s in group))
        values = {
            model: {
                metric: [_best(section, model, metric) for section in group] for metric in metrics
            }
            for model in models
        }
        values = {m: v for m, v in values.items() if all(None not in x for x in v.values())}
        order = sorted(values, key=lambda m: (-fmean(values[m][metrics[-1]]), m))
        seeds = sorted(s.first.experiment["dataset"]["split"]["split_seed"] for s in group)
        found.append(OverSplits(group[0], tuple(seeds), {m: values[m] for m in order}))
    return found


def _best(section: Section, model: str, metric: str) -> Any:
    """A metric of the model's best row of a section."""
    row = next(row for row in section.rows if row.model == model)
    cell = row.cell("full", metric)
    return None if cell is None else cell.mean


def _dataset(section: Section) -> str:
    return str(section.first.experiment["dataset"]["name"])
