"""How a model that reads candidates one after the other hits by the place at which it was told of the right one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.lists import ListTable

_Z = 1.959963984540054
"""Of a two-sided interval of 95%."""


@dataclass(frozen=True)
class PlaceHits:
    """One place of a list."""

    place: int
    """From 1."""
    lists: int
    """Whose positive was named here."""
    hit: float
    """Share of these that were right; half a hit where two candidates of one title were named."""
    low: float
    high: float
    """95% interval of it, Wilson's (1927): the percentile bootstrap has no width where nothing was hit."""
    chosen: float
    """Share of all lists whose answer was named here, right or not; one over their length, were the place of no effect."""


@dataclass(frozen=True)
class ByPlace:
    """All places of the lists of one protocol."""

    places: list[PlaceHits]
    hit: float
    """Over all lists."""
    p: float
    """How often places that are dealt out to the lists at random differ as much in their hits; in truth they were dealt out so."""


def hits(table: ListTable, protocol: str) -> Floats:
    """[P, draws] 1 where the answer, or the highest score, was the positive's alone, 1/n where n were tied, 0 else."""
    above, tied = table.lists[protocol]
    found: Floats = (above == 0) * table.valid[protocol] / (tied + 1.0)
    return found


def by_place(table: ListTable, protocol: str, resamples: int = 2000, seed: int = 0) -> ByPlace:
    """Hits of a protocol's lists by the place of the positive in what the model read.

    Args:
        table: of a finished run.
        protocol: one of its lists.
        resamples: for p: by dealing the places out anew, the number of hits and of lists at each place staying as they are; the statistic
            is the sum over places of the lists there times the square of their distance to the share of all.
        seed: of these.

    Raises:
        HarnessError: the run kept no places.
    """
    if protocol not in table.placed:
        raise HarnessError(
            f"{protocol}: this run did not keep where its candidates stood; its model reads them in no order, or it is older than that: "
            "run it again with --force"
        )
    place, chosen = (values.ravel() for values in table.placed[protocol])
    hit = hits(table, protocol).ravel()
    longest = max(int(place.max()), int(chosen.max()))
    count = np.bincount(place, minlength=longest + 1)[1:]

    def means(values: Floats) -> Floats:
        return np.bincount(place, values, longest + 1)[1:] / np.maximum(count, 1)

    def spread(values: Floats) -> float:
        return float((count * (means(values) - hit.mean()) ** 2).sum())

    generator, observed = np.random.default_rng(seed), spread(hit)
    # Sums in another order differ in their last digits.
    extreme = sum(spread(generator.permutation(hit)) >= observed - 1e-9 for _ in range(resamples))
    answers = np.bincount(chosen, minlength=longest + 1)[1:] / len(chosen)
    found = []
    for number, (n, share, own) in enumerate(zip(count, means(hit), answers, strict=True), 1):
        low, high = wilson(float(share), int(n))
        found.append(PlaceHits(number, int(n), float(share), low, high, float(own)))
    return ByPlace(found, float(hit.mean()), (1 + extreme) / (1 + resamples))


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n; all from 0 to 1 where n is 0."""
    if not n:
        return 0.0, 1.0
    scale = 1 + _Z**2 / n
    centre = (share + _Z**2 / (2 * n)) / scale
    half = _Z / scale * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
