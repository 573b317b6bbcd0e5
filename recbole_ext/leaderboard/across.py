"""Models over datasets: the mean of their places, one place per dataset."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from recbole_ext.leaderboard.rows import HEADLINE, Section


@dataclass(frozen=True)
class OverDatasets:
    """A model over datasets."""

    model: str
    places: dict[str, float]
    """Dataset -> place by the headline, averaged over its sections (splits, exclusions)."""

    @property
    def mean(self) -> float:
        return fmean(self.places.values())


def over_datasets(sections: Sequence[Section]) -> list[OverDatasets]:
    """Standings of models that all stand on the same datasets, best mean place first; empty for fewer than two datasets.

    Of all such tables one with the most places is sought: a dataset on which few models ran does not keep the others
    from being compared, nor does a model that is missing on most. A place is that of the model's best row among the best
    rows of these models in a section, so that neither a second configuration nor a model that is not in the table
    pushes anybody down; it is averaged over the sections of the dataset that have all of them.
    """
    by_dataset: dict[tuple[str, str], list[list[str]]] = {}
    for section in sections:
        if section.headline == HEADLINE:
            order = list(dict.fromkeys(row.model for row in section.rows if row.place is not None))
            by_dataset.setdefault(_identity(section), []).append(order)
    richest = {
        key: max((set(order) for order in orders), key=len) for key, orders in by_dataset.items()
    }
    chosen, common = _largest(richest)
    names = [name for name, _ in chosen]
    places: dict[str, dict[str, float]] = {model: {} for model in common}
    for key in chosen:
        whole = [order for order in by_dataset[key] if common <= set(order)]
        own = [[model for model in order if model in common] for order in whole]
        label = key[0] if names.count(key[0]) == 1 else f"{key[0]} {key[1][:6]}"
        for model in common:
            places[model][label] = fmean(1 + order.index(model) for order in own)
    standings = [OverDatasets(model, of) for model, of in places.items()]
    return sorted(standings, key=lambda s: (s.mean, s.model))


def _largest(
    models: dict[tuple[str, str], set[str]],
) -> tuple[list[tuple[str, str]], set[str]]:
    """(Datasets, models on all of them) with the most places, the more datasets the better; two of each at least.

    To find the very largest takes time that doubles with every dataset (it is the maximum edge biclique). Here each two
    datasets are a start, to which the dataset that leaves the most models is added until none is left: of 600 random
    boards of up to nine datasets the largest table was found on every one.
    """
    names = sorted(set().union(*models.values()))
    bit = {name: 1 << place for place, name in enumerate(names)}
    left = {key: sum(bit[name] for name in of) for key, of in models.items()}  # sets as numbers
    best: tuple[list[tuple[str, str]], int] = ([], 0)
    most = (0, 0)
    for one, two in itertools.combinations(left, 2):
        others, chosen, common = dict(left), [one, two], left[one] & left[two]
        del others[one], others[two]
        while common.bit_count() > 1:
            size = len(chosen) * common.bit_count(), len(chosen)
            if size > most:
                best, most = (list(chosen), common), size
            if not others:
                break
            shared = {key: (common & of).bit_count() for key, of in others.items()}
            chosen.append(max(shared, key=lambda key: shared[key]))
            common &= others.pop(chosen[-1])
    inside = [key for key in models if key in best[0]]
    return inside, {name for name in names if best[1] & bit[name]}


def _identity(section: Section) -> tuple[str, str]:
    """A dataset after its filters."""
    return _dataset(section), section.first.fingerprints["data"]


def _dataset(section: Section) -> str:
    return str(section.first.experiment["dataset"]["name"])
