"""Interactions after filters, in canonical order: the form in which every later layer sees data.

Users and items are numbered by their tokens' sorted order, rows are sorted by (user, item), so that the fingerprint,
the split and the candidate lists depend on what the data says and not on the order in which a file says it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.tokens import numbered, still_used

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "valid", "test")
"""Names of the parts 0, 1, 2 of a source's own split."""


@dataclass(frozen=True)
class Interactions:
    """m users, n items, N (user, item) pairs: distinct ones, unless `duplicates: keep` was asked for."""

    name: str
    user_tokens: list[str]
    """[m] sorted."""
    item_tokens: list[str]
    """[n] sorted; every item has at least one interaction."""
    user: Ints
    """[N] index into `user_tokens`, ascending."""
    item: Ints
    """[N] index into `item_tokens`, ascending within a user."""
    time: Floats | None
    """[N] as the file has it, None without a time column."""
    time_is_order: bool
    """The time column is a rank within the user's history: fit to sort one user's items, not to compare users."""
    part: npt.NDArray[np.int8] | None
    """[N] 0, 1, 2 for training, validation, test where the source brings its own split, else None."""
    item_columns: Mapping[str, list[str]]
    """Text columns of the item file, each [n] in item order ("" where unknown)."""
    dropped: Mapping[str, int]
    """Rows that each filter removed."""
    label: Floats | None = None
    """[N] what was said of the pair, e.g. 0 or 1, as the file has it; None where it is not kept (`keep_label`)."""
    liked_before: Ints | None = None
    """[N] how many liked items the row's own history in the file names (`history_field`); None where that is not read."""
    valid_small: npt.NDArray[np.bool_] | None = None
    """[N] whether a row is in the source's smaller validation part; None for a source without one, or without labels."""

    def __len__(self) -> int:
        return len(self.user)

    @property
    def fingerprint(self) -> str:
        """sha256 over tokens, pairs, times, and labels and histories where they are kept; equal for any order of rows and any split."""
        digest = hashlib.sha256()
        for tokens in (self.user_tokens, self.item_tokens):
            digest.update(f"{len(tokens)}\n".encode())
            for token in tokens:
                raw = token.encode()
                digest.update(f"{len(raw)}:".encode() + raw)
        digest.update(self.user.astype("<i8").tobytes())
        digest.update(self.item.astype("<i8").tobytes())
        if self.time is not None:
            digest.update(self.time.astype("<f8").tobytes())
        if self.label is not None:
            digest.update(b"label" + self.label.astype("<f8").tobytes())
        if self.liked_before is not None:
            digest.update(b"liked before" + self.liked_before.astype("<i8").tobytes())
        return digest.hexdigest()


def canonical(
    name: str,
    rows: pd.DataFrame,
    items: pd.DataFrame | None,
    filters: Mapping[str, Any],
) -> Interactions:
    """Filter rows, collapse duplicates and number users and items.

    Args:
        name: of the dataset, for messages.
        rows: columns `user_id`, `item_id` (str, or categories of them), and optionally `rating`, `label`, `timestamp`, `part` (the source's split),
            `liked_before` and `valid_small`.
        items: item features with `item_id`, or None.
        filters: `min_rating` and `min_label` (keep what is at least that), `min_user` and `min_item` (interactions, to a fixed point: the
            k-core when equal; with `k_core` false in one pass over the counts), each None or 0 for off; `keep_label` keeps
            the column `label`, which removes nothing; with `duplicates: keep` a pair may stand several times.

    Raises:
        HarnessError: nothing is left, a filter needs a column that is not there, a time or a kept label is missing.
    """
    rows = rows.copy(deep=False)
    user_tokens, rows["user_id"] = numbered(rows["user_id"])
    item_tokens, rows["item_id"] = numbered(rows["item_id"])
    time_is_order = "timestamp" in rows and _is_order(rows)
    rows, dropped = filtered(name, rows, filters)
    user_tokens, user = still_used(user_tokens, rows["user_id"].to_numpy())
    item_tokens, item = still_used(item_tokens, rows["item_id"].to_numpy())
    # Where a pair stands several times, its rows are told apart by what they say, not by the order of the file.
    said = [rows[c].to_numpy() for c in ("liked_before", "label", "timestamp") if c in rows]
    order = np.lexsort((*said, item, user) if filters.get("duplicates") == "keep" else (item, user))
    time = (
        _filled(name, rows, "timestamp", "remove the column")[order]
        if "timestamp" in rows
        else None
    )
    kept = bool(filters.get("keep_label"))
    label = _filled(name, rows, "label", "set keep_label=false")[order] if kept else None
    return Interactions(
        name=name,
        user_tokens=user_tokens,
        item_tokens=item_tokens,
        user=user[order],
        item=item[order],
        time=time,
        time_is_order=time_is_order,
        part=rows["part"].to_numpy(dtype=np.int8)[order] if "part" in rows else None,
        item_columns=_item_columns(name, items, item_tokens),
        dropped=dropped,
        label=label,
        liked_before=_column(rows, "liked_before", np.int64, order),
        valid_small=_column(rows, "valid_small", np.bool_, order) if kept else None,
    )


