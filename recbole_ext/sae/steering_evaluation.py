"""What steering does to lists: the measurements of From Knots to Knobs (arXiv 2601.11182, section 5.9 of the specification).

This module knows systems that score users at a strength, not models. The paper's measures are recall and NDCG at 20 on a user's
held-out items (personal) and on all items with its desired tag that are not in its history (segment). The others are ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.places import joint_metrics
from recbole_ext.evaluator.ranks import RankTable, RankTask, rank
from recbole_ext.evaluator.stats import bootstrap_intervals, paired_tests
from recbole_ext.sae.steering_table import Point, SteeringTable, Value
from recbole_ext.sae.steering_task import SteeringTask, rows_of

if TYPE_CHECKING:
    import torch

ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""The paper's strengths."""
_BLOCK_BYTES = 32 << 20
"""Upper bound for one matrix of scores."""


class Steerable(Protocol):
    """A model with a sparse autoencoder on its user embeddings. Users [B] and items count from 0."""

    def codes(self, users: Ints) -> torch.Tensor:
        """[B, h] codes of the users' folded-in histories."""

    def scores(self, users: Ints, codes: torch.Tensor) -> torch.Tensor:
        """[B, n_items] scores of codes, decoded with the users' own mean and deviation; the history is not masked yet."""

    def plain(self, users: Ints) -> torch.Tensor:
        """[B, n_items] scores of the model without the autoencoder."""

    def item_codes(self) -> torch.Tensor:
        """[n_items, h] codes of the profiles that hold one item each."""


class System(Protocol):
    """Something that can be turned towards a tag."""

    @property
    def name(self) -> str:
        """Unique among the systems that are compared."""

    @property
    def steers(self) -> bool:
        """False for a system that has no strength but 0."""

    def at(self, users: Ints, tags: Ints, alphas: Sequence[float]) -> Iterator[torch.Tensor]:
        """One matrix [B, n_items] of finite scores for each strength.

        Args:
            users: [B].
            tags: [B] what each is steered towards.
            alphas: strengths, the first is 0.
        """


def evaluated(
    task: SteeringTask, systems: Sequence[System], alphas: Sequence[float] = ALPHAS
) -> SteeringTable:
    """Every system at every strength, with intervals over users and paired differences to its own strength 0.

    Intervals are 95% percentile bootstrap ones; a difference has a p-value of the randomisation test (`evaluator.stats`).

    Raises:
        HarnessError: strengths that do not ascend from 0, two systems of one name, or what a system says of a strength.
    """
    if not alphas or alphas[0] != 0 or any(b <= a for a, b in itertools.pairwise(alphas)):
        given = ",".join(f"{alpha:g}" for alpha in alphas)
        raise HarnessError(f"alpha={given}: strengths must ascend from 0, e.g. 0,0.1,0.2")
    names = [system.name for system in systems]
    for name in names:
        if names.count(name) > 1:
            raise HarnessError(f"steering: two systems are called '{name}'; rename one")
    points: list[Point] = []
    for system in systems:
        known = alphas if system.steers else alphas[:1]
        values = _summarised(measured(task, system, known))
        points += [
            Point(system.name, float(alpha), {key: found[i] for key, found in values.items()})
            for i, alpha in enumerate(known)
        ]
    return SteeringTable(tuple(points), task.k, task.tag_from, len(task.users), task.left_out)


