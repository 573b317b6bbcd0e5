"""Splits: each is a function of the data and a seed, named in the record, and independent of row order.

Order in time is made here and nowhere else: what is tested, what a model trains on in order and what it reads when it scores
agree, and interactions of one time stand in the order of the split's keyed hash, which no model can learn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.hashing import Words, pair_hashes, token_hashes
from recbole_ext.core.progress import say
from recbole_ext.data.histories import Histories
from recbole_ext.data.interactions import Interactions

TRAIN, VALID, TEST, HISTORY = 0, 1, 2, 3
"""What is learnt from, chosen by, tested, and, of users that training never sees, what a model is told of them when it scores."""
UNUSED = 4
"""From here on: what is neither learnt from nor tested, rows before which the user had liked too little (`min_history`) or that are not
in the sample (`rows`); 4 more than the part that they would be in."""
TENTHS = 10
"""Groups of users of the split `users`."""
_ROUNDING = 1e-9
"""So that 0.1 x 30 counts as 3 whatever the rounding of 0.1."""
MANY = 0.05
"""Share of the users with a shared latest time from which `leave_one_out` warns."""


@dataclass(frozen=True)
class Split:
    """Which part each interaction belongs to."""

    part: npt.NDArray[np.int8]
    """[N] TRAIN, VALID, TEST or HISTORY, or UNUSED and one of these."""
    seed: int = 0
    """Of the random order, here that of interactions of one time."""

    def places(self, data: Interactions) -> Ints:
        """[N] how many of its user's interactions are earlier; equal times stand in random order. `data` has times."""
        from_end, length = _in_time(data, self.seed)
        return length - 1 - from_end

    def histories(self, data: Interactions) -> Histories:
        """What was liked before each row.

        Raises:
            HarnessError: the data has no labels, or nothing that puts them in order.
        """
        ordered = data.liked_before is not None or data.time is None
        part = self.part % UNUSED
        level = np.where(part == HISTORY, TRAIN, part).astype(np.int64)
        return Histories(data, None if ordered else self.places(data), level)

    def pairs(self, data: Interactions, *parts: int) -> tuple[Ints, Ints]:
        """(user [.], item [.]) of the interactions in any of `parts`."""
        chosen = np.isin(self.part, parts)
        return data.user[chosen], data.item[chosen]

    def with_validation_in_training(self, data: Interactions) -> Split:
        """The split for a model that is trained again once validation has chosen; validation users with what they have."""
        validating = np.bincount(data.user[self.part == VALID], minlength=len(data.user_tokens)) > 0
        trained = (self.part == VALID) | ((self.part == HISTORY) & validating[data.user])
        return Split(np.where(trained, TRAIN, self.part).astype(np.int8), self.seed)

    @property
    def fingerprint(self) -> str:
        """sha256 of the parts in canonical order; says nothing without the data's fingerprint."""
        return hashlib.sha256(self.part.tobytes()).hexdigest()


def make_split(data: Interactions, spec: Mapping[str, Any]) -> Split:
    """Split by `spec`.

    Args:
        data: the interactions.
        spec: `split`: `ratio` (random within each user), `leave_one_out`, `global_time`, `files` (the source's own) or
            `users` (those of validation and test are not trained on); `split_ratio`, `split_seed`, `split_held_out` and
            `fold` for what they need of it; `min_history`, liked items that a row needs before it to be used at all;
            `rows`, how many labelled rows are trained on, drawn by `split_seed`, null for all; `users`, how many users are
            validated by and tested, drawn likewise.

    Raises:
        HarnessError: unknown kind, ratios that do not fit, no times where they are needed, an empty part, or more `rows`
            or `users` than there are.
    """
    kinds = {
        "ratio": _ratio,
        "leave_one_out": _leave_one_out,
        "global_time": _global_time,
        "files": _files,
        "users": _users,
    }
    kind = str(spec["split"])
    if kind not in kinds:
        raise HarnessError(
            f"split '{kind}' is unknown (one of {', '.join(kinds)}){nearest(kind, kinds)}"
        )
    split = Split(kinds[kind](data, spec), int(spec["split_seed"]))
    if least := int(spec.get("min_history") or 0):
        short = split.histories(data).lengths < least
        split = Split(np.where(short, UNUSED + split.part, split.part).astype(np.int8), split.seed)
    if spec.get("rows") is not None:
        split = Split(_sampled(data, split, spec["rows"]), split.seed)
    if spec.get("users") is not None:
        split = Split(_of_some_users(data, split, spec["users"]), split.seed)
    for part, what in ((TRAIN, "training"), (VALID, "validation"), (TEST, "test")):
        if not (split.part == part).any():
            raise HarnessError(
                f"{data.name}: split '{kind}' leaves the {what} part empty; "
                f"the longest history has {int(np.bincount(data.user).max())} interactions"
            )
    return split