def _column(rows: pd.DataFrame, name: str, kind: Any, order: Ints) -> Any:
    """[rows] in canonical order, None where there is none."""
    return rows[name].to_numpy(dtype=kind)[order] if name in rows else None


def _filled(name: str, rows: pd.DataFrame, column: str, otherwise: str) -> Floats:
    """[rows] numbers of a column that has no gaps.

    Raises:
        HarnessError: it has some, or is not there.
    """
    if column not in rows:
        raise HarnessError(
            f"{name}: no column '{column}' (here: {', '.join(rows.columns)}); {otherwise}"
        )
    values = rows[column].to_numpy(dtype=np.float64)
    missing = int(np.isnan(values).sum())
    if missing:
        raise HarnessError(
            f"{name}: {missing} interactions have no {column}; fill them in, or {otherwise}"
        )
    return values


def filtered(
    name: str, rows: pd.DataFrame, filters: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Duplicates, thresholds, counts, in this order; see `canonical` for arguments and errors.

    The latest of duplicates is what a user thinks of an item: an old 5 does not outlive a later 1. It is taken within
    each part, so that what is tested changes nothing of what is trained on; a pair that is then left in two parts stays
    in the earlier one: what is trained on is not tested. `duplicates: keep` leaves them all, as rows of clicks are.

    Returns:
        (the rows that are left, how many each filter removed).
    """
    parts = rows.get("part")
    thresholds = _thresholds(name, rows, filters)
    before = len(rows)
    read = [column for _, column, _ in thresholds] + ["label"] * bool(filters.get("keep_label"))
    keep = filters.get("duplicates") == "keep"
    rows = rows if keep else _latest(rows, read)
    dropped = {"duplicates": before - len(rows)}
    for key, column, least in thresholds:
        kept = rows[column] >= least
        dropped[key] = int((~kept).sum())
        rows = rows[kept]
    if not keep and "part" in rows and rows.duplicated(_PAIR).any():
        before = len(rows)
        rows = rows.sort_values("part", kind="stable").drop_duplicates(_PAIR)
        dropped["duplicates"] += before - len(rows)
    before = len(rows)
    counts = int(filters.get("min_user") or 0), int(filters.get("min_item") or 0)
    rows = rows[_core(rows, *counts, repeat=bool(filters.get("k_core", True)))]
    dropped["min_user,min_item"] = before - len(rows)
    if rows.empty:
        steps = ", ".join(f"{count} by {what}" for what, count in dropped.items())
        raise HarnessError(f"{name}: no interaction is left after the filters (removed: {steps})")
    _check_parts(name, parts, rows, dropped)
    return rows, dropped


def _check_parts(
    name: str, before: pd.Series | None, rows: pd.DataFrame, dropped: Mapping[str, int]
) -> None:
    """Refuse filters that leave nothing of a part of the source's own split; `before`: each row's part, None without."""
    if before is None:
        return
    had = np.bincount(before, minlength=len(PARTS))
    for part, count, left in zip(
        PARTS, had, np.bincount(rows["part"], minlength=len(PARTS)), strict=True
    ):
        if count and not left:
            steps = ", ".join(f"{rows:,} by {what}" for what, rows in dropped.items() if rows)
            raise HarnessError(
                f"{name}: no interaction of the {part} part is left after the filters (it had {count:,}; removed of all "
                f"parts: {steps})"
            )


def zeros_as_positives(name: str, rows: pd.DataFrame, filters: Mapping[str, Any]) -> str | None:
    """What to say of a column of labels, 0 or 1, where no threshold is asked for; None where there is none.

    Args:
        name: of the dataset.
        rows: as they are read.
        filters: as for `canonical`.
    """
    import pandas as pd

    columns = _columns(filters)
    if filters.get("keep_label"):
        return None  # they are told apart by it
    if any(filters.get(key) is not None for key in columns):
        return None
    # The last key of a column has its best name: `min_label` for a `label` that `rating_field` names too.
    for column, key in {column: key for key, column in columns.items() if column in rows}.items():
        values = pd.to_numeric(rows[column], errors="coerce").dropna()
        if set(values.unique()) == {0, 1}:
            return (
                f"{name}: its {column} is 0 or 1, and its {int((values == 0).sum()):,} interactions with 0 count as "
                f"positives like those with 1; --{key}=1 leaves them out, --{key}=0 says that they are meant"
            )
    return None


_PAIR = ["user_id", "item_id"]


def _columns(filters: Mapping[str, Any]) -> dict[str, str]:
    """Key of a threshold -> the column that it reads."""
    return {"min_rating": filters.get("rating_field") or "rating", "min_label": "label"}


def _thresholds(
    name: str, rows: pd.DataFrame, filters: Mapping[str, Any]
) -> list[tuple[str, str, float]]:
    """(Key, column, least value) of each threshold that is asked for."""
    asked = {
        key: column for key, column in _columns(filters).items() if filters.get(key) is not None
    }
    for key, column in asked.items():
        least = filters[key]
        if type(least) not in (int, float):
            raise HarnessError(f"{name}: {key}={least} must be a number, or null for off")
        if column not in rows:
            other = ", or rating_field to the column that holds ratings" * (key == "min_rating")
            raise HarnessError(
                f"{name}: {key} needs a column '{column}' (here: {', '.join(rows.columns)}); set {key}=null{other}"
            )
    return [(key, column, filters[key]) for key, column in asked.items()]


def _latest(rows: pd.DataFrame, ratings: list[str]) -> pd.DataFrame:
    """One row per (user, item), and part where there are any: the latest, of equal times the one with the highest ratings."""
    import pandas as pd

    key = [*_PAIR, "part"] if "part" in rows else _PAIR
    if not rows.duplicated(key).any():
        return rows
    by = [c for c in dict.fromkeys((*key, "timestamp", *ratings, "rating")) if c in rows]
    # Few are: a sort of all would cost several copies of everything.
    repeated = rows.duplicated(key, keep=False).to_numpy()
    # A rating that is missing is no highest one.
    ordered = rows[repeated].sort_values(
        by, kind="stable", key=lambda c: c.fillna(-np.inf) if c.name in ratings else c
    )
    return pd.concat([rows[~repeated], ordered.drop_duplicates(key, keep="last")])


def _is_order(rows: pd.DataFrame) -> bool:
    """True when every user's times are 1, 2, .., its number of rows, or all users' 0, 1, ..: a rank, not a time."""
    time = rows["timestamp"].to_numpy(dtype=np.float64)
    if not len(time) or time.min() not in (0, 1) or (time != np.floor(time)).any():
        return False
    of_user = rows.groupby("user_id", sort=False)["timestamp"].agg(["size", "max", "nunique"])
    ranks = of_user["max"] - time.min() + 1
    return bool((of_user["size"] == ranks).all() and (of_user["size"] == of_user["nunique"]).all())


def _core(rows: pd.DataFrame, min_user: int, min_item: int, repeat: bool) -> npt.NDArray[np.bool_]:
    """[rows] True for rows of users and items that keep enough interactions; `repeat`: to a fixed point."""
    import pandas as pd

    if max(min_user, min_item) <= 1:
        return np.ones(len(rows), dtype=bool)
    user, _ = pd.factorize(rows["user_id"])
    item, _ = pd.factorize(rows["item_id"])
    kept = np.ones(len(rows), dtype=bool)
    while True:
        users = np.bincount(user[kept], minlength=1) if kept.any() else np.zeros(1, int)
        items = np.bincount(item[kept], minlength=1) if kept.any() else np.zeros(1, int)
        users = np.pad(users, (0, int(user.max(initial=0)) + 1 - len(users)))
        items = np.pad(items, (0, int(item.max(initial=0)) + 1 - len(items)))
        again = kept & (users[user] >= min_user) & (items[item] >= min_item)
        if not repeat or again.sum() == kept.sum():
            return again
        kept = again


def _item_columns(name: str, items: pd.DataFrame | None, tokens: list[str]) -> dict[str, list[str]]:
    if items is None:
        return {}
    doubled = items["item_id"].duplicated()
    if doubled.any():
        raise HarnessError(
            f"{name}: item '{items['item_id'][doubled].iloc[0]}' stands twice in the item file"
        )
    aligned = (
        items.set_index(items["item_id"].astype(object)).drop(columns="item_id").reindex(tokens)
    )
    text = [
        column
        for column in aligned.columns
        if aligned[column].dtype == object or str(aligned[column].dtype) in ("str", "string")
    ]
    return {column: aligned[column].fillna("").astype(str).tolist() for column in text}