def measured(task: SteeringTask, system: System, alphas: Sequence[float]) -> dict[str, Floats]:
    """Measure -> per-user values [U, A], users ascending.

    * `personal_recall` (over min(k, |T|)), `personal_ndcg`: of the held-out items;
    * `segment_recall`, `segment_ndcg`: of the candidates with the desired tag;
    * `wanted_ndcg`: of the held-out items with the desired tag, as if the other held-out ones were no candidates; NaN for a user
      who has none;
    * `tagged`: share of the first k with the desired tag;
    * `overlap`: share of the first k that are among the first k at strength 0;
    * `distinct_tags`: different tags among the first k.

    Every row of scores is made once.
    """
    import torch

    rows = max(1, _BLOCK_BYTES // (4 * task.personal.n_items))
    with torch.no_grad():
        blocks = [
            _block(task, system, alphas, start, min(start + rows, len(task.users)))
            for start in range(0, len(task.users), rows)
        ]
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def _block(
    task: SteeringTask, system: System, alphas: Sequence[float], start: int, stop: int
) -> dict[str, Floats]:
    """`measured` of the users `start:stop`."""
    personal, segment = (rows_of(t, start, stop) for t in (task.personal, task.segment))
    desired = task.desired[start:stop]
    found: list[dict[str, Floats]] = []
    first: Ints | None = None
    for matrix in system.at(personal.users, desired, alphas):
        table = _ranked(personal, matrix, task.k)
        assert table.top is not None
        first = table.top if first is None else first
        values = _of_lists(task, desired, table.top, first)
        values |= _named("personal", table, task.k)
        values |= _named("segment", _ranked(segment, matrix, 0), task.k)
        values["wanted_ndcg"] = _wanted(task, personal, desired, table)
        found.append(values)
    if len(found) != len(alphas):
        raise ValueError(f"'{system.name}' gave {len(found)} matrices for {len(alphas)} strengths")
    return {key: np.column_stack([each[key] for each in found]) for key in found[0]}


def _ranked(task: RankTask, matrix: torch.Tensor, top: int) -> RankTable:
    """One block: the bound lets `rank` ask for all users at once."""
    bound = 4 * task.n_items * len(task.users)
    (table,) = rank(task, lambda users: [matrix], bound, top)
    return table


def _named(which: str, table: RankTable, k: int) -> dict[str, Floats]:
    found = joint_metrics(table, [k])
    return {
        f"{which}_recall": found[f"recall_mink@{k}"],
        f"{which}_ndcg": found[f"ndcg@{k}"],
    }


def _wanted(task: SteeringTask, personal: RankTask, desired: Ints, table: RankTable) -> Floats:
    """[B] NDCG of the held-out items with the desired tag, NaN where there is none."""
    has = task.tags[table.item, desired[personal.row_of_positive]]
    found = np.full(len(desired), np.nan)
    if has.any():
        rows = np.unique(personal.row_of_positive[has])
        found[rows] = joint_metrics(table.of(has), [task.k])[f"ndcg@{task.k}"]
    return found


def _of_lists(task: SteeringTask, desired: Ints, top: Ints, first: Ints) -> dict[str, Floats]:
    """Measures of lists [B, k] beside those at strength 0 [B, k]."""
    return {
        "tagged": task.tags[top, desired[:, None]].mean(axis=1),
        "overlap": (top[:, :, None] == first[:, None, :]).any(axis=2).mean(axis=1),
        "distinct_tags": task.tags[top].any(axis=1).sum(axis=1).astype(np.float64),
    }


def _summarised(values: Mapping[str, Floats]) -> dict[str, list[Value]]:
    """Measure -> one value for each strength; a measure that no user has is left out."""
    count = next(iter(values.values())).shape[1]
    found: dict[str, list[Value]] = {}
    # Whether a user has a measure depends on the user alone, so that one column says it.
    lacking = [key for key, column in values.items() if np.isnan(column[:, 0]).any()]
    for keys in ([key for key in values if key not in lacking], *([key] for key in lacking)):
        kept = ~np.isnan(values[keys[0]][:, 0])
        if not kept.any():
            continue
        columns = np.column_stack([values[key][kept] for key in keys])
        low, high = bootstrap_intervals(columns)
        pairs = [(at * count + i, at * count) for at in range(len(keys)) for i in range(1, count)]
        changes = paired_tests(columns, pairs)
        for at, key in enumerate(keys):
            found[key] = [
                Value(
                    mean=float(columns[:, place].mean()),
                    low=float(low[place]),
                    high=float(high[place]),
                    users=int(kept.sum()),
                    change=changes.get((place, at * count)),
                )
                for place in range(at * count, (at + 1) * count)
            ]
    return found
