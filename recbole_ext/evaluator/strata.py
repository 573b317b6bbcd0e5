"""Full ranking within parts of the positives: head and tail items, quiet and busy users, items with and without text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.evaluator.beyond import head_items
from recbole_ext.evaluator.ranks import RankTable
from recbole_ext.evaluator.summary import summarise

Mask = npt.NDArray[np.bool_]


def strata(
    table: RankTable, popularity: Ints, activity: Ints, has_text: Mask | None
) -> dict[str, Mask]:
    """Name -> [P] which positives belong to it.

    Args:
        table: P positives.
        popularity: [n_items] training interactions of each item.
        activity: [n_users] training interactions of each user.
        has_text: [n_items] whether an item has any text; None where nothing is known of it.

    Returns:
        `head items`, `tail items`; `low`, `middle` and `high activity` (thirds of the test users); and, where there are
        items of both kinds, `items with text` and `items without text`.
    """
    head = head_items(popularity)[table.item]
    users = np.unique(table.user)
    order = np.argsort(activity[users], kind="stable")
    third = np.empty(len(users), dtype=np.int64)
    third[order] = np.arange(len(users)) * 3 // max(len(users), 1)
    of_positive = third[np.searchsorted(users, table.user)]
    found = {"head items": head, "tail items": ~head}
    found |= {
        f"{name} activity": of_positive == i for i, name in enumerate(("low", "middle", "high"))
    }
    if has_text is not None and not has_text.all():
        found["items with text"] = has_text[table.item]
        found["items without text"] = ~has_text[table.item]
    return {name: mask for name, mask in found.items() if mask.any()}


def summarise_strata(
    table: RankTable, masks: dict[str, Mask], ks: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Stratum -> `users`, `positives` and `metrics` of full ranking, as if its positives were the only ones."""
    return {
        name: {
            "users": len(np.unique(table.user[mask])),
            "positives": int(mask.sum()),
            "metrics": summarise(table.of(mask), ["full"], ks)["full"],
        }
        for name, mask in masks.items()
    }