def _sampled(data: Interactions, split: Split, rows: Any) -> npt.NDArray[np.int8]:
    """Training cut to a number of its rows, whatever their user: the first by a keyed hash of (user, item), so that a smaller sample is
    part of a larger one. The others are still in the histories of later rows; validation and test stay as they are.

    Raises:
        HarnessError: no labels, no whole number from 1, or more than there are.
    """
    if data.label is None:
        raise HarnessError(
            f"{data.name}: --rows={rows} is of labelled rows, and there are no labels here: --keep_label=true, or leave --rows out"
        )
    trained = np.flatnonzero(split.part == TRAIN)
    if not isinstance(rows, int) or isinstance(rows, bool) or not 1 <= rows <= len(trained):
        raise HarnessError(
            f"{data.name}: --rows={rows} must be a whole number from 1 to {len(trained)}, its training rows"
        )
    words = _random_words(data, split.seed, "rows")[trained]
    part = split.part.copy()
    part[trained[np.argsort(words, kind="stable")[rows:]]] = UNUSED + TRAIN
    return part


def _of_some_users(data: Interactions, split: Split, users: Any) -> npt.NDArray[np.int8]:
    """Validation and test cut to those of a number of the users that have both: the first by a keyed hash, so that a smaller sample is part
    of a larger one. Training stays as it is.

    Raises:
        HarnessError: no whole number from 1, or more than there are.
    """
    later = np.isin(split.part, (VALID, TEST))
    both = np.ones(len(data.user_tokens), dtype=bool)
    for part in (VALID, TEST):
        both &= np.bincount(data.user[split.part == part], minlength=len(both)) > 0
    able = np.flatnonzero(both)
    if not isinstance(users, int) or isinstance(users, bool) or not 1 <= users <= len(able):
        raise HarnessError(
            f"{data.name}: --users={users} must be a whole number from 1 to {len(able)}, the users that have a validation and a test part"
        )
    words = token_hashes(data.user_tokens, f"tested|{split.seed}")[able]
    chosen = np.zeros(len(both), dtype=bool)
    chosen[able[np.argsort(words, kind="stable")[:users]]] = True
    return np.where(later & ~chosen[data.user], UNUSED + split.part, split.part).astype(np.int8)


def _ratio(data: Interactions, spec: Mapping[str, Any]) -> npt.NDArray[np.int8]:
    """Random within each user, by shares of its history.

    Sizes follow RecBole: the floor of share x history, but one interaction at least for test, then for validation, as
    long as training keeps one. The random order is that of a keyed hash of (user, item).
    """
    _, valid_share, test_share = _shares(spec)
    order = np.lexsort((_random_words(data, int(spec["split_seed"])), data.user))
    from_end, length = _places(data, order)
    test = np.minimum(_at_least_one(test_share, length), np.maximum(length - 1, 0))
    valid = np.minimum(_at_least_one(valid_share, length), np.maximum(length - test - 1, 0))
    return _parts(from_end, valid, test)


def _leave_one_out(data: Interactions, spec: Mapping[str, Any]) -> npt.NDArray[np.int8]:
    """The latest interaction of each user is for test, the one before for validation; equal times in random order."""
    if data.time is None:
        raise HarnessError(
            f"{data.name}: split 'leave_one_out' needs a timestamp column; use split=ratio"
        )
    shared = shared_latest(data)
    if shared > MANY * len(data.user_tokens):
        say(
            f"{data.name}: {shared:,} of {len(data.user_tokens):,} users have several interactions at their latest time; "
            "which of them is tested was drawn by split_seed"
        )
    from_end, length = _in_time(data, int(spec["split_seed"]))
    return _parts(from_end, (length >= 3).astype(np.int64), (length >= 2).astype(np.int64))


def _global_time(data: Interactions, spec: Mapping[str, Any]) -> npt.NDArray[np.int8]:
    """Everything before one moment is for training, before a second for validation, the rest for test.

    The moments are those of the interactions at `split_ratio` of all; equal times stay together, in the later part.
    """
    if data.time is None:
        raise HarnessError(
            f"{data.name}: split 'global_time' needs a timestamp column; use split=ratio"
        )
    if data.time_is_order:
        raise HarnessError(
            f"{data.name}: its timestamps are ranks within each history (1, 2, ..), not times, so users cannot be "
            "compared by them; use split=leave_one_out or split=ratio"
        )
    train_share, valid_share, _ = _shares(spec)
    ordered = np.sort(data.time)
    moments = [
        ordered[min(int(share * len(ordered) + 1e-9), len(ordered) - 1)]
        for share in (train_share, train_share + valid_share)
    ]
    return np.searchsorted(moments, data.time, side="right").astype(np.int8)


