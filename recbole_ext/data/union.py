"""Datasets that a model is trained on together before it meets another one, whose items it has never seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.progress import say
from recbole_ext.data.catalog import DatasetSpec
from recbole_ext.data.interactions import Interactions
from recbole_ext.data.problem import Problem, Validation
from recbole_ext.data.splits import TRAIN, VALID, Split
from recbole_ext.evaluator.ranks import make_task


@dataclass(frozen=True)
class Union(Problem):
    """Several problems as one: users, items and text side by side, each item a candidate in its own dataset only.

    An item of a source that the target has too (the same text but for case and spaces, or the same token where tokens
    are no plain numbers) is left out of the source with its interactions, and users without training ones after that.
    """

    parts: tuple[Problem, ...] = ()
    target: Problem | None = None

    @classmethod
    def of(cls, parts: list[Problem], target: Problem) -> Union:
        """The sources for a target.

        Raises:
            HarnessError: the target is among them.
        """
        names = [part.spec.name for part in parts]
        if target.spec.name in names:
            named = ",".join(names)
            raise HarnessError(f"--train={named}: {target.spec.name} is the target itself")
        spec = DatasetSpec("+".join(names), None)
        return cls(spec, target.options, target.evaluation, parts=tuple(parts), target=target)

    @cached_property
    def kept(self) -> list[tuple[Interactions, Split, list[str]]]:
        """(Interactions, split, item texts) of each source without the target's items.

        Raises:
            HarnessError: nothing of a source is left, or nothing of it to validate on.
        """
        assert self.target is not None
        theirs = _identities(self.target.data.item_tokens, self.target.texts[1])
        found = []
        for part in self.parts:
            texts = part.texts[1]
            own = [
                _identities([token], [text])
                for token, text in zip(part.data.item_tokens, texts, strict=True)
            ]
            fresh = np.array([not identities & theirs for identities in own])
            if not fresh.all():
                say(
                    f"{part.spec.name}: {int((~fresh).sum()):,} of {len(fresh):,} items are in {self.target.spec.name} "
                    "too and are left out"
                )
            data, split, items = _restricted(part.data, part.split, fresh)
            if not len(data):
                raise HarnessError(
                    f"--train: nothing of {part.spec.name} is left without the items of {self.target.spec.name}"
                )
            if not (split.part == VALID).any():
                name = part.spec.name
                raise HarnessError(
                    f"--train: nothing of {name} is left to validate on without the items of {self.target.spec.name}; "
                    f"leave {name} out, or split it otherwise (--{name}.split=.., --{name}.split_ratio=..)"
                )
            left = _identities(data.item_tokens, [texts[i] for i in items])
            assert not left & theirs, "an item of the target is among the sources"
            found.append((data, split, [texts[i] for i in items]))
        return found

    @cached_property
    def data(self) -> Interactions:
        """All sources in one: tokens are preceded by the number of their source, which keeps them in order."""
        parts = [data for data, _, _ in self.kept]
        width = len(str(len(parts)))
        users, items = self._starts
        return _pairs(
            name=self.spec.name,
            user_tokens=[
                f"{k:0{width}}:{t}" for k, part in enumerate(parts) for t in part.user_tokens
            ],
            item_tokens=[
                f"{k:0{width}}:{t}" for k, part in enumerate(parts) for t in part.item_tokens
            ],
            user=np.concatenate([part.user + at for part, at in zip(parts, users, strict=True)]),
            item=np.concatenate([part.item + at for part, at in zip(parts, items, strict=True)]),
        )

    @cached_property
    def split(self) -> Split:
        return Split(np.concatenate([split.part for _, split, _ in self.kept]))

    @cached_property
    def texts(self) -> tuple[dict[str, str], list[str]]:
        fields = {
            f"{part.spec.name}: {name}": column
            for part in self.parts
            for name, column in part.texts[0].items()
        }
        return fields, [text for _, _, texts in self.kept for text in texts]

    @property
    def blocks(self) -> Ints:
        return np.repeat(
            np.arange(len(self.kept)), [len(data.item_tokens) for data, _, _ in self.kept]
        )

    @cached_property
    def validations(self) -> list[Validation]:
        users, items = self._starts
        return [
            Validation(
                make_task(
                    len(data.item_tokens), split.pairs(data, VALID), split.pairs(data, TRAIN)
                ),
                int(user),
                slice(int(item), int(item) + len(data.item_tokens)),
            )
            for (data, split, _), user, item in zip(self.kept, users, items, strict=True)
        ]

    @property
    def _starts(self) -> tuple[Ints, Ints]:
        """First user and first item of each source."""
        sizes = np.array([(len(d.user_tokens), len(d.item_tokens)) for d, _, _ in self.kept])
        before = np.cumsum(sizes, axis=0) - sizes
        return before[:, 0], before[:, 1]

    def sizes(self) -> dict[str, Any]:
        return {
            part.spec.name: {
                "users": len(data.user_tokens),
                "items": len(data.item_tokens),
                "items_left_out": len(part.data.item_tokens) - len(data.item_tokens),
                "train": int((split.part == TRAIN).sum()),
                "valid": int((split.part == VALID).sum()),
            }
            for part, (data, split, _) in zip(self.parts, self.kept, strict=True)
        }


def _identities(tokens: list[str], texts: list[str]) -> set[str]:
    """By what items are the same in two datasets."""
    spelled = {f"text {' '.join(text.casefold().split())}" for text in texts if text.strip()}
    return spelled | {f"token {token}" for token in tokens if not token.isdigit()}


def _restricted(
    data: Interactions, split: Split, items: npt.NDArray[np.bool_]
) -> tuple[Interactions, Split, Ints]:
    """What is left with some of the items, renumbered, and which items they are."""
    rows = items[data.item]
    trained = np.zeros(len(data.user_tokens), dtype=bool)
    trained[data.user[rows & (split.part == TRAIN)]] = True
    rows &= trained[data.user]
    users, user = np.unique(data.user[rows], return_inverse=True)
    kept, item = np.unique(data.item[rows], return_inverse=True)
    left = _pairs(
        name=data.name,
        user_tokens=[data.user_tokens[i] for i in users],
        item_tokens=[data.item_tokens[i] for i in kept],
        user=user.astype(np.int64),
        item=item.astype(np.int64),
    )
    return left, Split(split.part[rows]), kept


def _pairs(
    name: str, user_tokens: list[str], item_tokens: list[str], user: Ints, item: Ints
) -> Interactions:
    """Who interacted with what, and nothing else of a dataset."""
    return Interactions(
        name=name,
        user_tokens=user_tokens,
        item_tokens=item_tokens,
        user=user,
        item=item,
        time=None,
        time_is_order=False,
        part=None,
        item_columns={},
        dropped={},
    )
