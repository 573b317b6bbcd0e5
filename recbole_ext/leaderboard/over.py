"""Models over datasets: the mean of their places, one place per dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from recbole_ext.leaderboard.rows import HEADLINE, Section


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


def _dataset(section: Section) -> str:
    return str(section.first.experiment["dataset"]["name"])
