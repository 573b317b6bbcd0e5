"""Concepts: what people call items, and how often. Read from a file of tags or from the item file's own columns.

Source: From Knots to Knobs (section 5.5), whose tags are lower-cased, stripped and applied at least 100 times. Ours: smaller
thresholds for smaller data, a threshold on items, the stop list, columns of the item file, and that of users who are the
data's own those that training never sees have no say (section 5.6: tags of train users only).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from recbole_ext.core.arrays import Bools, Ints
from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.progress import say
from recbole_ext.core.tables import ITEM, USER, TableFile
from recbole_ext.core.tokens import numbered
from recbole_ext.data.interactions import Interactions
from recbole_ext.sae.stop_list import kind_of
from recbole_ext.text.template import FIELDS

if TYPE_CHECKING:
    import pandas as pd

TAGS = ("tags", "tag")
"""Item columns in people's own words, to which the stop list applies."""
COLUMNS = (*FIELDS["Category"], *TAGS)
"""Item columns that hold concepts."""
_ROOT = 0.95
"""Share of the items with a path from which a first level is the root of all: it tells no item from another."""
_SEPARATED = 0.05
"""Share of a column's values from which what stands in them separates, and is no part of a name."""
_NOTHING = re.compile(r"\(no .* listed\)")


@dataclass(frozen=True)
class Thresholds:
    """What a name must reach to be a concept."""

    applications: int
    items: int
    """Distinct items that it is on."""


OF_TAGS, OF_COLUMNS = Thresholds(20, 10), Thresholds(1, 10)


