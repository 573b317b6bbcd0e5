"""Running histories of labelled rows: what a user had liked before each of its rows.

A row's history grows with the rows of its own part: that of a tested row holds earlier tested rows too (SeLLa-Rec and CoLLM, their
files of MovieLens-1M: the list beside a row names every earlier row with label 1). No row's own label is in its history, and none
that comes after it. Ours: none of a later part either, which a split by time never has and others have, so that training
sees no label of what is tested.
"""

from __future__ import annotations

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.interactions import Interactions


class Histories:
    """The liked items before each of N rows, oldest first.

    They are in the order of the source's own lists where those are read (`Interactions.liked_before`), and in that of `places`
    otherwise.
    """

    def __init__(self, data: Interactions, places: Ints | None, level: Ints) -> None:
        """Put the liked rows of every user in order.

        Args:
            data: with labels, of which 1 is liked.
            places: [N] of each row among its user's, by time; read where the source has no lists.
            level: [N] from 0, smaller for earlier parts: a row's history has rows of its own level and of smaller ones.

        Raises:
            HarnessError: no labels, or neither lists nor times.
        """
        if data.label is None:
            raise HarnessError(
                f"{data.name}: histories are of rows with label 1; set --keep_label=true"
            )
        before = data.liked_before if data.liked_before is not None else places
        if before is None:
            raise HarnessError(
                f"{data.name}: histories need a timestamp column, or lists (--history_field)"
            )
        self.user = data.user
        """[N] whose row each is."""
        width = int(before.max(initial=0)) + 2
        key = data.user * width + before
        order = np.flatnonzero(data.label == 1)
        order = order[np.argsort(key[order], kind="stable")]
        if data.liked_before is not None and (np.diff(key[order]) == 0).any():
            row = order[:-1][np.diff(key[order]) == 0][0]
            raise HarnessError(
                f"{data.name}: user '{data.user_tokens[data.user[row]]}' has two liked rows with equally long histories, so "
                "that they are no running ones; set history_field=null"
            )
        self._begin, self._end = np.empty_like(key), np.empty_like(key)
        """[N] of each row's history among `_item`, in which every level has its own stretch."""
        items, offset = [], 0
        for own in np.unique(level):
            known, rows = order[level[order] <= own], level == own
            self._begin[rows] = offset + np.searchsorted(key[known], data.user[rows] * width)
            self._end[rows] = offset + np.searchsorted(key[known], key[rows])
            items.append(data.item[known])
            offset += len(known)
        self._item: Ints = np.concatenate(items) if items else np.empty(0, dtype=np.int64)

    @property
    def lengths(self) -> Ints:
        """[N] liked items before each row."""
        found: Ints = self._end - self._begin
        return found

    def of(self, row: int) -> Ints:
        """[L] all of a row's history."""
        return self._item[self._begin[row] : self._end[row]]

    def latest(self, rows: Ints, longest: int) -> Ints:
        """[B, longest] the latest liked items before some rows, the last at the right, -1 in front of shorter ones."""
        places = self._end[rows][:, None] + np.arange(-longest, 0)
        there = places >= self._begin[rows][:, None]
        found = np.full(places.shape, -1, dtype=np.int64)
        found[there] = self._item[places[there]]
        return found