def _files(data: Interactions, spec: Mapping[str, Any]) -> npt.NDArray[np.int8]:
    """The source's own parts. Without a validation file, part of each user's training rows is drawn, by the ratio of
    validation to training in `split_ratio`."""
    if data.part is None:
        raise HarnessError(
            f"{data.name}: split 'files' needs {data.name}.train.inter and {data.name}.test.inter"
        )
    if (data.part == VALID).any():
        return data.part
    train_share, valid_share, _ = _shares(spec)
    order = np.lexsort(
        (_random_words(data, int(spec["split_seed"])), data.part == TRAIN, data.user)
    )
    from_end, _ = _places(data, order)
    training = np.bincount(data.user[data.part == TRAIN], minlength=len(data.user_tokens))[
        data.user
    ]
    share = valid_share / (train_share + valid_share)
    valid = np.minimum(_at_least_one(share, training), np.maximum(training - 1, 0))
    part = data.part.copy()
    part[(part == TRAIN) & (from_end < valid)] = VALID
    return part


def _users(data: Interactions, spec: Mapping[str, Any]) -> npt.NDArray[np.int8]:
    """Strong generalisation: a tenth of the users is for test, the next one for validation, the others for training.

    Of the n items of a held-out user ceil(`split_held_out` x n) are asked for, drawn by a keyed hash of (user, item), and
    the rest are its history. One at least is history, so that a user with a single item is asked for nothing.

    Raises:
        HarnessError: fewer than ten users.
    """
    tenth = _tenths(data, int(spec["split_seed"]))
    fold = int(spec["fold"])
    order = np.lexsort((_random_words(data, int(spec["split_seed"])), data.user))
    from_end, length = _places(data, order)
    held_out = np.ceil(float(spec["split_held_out"]) * length - _ROUNDING).astype(np.int64)
    asked = from_end < np.minimum(held_out, length - 1)
    part = np.full(len(data), TRAIN, dtype=np.int8)
    for number, name in ((fold, TEST), ((fold + 1) % TENTHS, VALID)):
        of_part = tenth[data.user] == number
        part[of_part] = np.where(asked[of_part], name, HISTORY)
    return part


def _tenths(data: Interactions, seed: int) -> Ints:
    """[m] 0..9, which tenth each user is in: those of equal size that an order by a keyed hash of the tokens has."""
    users = len(data.user_tokens)
    if users < TENTHS:
        raise HarnessError(
            f"{data.name}: split 'users' puts users in tenths, but there are {users}; use split=ratio"
        )
    tenth = np.empty(users, dtype=np.int64)
    order = np.argsort(token_hashes(data.user_tokens, f"users|{seed}"), kind="stable")
    tenth[order] = np.arange(users) * TENTHS // users
    return tenth


def _shares(spec: Mapping[str, Any]) -> tuple[float, float, float]:
    """Shares of training, validation and test, summing to 1."""
    shares = [float(x) for x in spec["split_ratio"]]
    if len(shares) != 3 or min(shares) < 0 or sum(shares) <= 0:
        raise HarnessError(
            f"split_ratio={spec['split_ratio']} must be three shares, e.g. [0.8,0.1,0.1]"
        )
    train, valid, test = (share / sum(shares) for share in shares)
    return train, valid, test


def shared_latest(data: Interactions) -> int:
    """Users whose latest time is that of several of their interactions; `data` has times."""
    assert data.time is not None
    latest = np.full(len(data.user_tokens), -np.inf)
    np.maximum.at(latest, data.user, data.time)
    at_latest = data.user[data.time == latest[data.user]]
    return int((np.bincount(at_latest, minlength=len(latest)) > 1).sum())


def _in_time(data: Interactions, seed: int) -> tuple[Ints, Ints]:
    """`_places` in the order of time, equal times in random order."""
    assert data.time is not None
    return _places(data, np.lexsort((_random_words(data, seed), data.time, data.user)))


def _random_words(data: Interactions, seed: int, what: str = "split") -> Words:
    """[N] a keyed hash of each (user, item): a random order that does not depend on the order of rows, another for each `what`."""
    key = f"{what}|{seed}"
    users = token_hashes(data.user_tokens, key)[data.user]
    return pair_hashes(users, token_hashes(data.item_tokens, key)[data.item])


def _at_least_one(share: float, length: Ints) -> Ints:
    wanted = np.floor(share * length + _ROUNDING).astype(np.int64)
    least: Ints = np.full_like(wanted, share > 0)
    return np.asarray(np.maximum(wanted, least), dtype=np.int64)


def _places(data: Interactions, order: Ints) -> tuple[Ints, Ints]:
    """([N] rows of the same user that follow in `order`, [N] length of the user's history)."""
    length = np.bincount(data.user, minlength=len(data.user_tokens))
    end = np.cumsum(length)
    from_end = np.empty(len(data), dtype=np.int64)
    from_end[order] = end[data.user[order]] - 1 - np.arange(len(data))
    return from_end, length[data.user]


def _parts(from_end: Ints, valid: Ints, test: Ints) -> npt.NDArray[np.int8]:
    """Each user's last `test` rows are for test, the `valid` before them for validation."""
    part = np.full(len(from_end), TRAIN, dtype=np.int8)
    part[from_end < test + valid] = VALID
    part[from_end < test] = TEST
    return part