@dataclass(frozen=True)
class Concepts:
    """T names and how often each is applied to each item."""

    names: tuple[str, ...]
    """[T] lower case, sorted."""
    counts: sp.csr_matrix
    """[n_items, T] applications, not de-duplicated, >= 0, float64."""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def presence(self) -> sp.csr_matrix:
        """[n_items, T] 1.0 where an item has a concept."""
        found = self.counts.copy()
        found.eliminate_zeros()
        found.data[:] = 1.0
        return found

    def index(self, name: str) -> int:
        """The place of a concept in `names`, in any case.

        Raises:
            HarnessError: it is none; the line gives the nearest.
        """
        wanted = _clean(name)
        try:
            return self.names.index(wanted)
        except ValueError:
            hint = nearest(wanted, self.names) or f"; the {len(self)} concepts are e.g. " + (
                ", ".join(self.names[:: max(1, len(self) // 5)][:5])
            )
            raise HarnessError(f"no concept '{name}'{hint}") from None

    def of_items(self, chosen: Bools) -> Concepts:
        """The same concepts on the items `chosen` [n_items] alone."""
        return Concepts(self.names, self.counts[np.flatnonzero(chosen)])


class TagFile(TableFile):
    """A csv, tsv or parquet file of applications: columns item, tag and, where it is known, user."""

    option = "tags"
    quotes_are_data = True

    def read(
        self,
        data: Interactions,
        unseen: Ints | None = None,
        own_users: bool | None = None,
        at_least: Thresholds = OF_TAGS,
        stop: bool = True,
    ) -> Concepts:
        """Its concepts on the data's items; what is left out is said.

        Args:
            data: whose items count.
            unseen: indices of the users of `data` that training never sees: what they said is left out.
            own_users: whether the file's users are those of `data`, so that `unseen` is about them. None: they are where
                each of them has the name of one; tags of another source have users of their own, some of whose names
                look alike.
            at_least: thresholds on what is left.
            stop: apply the stop list.

        Raises:
            HarnessError: a column is missing, or nothing is left.
        """
        frame = self.frame()
        tag = [_clean(tag) for tag in self.column(frame, ("tag",)).fillna("").astype(str)]
        index = {token: i for i, token in enumerate(data.item_tokens)}
        item = np.array([index.get(token, -1) for token in self.column(frame, ITEM).astype(str)])
        known = (item >= 0) & np.array([bool(name) for name in tag])
        silent, whose = self._silent(frame, data, unseen, own_users)
        say(
            f"--tags={self.path}: of {len(frame):,} tags left out {(~known).sum():,} on items that {data.name} has not "
            f"(or empty), {(known & silent).sum():,} of users that are not trained on; {whose}"
        )
        kept = np.flatnonzero(known & ~silent)
        if not len(kept):
            if known.any():
                self.refuse(f"all its tags on items of {data.name} are of users not trained on")
            self.refuse(
                f"no tag is left; items must be named as {data.name} does, e.g. '{data.item_tokens[0]}'"
            )
        names = [tag[place] for place in kept]
        return _concepts(f"--tags={self.path}", len(index), item[kept], names, at_least, stop)

    def _silent(
        self, frame: pd.DataFrame, data: Interactions, unseen: Ints | None, own_users: bool | None
    ) -> tuple[Bools, str]:
        """([rows] whether the row's user is an unseen one of the data, whose users these are); see `read`."""
        name = next((name for name in USER if name in frame), None)
        if name is None:
            if own_users:
                self.column(frame, USER)
            return np.zeros(len(frame), dtype=bool), "it has no users, so that all count"
        user = frame[name].astype(str)
        distinct = set(user)
        strangers = len(distinct - set(data.user_tokens))
        some = f"{strangers:,} of its {len(distinct):,} users have names that {data.name} has not"
        if not (strangers == 0 if own_users is None else own_users):
            # A leak, where they are the data's own and only its filters lack the others.
            hint = "; if its filters only left them out, say own_users" * (
                own_users is None and 2 * strangers < len(distinct)
            )
            none = np.zeros(len(frame), dtype=bool)
            return none, f"its users are strangers, who all count: {some}{hint}"
        tokens = {data.user_tokens[u] for u in ([] if unseen is None else unseen)}
        return user.isin(tokens).to_numpy(dtype=bool), f"its users are those of {data.name}: {some}"


def concepts_of_columns(
    data: Interactions,
    columns: Sequence[str] | None = None,
    at_least: Thresholds = OF_COLUMNS,
    stop: bool = True,
) -> Concepts:
    """Concepts of the item file, each once per item. Ours.

    Args:
        data: with item columns. They say nothing of who put a tag there, so that what unseen users said counts too.
        columns: which of them; None takes those of `COLUMNS`, in any case.
        at_least: thresholds.
        stop: apply the stop list to columns of tags: a category `dvd` is a shop's word, a tag `dvd` is an owner's.

    Raises:
        HarnessError: no such column, or nothing is left.
    """
    have = {column.lower(): column for column in data.item_columns}
    chosen = [have[name] for name in COLUMNS if name in have]
    if columns is not None:
        for column in columns:
            if column not in data.item_columns:
                raise HarnessError(
                    f"{data.name} has no item column '{column}'{nearest(column, have) or _listed(data)}"
                )
        chosen = list(columns)
    if not chosen:
        raise HarnessError(
            f"{data.name} has no concepts: none of the item columns {', '.join(COLUMNS)}{_listed(data)}; "
            "give a file of tags, --tags=FILE with columns item and tag"
        )
    pairs: set[tuple[int, str]] = set()
    for column in chosen:
        people = column.lower() in TAGS
        for place, names in enumerate(_split(data.item_columns[column])):
            pairs |= {(place, n) for n in names if not (stop and people and kind_of(n))}
    where = f"{data.name}, item column{'s' * (len(chosen) > 1)} {', '.join(chosen)}"
    if not pairs:
        raise HarnessError(f"{where}: no item has a concept")
    item, name = (list(column) for column in zip(*sorted(pairs), strict=True))
    return _concepts(where, len(data.item_tokens), np.array(item), name, at_least, stop=False)


def _clean(name: str) -> str:
    return name.strip().lower()


def _listed(data: Interactions) -> str:
    return f" (it has {', '.join(data.item_columns) or 'none'})"


def _split(values: Sequence[str]) -> list[set[str]]:
    """Names in each value of a column: paths `a > b > c` whose levels are concepts, else parts between pipes or commas,
    else words, as a token sequence of RecBole has them."""
    values = ["" if _NOTHING.fullmatch(value.strip()) else value for value in values]
    filled = max(1, sum(bool(value.strip()) for value in values))
    by = [
        s for s in (" > ", "|", ",") if sum(s in value for value in values) >= _SEPARATED * filled
    ]
    if by and by[0] == " > ":
        paths = [[path.split(" > ") for path in value.split("|")] for value in values]
        first = Counter(name for ways in paths for name in {_clean(way[0]) for way in ways})
        roots = {name for name, count in first.items() if count >= _ROOT * filled}
        parts = [[n for way in ways for n in way[_clean(way[0]) in roots :]] for ways in paths]
    else:
        parts = [value.split(by[0] if by else None) for value in values]
    return [{_clean(name) for name in names} - {""} for names in parts]


def _concepts(
    where: str, n_items: int, item: Ints, names: Sequence[str], at_least: Thresholds, stop: bool
) -> Concepts:
    """Applications (item [N], name [N]) as concepts: those that the stop list and the thresholds leave."""
    tokens, code = numbered(np.array(names, dtype=object))
    ones = np.ones(len(item))
    # One entry for each pair: the constructor sums those of the same place.
    counts = sp.csr_matrix((ones, (item, code)), shape=(n_items, len(tokens)))
    applied, on = np.asarray(counts.sum(axis=0)).ravel(), counts.getnnz(axis=0)
    enough = (applied >= at_least.applications) & (on >= at_least.items)
    kind = [kind_of(token) if stop else None for token in tokens]
    personal = np.array([k is not None for k in kind])
    if (personal & enough).any():
        kinds = Counter(k for k, yes in zip(kind, enough, strict=True) if yes and k)
        of = ", ".join(f"{count} {k}" for k, count in kinds.most_common())
        say(f"{where}: the stop list takes {kinds.total()} of {enough.sum()} concepts ({of})")
    left = np.flatnonzero(enough & ~personal)
    if not len(left):
        most = int(np.lexsort((on, applied))[-1])
        raise HarnessError(
            f"{where}: none of {len(tokens):,} names is applied {at_least.applications} times and on {at_least.items} items"
            f"{', the stop list aside' if personal.any() else ''}; the largest is '{tokens[most]}', {applied[most]:.0f} times "
            f"on {on[most]} items; lower the thresholds"
        )
    chosen = counts[:, left]
    chosen.sort_indices()
    return Concepts(tuple(tokens[i] for i in left), chosen)
