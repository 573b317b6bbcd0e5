"""Labelled rows as prompts: each filled once, and batches of those of like length."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch

from recbole_ext.data.histories import Histories
from recbole_ext.lm.batches import bucketed
from recbole_ext.model.clicks import Batch

_KEPT = 1 << 18
"""Prompts, of about 2 kB each; those that come later, of frozen lists for example, are filled each time."""
_AT_ONCE = 1 << 13
"""Rows whose prompts are counted together: those of a million rows are never all there."""


Key = TypeVar("Key", bound=Hashable)
"""What a prompt is known by."""


class KnownPrompts:
    """Prompts that were filled before, up to a number of them."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def of(self, keys: Sequence[Key], fill: Callable[[list[Key]], Iterable[Any]]) -> list[Any]:
        """[B] prompts of B keys; those of keys that are not known are filled, each once."""
        found = {key: self._known[key] for key in dict.fromkeys(keys) if key in self._known}
        lacking = [key for key in dict.fromkeys(keys) if key not in found]
        if lacking:
            for key, prompt in zip(lacking, fill(lacking), strict=True):
                # Its words are for people; tens of thousands of rows need their tokens only.
                found[key] = replace(prompt, pieces=())
                if len(self._known) < _KEPT:
                    self._known[key] = found[key]
        return [found[key] for key in keys]


class FilledRows:
    """The prompts of rows, filled when they are first asked for. Nothing of a label is in them but which titles were liked before."""

    def __init__(
        self, filler: Any, titles: Sequence[str], histories: Histories, longest: int
    ) -> None:
        """What fills them.

        Args:
            filler: `lm.prompts.Filler`.
            titles: [n_items] in RecBole's ids, that of the padding item is not read.
            histories: what was liked before each row, items counted from 0.
            longest: liked titles that a prompt names, the latest.
        """
        self.filler, self.titles = filler, titles
        self.histories, self.longest = histories, longest
        self._known = KnownPrompts()

    def liked(self, rows: Sequence[int]) -> list[list[str]]:
        """[B] lists of the titles that prompts of B rows name, the latest last."""
        before = self.histories.latest(np.array(rows, dtype=np.int64), self.longest)
        return [[self.titles[item + 1] for item in liked if item >= 0] for liked in before.tolist()]

    def of(self, items: Sequence[int], rows: Sequence[int]) -> list[Any]:
        """The prompts of B rows: items in RecBole's ids, rows as places among the interactions."""

        def fill(lacking: list[tuple[int, int]]) -> Iterator[Any]:
            before = self.liked([row for _, row in lacking])
            for (item, _), names in zip(lacking, before, strict=True):
                yield self.filler.fill(names, self.titles[item])

        return self._known.of(list(zip(items, rows, strict=True)), fill)

    def lengths(self, items: Sequence[int], rows: Sequence[int]) -> list[int]:
        """[B] tokens of the prompts of B rows."""
        return counted(self.of, items, rows)

    def one(self, item: int, row: int) -> Any:
        """The prompt of a row with its words, for people."""
        (names,) = self.liked([row])
        return self.filler.fill(names, self.titles[item])


def counted(of: Callable[..., list[Any]], *columns: Any) -> list[int]:
    """[B] tokens of the prompts that `of` makes of columns [B], of some thousand rows at a time."""
    found: list[int] = []
    for first in range(0, len(columns[0]), _AT_ONCE):
        some = (column[first : first + _AT_ONCE] for column in columns)
        found += [len(prompt.ids) for prompt in of(*some)]
    return found


class PromptedRows:
    """Batches of the training rows, rows of like length together, drawn anew in each epoch."""

    def __init__(self, columns: Mapping[str, torch.Tensor], prompts: FilledRows, size: int) -> None:
        """N rows.

        Args:
            columns: `user`, `item` in RecBole's ids, `label` float, `row`, each [N].
            prompts: that are made of them.
            size: rows of a batch.
        """
        self.columns, self.prompts, self.size = columns, prompts, size
        self._lengths: list[int] | None = None

    def __len__(self) -> int:
        return -(-len(self.columns["row"]) // self.size)

    def __call__(self, generator: torch.Generator) -> Iterator[Batch]:
        if self._lengths is None:
            items, rows = self.columns["item"].tolist(), self.columns["row"].tolist()
            self._lengths = self.prompts.lengths(items, rows)
        for places in bucketed(self._lengths, self.size, generator):
            chosen = torch.from_numpy(places).to(self.columns["row"].device)
            columns = (self.columns[name][chosen] for name in ("user", "item", "label", "row"))
            user, item, label, row = columns
            yield user, item, label, row
