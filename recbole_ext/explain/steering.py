"""What turning every test user towards a tag does to its list, by neurons and by the controls: From Knots to Knobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from recbole_ext.core.arrays import Bools, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.core.progress import progress, say
from recbole_ext.data.splits import TEST, TRAIN
from recbole_ext.explain.knobs import Labelled
from recbole_ext.sae import teaser
from recbole_ext.sae.mapping import MAPS
from recbole_ext.sae.steering import steered
from recbole_ext.sae.steering_evaluation import ALPHAS, System, evaluated
from recbole_ext.sae.steering_plots import movement, movement_map, written
from recbole_ext.sae.steering_systems import (
    COUNTS,
    ByTeaser,
    PostFilter,
    TowardsMean,
    steered_systems,
    tag_means,
)
from recbole_ext.sae.steering_table import MOST_LOSS, Point, SteeringTable
from recbole_ext.sae.steering_task import TAG_FROM, SteeringTask, steering_task

if TYPE_CHECKING:
    import torch


def steering(view: Labelled, mode: str, alphas: Sequence[float] = ALPHAS) -> list[str]:
    """Lines of what every map and number of neurons, and every control, comes to, for the paper's oracle and for tags drawn at
    random. Tables and plots are written beside the run: steering-SOURCE.csv and .svg, and movement.svg of the users of the tag that
    most of them want.
    """
    usable = _usable(view)
    tags = np.asarray(view.concepts.presence.toarray(), dtype=bool)
    tasks = [_task(view, tags, source, usable) for source in TAG_FROM]
    by_tags = _teaser(view, tags)
    maps = _maps(view, usable)
    seed, folder, name = (
        view.saved.experiment.settings.run["seed"],
        view.saved.folder,
        view.saved.name,
    )
    lines = [
        f"{name}: {len(view.concepts)} concepts, {int(usable.sum())} of them with {max(COUNTS)} neurons"
    ]
    for task in tasks:
        systems = [
            *steered_systems(view.knobs, maps, COUNTS, mode, seed),
            *_controls(view, tags, task),
            *([] if by_tags is None else [ByTeaser("TEASER", by_tags, task)]),
        ]
        table = _with_progress(task, systems, alphas)
        lines += told(table)
        lines += map(str, written(table, f"{name}, tags from {task.tag_from}", folder))
    plot = folder / "movement.svg"
    write_atomically(plot, _movement(view, tasks[0], maps["characterises"], alphas, mode))
    return [*lines, str(plot)]


def _with_progress(
    task: SteeringTask, systems: Sequence[System], alphas: Sequence[float]
) -> SteeringTable:
    tables = []
    with progress(f"steering, tags from {task.tag_from}", len(systems)) as advance:
        for system in systems:
            tables.append(evaluated(task, [system], alphas))
            advance(1, system.name)
    points: tuple[Point, ...] = sum((table.points for table in tables), ())
    return SteeringTable(points, task.k, task.tag_from, len(task.users), task.left_out)


def _usable(view: Labelled) -> Bools:
    """[T] concepts that have as many neurons as are ever turned, by every map.

    Raises:
        HarnessError: there is none.
    """
    most, mapping = max(COUNTS), view.mapping
    counts = [((mapping.scores(by) > 0) & mapping.live).sum(axis=1) for by in MAPS]
    found = np.min(counts, axis=0) >= most
    if not found.any():
        raise HarnessError(
            f"--steering: no concept has {most} neurons to be turned by; train with more: --k, --width_ratio"
        )
    if not found.all():
        say(
            f"{int((~found).sum())} of {len(found)} concepts have fewer than {most} neurons by some map: nobody is turned "
            "towards these"
        )
    return np.asarray(found)


def _task(view: Labelled, tags: Bools, source: str, usable: Bools) -> SteeringTask:
    split, data = view.problem.split, view.problem.data
    return steering_task(
        tags,
        split.pairs(data, TEST),
        split.pairs(data, *view.problem.seen_at_test),
        data.user_tokens,
        view.concepts.names,
        source,
        usable,
    )


def _maps(view: Labelled, usable: Bools) -> dict[str, torch.Tensor]:
    """Map -> [T, most] neurons of each usable concept, best first."""
    import torch

    most, found = max(COUNTS), {}
    for by in MAPS:
        rows = np.zeros((len(usable), most), dtype=np.int64)
        for concept in np.flatnonzero(usable):
            rows[concept] = view.mapping.neurons_of(int(concept), by, most)
        found[by] = torch.from_numpy(rows)
    return found


def _controls(view: Labelled, tags: Bools, task: SteeringTask) -> list[System]:
    import torch

    knobs = view.knobs
    means = tag_means(knobs.item_embeddings(), torch.from_numpy(tags))

    def unturned(users: Ints) -> torch.Tensor:
        return knobs.scores(users, knobs.codes(users))

    return [
        TowardsMean("mean of tagged items", knobs.embeddings, knobs.decoded, means),
        PostFilter("post-filter", unturned, task),
    ]


def _teaser(view: Labelled, tags: Bools) -> teaser.Teaser | None:
    """None where there are more items than it is solved for, which is said."""
    data = view.problem.data
    users, items = view.problem.split.pairs(data, TRAIN)
    shape = (len(data.user_tokens), len(data.item_tokens))
    if shape[1] > teaser.MOST_ITEMS:
        say(f"TEASER is left out: {shape[1]:,} items are more than {teaser.MOST_ITEMS:,}")
        return None
    x = sp.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape)
    say("TEASER: solving")
    return teaser.fit(x, tags)


def told(table: SteeringTable) -> list[str]:
    """For each system its start, and the strength of the largest segment NDCG at a personal loss of at most `MOST_LOSS`."""
    k = table.k
    lines = [
        f"tags from {table.tag_from}: {table.users:,} users, {table.left_out:,} want none; NDCG@{k} of the segment and of the user's "
        f"held-out items at strength 0, and at the best strength that loses at most {MOST_LOSS:.0%} of the latter",
        f"{'':<26} segment personal   alpha  segment          personal          tagged",
    ]
    for name, points in table.systems.items():
        first = points[0]
        start = [first.values[key].mean for key in ("segment_ndcg", "personal_ndcg")]
        line = f"{name:<26.26} {start[0]:7.4f} {start[1]:8.4f}"
        if len(points) > 1:
            line += _at_best(points, *start)
        lines.append(line)
    return lines


def _at_best(points: Sequence[Point], segment: float, personal: float) -> str:
    cheap = [p for p in points if p.values["personal_ndcg"].mean >= (1 - MOST_LOSS) * personal]
    best = max(cheap, key=lambda p: p.values["segment_ndcg"].mean)
    now = [best.values[key].mean for key in ("segment_ndcg", "personal_ndcg", "tagged")]
    changes = [
        f"({(value / start - 1) * 100:+6.1f}%)" if start else "(     –)"
        for value, start in zip(now[:2], (segment, personal), strict=True)
    ]
    return f"   {best.alpha:5g}  {now[0]:.4f} {changes[0]}  {now[1]:.4f} {changes[1]}  {now[2]:.3f}"


def _movement(
    view: Labelled,
    task: SteeringTask,
    neurons: torch.Tensor,
    alphas: Sequence[float],
    mode: str,
) -> str:
    """Users who want the tag that most want, on their way; by as many neurons as are in the middle of `COUNTS`."""
    concept = int(np.bincount(task.desired).argmax())
    users = task.users[task.desired == concept]
    codes, rows = view.knobs.codes(users), neurons[concept, : COUNTS[1]]
    steps = [
        view.knobs.made(users, steered(codes, rows, alpha, mode)).cpu().numpy() for alpha in alphas
    ]
    items = view.knobs.item_embeddings()[task.tags[:, concept]].cpu().numpy()
    title = f"{view.saved.name}: {len(users)} users towards '{view.concepts.names[concept]}'"
    return movement_map(movement(steps, items), alphas, title)
