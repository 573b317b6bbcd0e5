"""Labelled pairs of users and items that training has seen often, at all, or never."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.evaluator.metrics import COLD, MORE_THAN, SEEN, UNSEEN, WARM
from recbole_ext.evaluator.pointwise import ScoreTable, summarise_scores


def warmth(
    user: Ints, item: Ints, of_user: Ints, of_item: Ints
) -> dict[str, npt.NDArray[np.bool_]]:
    """Part -> [N] which rows belong to it.

    Args:
        user: [N].
        item: [N].
        of_user: [n_users] training rows of each user.
        of_item: [n_items] training rows of each item.
    """
    least = np.minimum(of_user[user], of_item[item])
    return {
        WARM: least > MORE_THAN,
        SEEN: least > 0,
        COLD: least == 0,
        UNSEEN: np.maximum(of_user[user], of_item[item]) == 0,
    }


def summarise_parts(table: ScoreTable, of_user: Ints, of_item: Ints) -> dict[str, dict[str, Any]]:
    """Part -> `rows`, `users` and `metrics`, as if its rows were the only ones; parts that have a metric.

    Args:
        table: of the test part.
        of_user: [n_users] training rows of each user.
        of_item: [n_items] training rows of each item.
    """
    out: dict[str, dict[str, Any]] = {}
    for name, mask in warmth(table.user, table.item, of_user, of_item).items():
        metrics: Mapping[str, Any] = summarise_scores(table.of(mask)) if mask.any() else {}
        if metrics:
            users = len(np.unique(table.user[mask]))
            out[name] = {"rows": int(mask.sum()), "users": users, "metrics": metrics}
    return out
