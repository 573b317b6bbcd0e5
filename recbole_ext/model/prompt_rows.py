"""Labelled rows as prompts: each filled once, and batches of those of like length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from recbole_ext.data.histories import Histories
from recbole_ext.lm.batches import bucketed
from recbole_ext.model.clicks import Batch


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
        self._known: dict[tuple[int, int], Any] = {}

    def of(self, items: Sequence[int], rows: Sequence[int]) -> list[Any]:
        """The prompts of B rows: items in RecBole's ids, rows as places among the interactions."""
        keys = list(zip(items, rows, strict=True))
        lacking = [key for key in dict.fromkeys(keys) if key not in self._known]
        if lacking:
            before = self.histories.latest(np.array([row for _, row in lacking]), self.longest)
            for key, liked in zip(lacking, before, strict=True):
                names = [self.titles[item + 1] for item in liked if item >= 0]
                prompt = self.filler.fill(names, self.titles[key[0]])
                # Its words are for people; tens of thousands of rows need their tokens only.
                self._known[key] = replace(prompt, pieces=())
        return [self._known[key] for key in keys]

    def shown(self, item: int, row: int) -> str:
        """The prompt of a row for people, slots marked."""
        (liked,) = self.histories.latest(np.array([row]), self.longest)
        names = [self.titles[place + 1] for place in liked if place >= 0]
        found: str = self.filler.fill(names, self.titles[item]).shown()
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
            self._lengths = [len(prompt.ids) for prompt in self.prompts.of(items, rows)]
        for places in bucketed(self._lengths, self.size, generator):
            chosen = torch.from_numpy(places).to(self.columns["row"].device)
            columns = (self.columns[name][chosen] for name in ("user", "item", "label", "row"))
            user, item, label, row = columns
            yield user, item, label, row
