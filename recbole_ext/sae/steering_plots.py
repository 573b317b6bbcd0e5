"""Pictures of steering, as SVG: what it gains against what it costs, and where users move. The same bytes for the same numbers.

The paper's map is a UMAP; UMAP is no dependency here, so the map is a plane of principal components (PCA) and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.core.plotting import STYLE, svg
from recbole_ext.sae.steering_table import SteeringTable

MOST_USERS = 150
"""Users that a map shows: with more their ways cover one another."""


def written(table: SteeringTable, title: str, folder: Path) -> list[Path]:
    """The table as steering-SOURCE.csv and .svg in a folder, SOURCE being what the desired tags are taken from."""
    numbers, plot = (folder / f"steering-{table.tag_from}.{kind}" for kind in ("csv", "svg"))
    table.to_csv(numbers)
    write_atomically(plot, curves(table, title))
    return [numbers, plot]


def curves(table: SteeringTable, title: str) -> str:
    """Personal against segment NDCG, a line through the strengths of each system: the paper's figure 5."""
    import matplotlib as mpl
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    systems = table.systems
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, max(4.0, 0.24 * len(systems))), layout="constrained")
        axis = figure.subplots()
        for i, (name, points) in enumerate(systems.items()):
            color = colormaps["tab20"]([*range(0, 20, 2), *range(1, 20, 2)][i % 20])
            x, y = (
                [point.values[f"{which}_ndcg"].mean for point in points]
                for which in ("segment", "personal")
            )
            if len(points) == 1:
                axis.plot(x, y, marker="x", markersize=8, linestyle="", color=color, label=name)
                continue
            axis.plot(x, y, marker="os^"[i // 10 % 3], markersize=4, color=color, label=name)
            axis.plot(x[:1], y[:1], marker="o", markersize=9, color=color, fillstyle="none")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(f"segment NDCG@{table.k}: candidates with the desired tag")
        axis.set_ylabel(f"personal NDCG@{table.k}: held-out items")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.margins(x=0.1)
        last = max(point.alpha for point in table.points)
        says = f"ring: α = 0\nend of a line: α = {last:g}"
        figure.legend(loc="outside right center", frameon=False, title=says)
        return svg(figure)


@dataclass(frozen=True)
class Movement:
    """Users, and items with a tag, in the plane of two principal components."""

    users: Floats
    """[A, U, 2] at each strength."""
    items: Floats
    """[m, 2] the tagged items."""
    centroid: Floats
    """[2] their mean, brought to length 1 before it was drawn, as all vectors are."""
    explained: Floats
    """[2] share of the variance that each component has."""


def movement(steps: Sequence[Floats], items: Floats) -> Movement:
    """Where users go as they are steered towards a tag.

    All vectors are brought to length 1 first, since a user's grows with its history (ours). The plane is that of the users at
    every strength and of the items together; each component's largest coordinate is positive.

    Args:
        steps: A matrices [U, d], users' dense embeddings at each strength.
        items: [m, d] embeddings of the tagged items.

    Raises:
        HarnessError: no strength, no user, no item or fewer than two coordinates.
    """
    if not steps or not len(steps[0]) or not len(items) or items.shape[1] < 2:
        raise HarnessError(
            "steering: a map needs users at a strength, tagged items and embeddings of two coordinates or more"
        )
    ways = [_of_length_one(step) for step in steps]
    things = _of_length_one(items)
    together = np.concatenate([*ways, things])
    middle = together.mean(axis=0)
    _, sizes, axes = np.linalg.svd(together - middle, full_matrices=False)
    plane = axes[:2]
    plane *= np.sign(plane[[0, 1], np.abs(plane).argmax(axis=1)])[:, None]
    total = (sizes**2).sum()
    return Movement(
        users=np.stack([(way - middle) @ plane.T for way in ways]),
        items=(things - middle) @ plane.T,
        centroid=(_of_length_one(things.mean(axis=0, keepdims=True))[0] - middle) @ plane.T,
        explained=sizes[:2] ** 2 / (total if total > 0 else 1.0),
    )


def movement_map(found: Movement, alphas: Sequence[float], title: str) -> str:
    """The users' ways, the tagged items and their centroid; of many users the first `MOST_USERS`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    users = found.users[:, :MOST_USERS]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 5.0), layout="constrained")
        axis = figure.subplots()
        dots: dict[str, Any] = {"linestyle": "", "marker": "o", "markeredgewidth": 0.0}
        axis.plot(*found.items.T, **dots, markersize=3, color="0.75", label="items with the tag")
        for way in np.moveaxis(users, 1, 0):
            axis.plot(*way.T, color="0.5", linewidth=0.4, alpha=0.6)
        colors = mpl.colormaps["viridis"](np.linspace(0.0, 0.9, len(alphas)))
        for alpha, color, places in zip(alphas, colors, users, strict=True):
            axis.plot(*places.T, **dots, markersize=3, color=color, label=f"users, α = {alpha:g}")
        star: dict[str, Any] = {"marker": "*", "markersize": 16, "markeredgecolor": "white"}
        axis.plot(*found.centroid, linestyle="", color="tab:red", label="items' centroid", **star)
        axis.set_title(title, fontsize=9)
        axis.set_aspect("equal", adjustable="datalim")
        first, second = (f"{share:.0%} of the variance" for share in found.explained)
        axis.set_xlabel(f"principal component 1 (PCA), {first}")
        axis.set_ylabel(f"principal component 2 (PCA), {second}")
        figure.legend(loc="outside right center", frameon=False)
        return svg(figure)


def _of_length_one(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float64)
