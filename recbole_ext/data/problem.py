"""What models are compared on: data, split, candidates and text of one dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.catalog import DatasetSpec
from recbole_ext.data.interactions import Interactions
from recbole_ext.data.load import load_dataset
from recbole_ext.data.splits import HISTORY, TEST, TRAIN, VALID, Split, make_split
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.candidates import lists_sha256
from recbole_ext.evaluator.pointwise import LabelledPairs
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.ranks import RankTask, make_task
from recbole_ext.text import choose_fields, choose_title, item_texts, item_titles

SMALL = "small"
"""`valid_rows` for the source's smaller validation part."""
_PARTS = {TRAIN: "training", VALID: "validation", TEST: "test"}


@dataclass(frozen=True)
class Validation:
    """A task of validation within the users and items that a model is trained on."""

    task: RankTask
    first_user: int
    """That the task's user 0 is."""
    items: slice
    """That the task's items are."""


@dataclass(frozen=True)
class Problem:
    """Data, split and ranking tasks: the same for every model of a command, each part made when first needed."""

    spec: DatasetSpec
    options: dict[str, Any]
    evaluation: dict[str, Any]
    with_validation: bool = False
    """The validation part is trained on too: nothing is left to validate on."""

    @cached_property
    def data(self) -> Interactions:
        return load_dataset(self.spec, self.options)

    @cached_property
    def split(self) -> Split:
        split = make_split(self.data, self.options)
        return split.with_validation_in_training(self.data) if self.with_validation else split

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        found = {"data": self.data.fingerprint, "split": self.split.fingerprint}
        if self.valid_rows == SMALL and self.data.valid_small is not None:
            found["valid_rows"] = hashlib.sha256(self.data.valid_small.tobytes()).hexdigest()
        return found

    @property
    def seen_at_validation(self) -> tuple[int, ...]:
        """Parts that are no candidates at validation: what a user has already."""
        return TRAIN, HISTORY

    @property
    def seen_at_test(self) -> tuple[int, ...]:
        """Parts that are no candidates at test."""
        excludes = {"train": (TRAIN, HISTORY), "train+valid": (TRAIN, VALID, HISTORY)}
        return excludes[self.evaluation["exclude"]]

    @cached_property
    def validations(self) -> list[Validation]:
        """What validation ranks: one task, or one for each dataset that is trained on."""
        task = self._task(VALID, self.seen_at_validation)
        return [Validation(task, 0, slice(0, task.n_items))]

    def validation_lists(self, protocol: str) -> list[Validation]:
        """`validations` with one frozen list of a drawn protocol for each positive."""
        return [
            replace(
                part,
                task=summary.with_lists(
                    part.task,
                    [protocol],
                    self.data.user_tokens[part.first_user :],
                    self.data.item_tokens[part.items],
                    1,
                    f"{self.data.fingerprint}|validation",
                    self.popularity[part.items],
                ),
            )
            for part in self.validations
        ]

    def labelled(self, part: int) -> LabelledPairs | str:
        """The rows of a part with their labels, or why a model cannot be judged by those; of validation those that it may read."""
        data, chosen = self.data, self.split.part == part
        if part == VALID and self.valid_rows == SMALL:
            if data.valid_small is None:
                return f"{data.name} has no {data.name}.valid_small.inter: --valid_rows=all"
            chosen &= data.valid_small
        label = None if data.label is None else data.label[chosen]
        row = np.flatnonzero(chosen)
        return LabelledPairs.of(data.user[row], data.item[row], label, _PARTS[part], row)

    @property
    def valid_rows(self) -> str:
        """`all`, or `small`: which labelled rows of the validation part are chosen by."""
        return str(self.evaluation.get("valid_rows", "all"))

    @property
    def blocks(self) -> Ints | None:
        """[n_items] which dataset each item is a candidate in; None where there is one."""
        return None

    @cached_property
    def training_titles(self) -> list[list[str]]:
        """Of each user the titles of what it liked in training, the latest first: nothing of validation or test."""
        data, titles = self.data, self.titles[1]
        rows = np.flatnonzero(self._liked & (self.split.part == TRAIN))
        time = np.zeros(len(rows)) if data.time is None else -data.time[rows]
        found: list[list[str]] = [[] for _ in data.user_tokens]
        for row in rows[np.lexsort((data.item[rows], time))]:
            found[data.user[row]].append(titles[data.item[row]])
        return found

    @cached_property
    def test_task(self) -> RankTask:
        exclude = self.evaluation["exclude"]
        ranks = [n for n in self.evaluation["protocols"] if not protocol_of(n).labelled]
        if ranks and not (self._liked & (self.split.part == TEST)).any():
            raise HarnessError(
                f"no row of the test part of {self.data.name} has label 1, and so there is nothing to rank: leave "
                f"{', '.join(ranks)} out of --protocols"
            )
        if any(protocol_of(name).by_recbole for name in self.evaluation["protocols"]):
            self._leave_some_for_recbole()
        return summary.with_lists(
            self._task(TEST, self.seen_at_test),
            self.evaluation["protocols"],
            self.data.user_tokens,
            self.data.item_tokens,
            int(self.evaluation["draws"]),
            f"{self.data.fingerprint}|{exclude}",
            self.popularity,
        )

    def _leave_some_for_recbole(self) -> None:
        """RecBole's own evaluator draws, for each test user, items that the user has in no part, and lists k of all.

        Raises:
            HarnessError: a test user has every item, or a cut-off is beyond the catalogue.
        """
        n_items = len(self.data.item_tokens)
        if max(self.evaluation["ks"]) > n_items:
            raise HarnessError(
                f"recbole-uniM cuts its lists at {max(self.evaluation['ks'])}, but {self.data.name} has {n_items} items: "
                f"choose --ks up to that"
            )
        counts = np.bincount(self.data.user, minlength=len(self.data.user_tokens))
        for user in np.unique(self.split.pairs(self.data, TEST)[0]):
            if counts[user] >= n_items:
                raise HarnessError(
                    f"recbole-uniM draws items that a user has not, but test user '{self.data.user_tokens[user]}' of "
                    f"{self.data.name} has every item: leave that user out of the data, or use expected@M"
                )

    @cached_property
    def popularity(self) -> Ints:
        """[n_items] training interactions of each item."""
        _, item = self.split.pairs(self.data, TRAIN)
        return np.bincount(item, minlength=len(self.data.item_tokens))

    @cached_property
    def training_users(self) -> int:
        return len(np.unique(self.split.pairs(self.data, TRAIN)[0]))

    @cached_property
    def activity(self) -> Ints:
        """[n_users] what a model knows of each user: training interactions, or those that are folded in."""
        user, _ = self.split.pairs(self.data, TRAIN, HISTORY)
        return np.bincount(user, minlength=len(self.data.user_tokens))

    @cached_property
    def texts(self) -> tuple[dict[str, str], list[str]]:
        """(fields, [n_items] texts).

        Raises:
            HarnessError: the dataset has no field with text, or in none of its items anything in them.
        """
        fields = self._fields(choose_fields)
        return fields, self._said(item_texts(self.data.item_columns, fields), fields)

    @cached_property
    def titles(self) -> tuple[dict[str, str], list[str]]:
        """({"Title": column}, [n_items] titles), for models that read these and no other text.

        Raises:
            HarnessError: the dataset has no titles, or no item has one.
        """
        fields = self._fields(choose_title)
        return fields, self._said(item_titles(self.data.item_columns, fields), fields)

    def _fields(self, choose: Callable[..., dict[str, str]]) -> dict[str, str]:
        """What is read of the items' columns; of a refusal the dataset is named."""
        try:
            return choose(list(self.data.item_columns), self.options["text_fields"])
        except HarnessError as error:
            raise HarnessError(f"{self.spec.name}: {error}") from None

    def _said(self, texts: list[str], fields: Mapping[str, str]) -> list[str]:
        """The texts, some of which say something: else a model of text would be one without it, under its own name."""
        if any(texts):
            return texts
        raise HarnessError(
            f"{self.spec.name}: none of its {len(texts):,} items has anything in {', '.join(fields.values())}; does the item "
            f"file spell item_id as the interactions do, e.g. '{self.data.item_tokens[0]}'?"
        )

    @property
    def has_text(self) -> npt.NDArray[np.bool_] | None:
        """[n_items] whether an item has any text, None for a dataset without text."""
        try:
            return np.array([bool(text) for text in self.texts[1]])
        except HarnessError:
            return None

    @cached_property
    def candidates(self) -> dict[str, str]:
        return {name: lists_sha256(lists) for name, lists in self.test_task.lists.items()}

    def _task(self, part: int, excluded: tuple[int, ...]) -> RankTask:
        positive = (self.split.part == part) & self._liked
        return make_task(
            len(self.data.item_tokens),
            (self.data.user[positive], self.data.item[positive]),
            self.split.pairs(self.data, *excluded),
        )

    @cached_property
    def _liked(self) -> npt.NDArray[np.bool_]:
        """[N] whether a row is a positive where it is ranked: of labels of 0 and 1 those with 1, otherwise all."""
        label = self.data.label
        if label is None or len(np.setdiff1d(label, (0, 1))):
            return np.ones(len(self.data), dtype=bool)
        return np.asarray(label == 1)

    def rows_of(self, task: RankTask) -> Ints:
        """[P] the row of each positive of the test among the interactions, of one that stands several times the last."""
        row = np.flatnonzero((self.split.part == TEST) & self._liked)
        key = self.data.user[row] * task.n_items + self.data.item[row]  # ascending
        asked = task.users[task.row_of_positive] * task.n_items + task.pos_items
        return np.asarray(row[np.searchsorted(key, asked, side="right") - 1])

    @property
    def _test_users(self) -> int:
        """With rows in the test part, liked or not, that they have not had before."""
        if self._liked.all():
            return len(self.test_task.users)
        tested, seen = (
            self.split.pairs(self.data, *parts) for parts in ((TEST,), self.seen_at_test)
        )
        return len(make_task(len(self.data.item_tokens), tested, seen).users)

    def sizes(self) -> dict[str, Any]:
        part = self.split.part
        folded_in = int((part == HISTORY).sum())
        return {
            "users": len(self.data.user_tokens),
            "items": len(self.data.item_tokens),
            "interactions": len(self.data),
            "train": int((part == TRAIN).sum()),
            "valid": int((part == VALID).sum()),
            "test": int((part == TEST).sum()),
            **({"history": folded_in} if folded_in else {}),
            "test_users": self._test_users,
        }
