"""Frozen candidate lists: the same negatives for every model, seed and machine.

A list belongs to one test positive and is a function of the data's fingerprint, what is excluded, the number of
negatives m, the draw, and the tokens of user and item, and of nothing else: neither of row order nor of the
library's random generator. Drawing is uniform without replacement (Floyd's algorithm on a counter-based generator).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.core.environment import usable_cpus
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.hashing import Words, pair_hashes, splitmix64, token_hashes
from recbole_ext.core.progress import progress
from recbole_ext.evaluator.protocols import at_most
from recbole_ext.evaluator.ranks import RankTask

_CHUNK = 1024
"""Positives drawn for at a time."""


def _step(count: int, stride: int) -> np.uint64:
    """count * stride modulo 2^64, without NumPy's overflow warning for scalars."""
    return np.uint64(count * stride % 2**64)


def draw_lists(
    task: RankTask,
    user_tokens: Sequence[str],
    item_tokens: Sequence[str],
    m: int,
    draws: int,
    key: str,
) -> npt.NDArray[np.int32]:
    """Draw m negatives per positive and draw.

    Args:
        task: the positives and what is excluded.
        user_tokens: [users] tokens, addressed by the task's user indices.
        item_tokens: [n_items] tokens in index order; the order must be canonical (sorted), because a list is drawn as
            positions among the user's negatives.
        m: negatives per list.
        draws: independent lists per positive.
        key: everything else that the lists depend on (data fingerprint and what is excluded).

    Returns:
        [P, draws, m] item indices, ascending within a list.

    Raises:
        HarnessError: some user has fewer than m negatives; the line gives the largest m that fits.
    """
    negatives = task.negatives
    if len(negatives) and m > int(negatives.min()):
        worst = int(negatives.argmin())
        raise HarnessError(
            f"uni{m} needs {m} negatives, but user '{user_tokens[task.users[worst]]}' has "
            f"{negatives[worst]}; choose m up to that{at_most('uni', int(negatives[worst]))}, or --protocols=full"
        )
    spread = _Negatives(task)
    return _drawn(
        task, user_tokens, item_tokens, f"{key}|m={m}", f"uni{m}", (draws, m),
        lambda seed, rows: spread.at(rows, _floyd(seed, negatives[rows], m)),
    )  # fmt: skip


def _drawn(
    task: RankTask,
    user_tokens: Sequence[str],
    item_tokens: Sequence[str],
    key: str,
    name: str,
    shape: tuple[int, int],
    choose: Callable[[Words, Ints], npt.NDArray[Any]],
) -> npt.NDArray[np.int32]:
    """[P, draws, m] lists, `shape` = (draws, m); `choose` makes [C, m] items from a word and a row of each of C positives."""
    rows = task.row_of_positive
    hashed_users = token_hashes([user_tokens[u] for u in task.users], key)[rows]
    positive = pair_hashes(hashed_users, token_hashes(item_tokens, key)[task.pos_items])
    out = np.empty((len(rows), *shape), dtype=np.int32)

    def fill(start: int) -> None:
        chunk = slice(start, start + _CHUNK)
        for draw in range(shape[0]):
            seed = splitmix64(positive[chunk] + _step(draw + 1, 0xD1342543DE82EF95))
            out[chunk, draw] = choose(seed, rows[chunk])

    # NumPy works outside the interpreter's lock, and a chunk stays in a core's cache.
    starts = range(0, len(rows), _CHUNK)
    with (
        ThreadPoolExecutor(usable_cpus()) as pool,
        progress(f"drawing {name}", len(starts)) as advance,
    ):
        for _ in pool.map(fill, starts):
            advance()
    return out


def draw_popular_lists(
    task: RankTask,
    user_tokens: Sequence[str],
    item_tokens: Sequence[str],
    popularity: Ints,
    m: int,
    draws: int,
    key: str,
) -> npt.NDArray[np.int32]:
    """Draw m different negatives per positive and draw, one after the other, each in proportion to its popularity.

    Args:
        popularity: [n_items] whole numbers, in the order of `item_tokens`: training interactions. Items without any are
            never drawn.
        task, user_tokens, item_tokens, m, draws, key: as for `draw_lists`.

    Returns:
        [P, draws, m] item indices, ascending within a list.

    Raises:
        HarnessError: some user has fewer than m negatives that were ever seen in training.
    """
    seen = popularity > 0
    inside = np.concatenate([task.pos_items, task.exc_items])
    owner = np.concatenate(
        [task.row_of_positive, np.repeat(np.arange(len(task.users)), np.diff(task.exc_indptr))]
    )
    left = int(seen.sum()) - np.bincount(owner, weights=seen[inside], minlength=len(task.users))
    if len(left) and m > left.min():
        worst = int(left.argmin())
        raise HarnessError(
            f"pop{m} needs {m} negatives that occur in training, but user '{user_tokens[task.users[worst]]}' has "
            f"{int(left.min())}; choose m up to that{at_most('pop', int(left.min()))}, or a uniform protocol"
        )
    taken = np.sort(owner * task.n_items + inside)
    by_place = np.repeat(np.arange(task.n_items, dtype=np.int32), popularity)
    ended = np.append(taken, np.iinfo(np.int64).max)
    return _drawn(
        task, user_tokens, item_tokens, f"{key}|pop={m}", f"pop{m}", (draws, m),
        lambda seed, rows: _successive(seed, rows, by_place, ended, task.n_items, m),
    )  # fmt: skip


def _successive(
    seed: Words, rows: Ints, by_place: npt.NDArray[np.int32], taken: Ints, n_items: int, m: int
) -> npt.NDArray[np.int32]:
    """[P, m] the first m different admissible items of each positive's endless stream of draws in proportion.

    Skipping what was drawn before or is no negative leaves successive sampling without replacement. `by_place` has each
    item as often as its popularity says; `taken` are sorted keys row * n_items + item of what is no negative, and a last
    one above all.
    """
    out = np.empty((len(seed), m), dtype=np.int32)
    waiting, length = np.arange(len(seed)), m + m // 2 + 1
    while len(waiting):
        steps = np.arange(1, length + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        word = splitmix64(seed[waiting, None] + steps)
        drawn = by_place[((word >> np.uint64(11)) * 2.0**-53 * len(by_place)).astype(np.int64)]
        # Sorted as one number, item before place in the stream: repeats are neighbours, and the bisection meets rising keys.
        bits = length.bit_length()
        sortable = (drawn.astype(np.int64) << bits) | np.arange(length)
        sortable.sort(axis=1)
        items, place = sortable >> bits, sortable & ((1 << bits) - 1)
        keys = rows[waiting, None] * n_items + items
        fits = taken[np.searchsorted(taken, keys)] != keys
        fits[:, 1:] &= items[:, 1:] != items[:, :-1]
        place[~fits] = length
        last = np.partition(place, m - 1, axis=1)[:, m - 1]  # the place of the m-th that fits
        done = last < length
        chosen = place[done] <= last[done, None]
        out[waiting[done]] = items[done][chosen].reshape(-1, m)
        waiting, length = waiting[~done], 2 * length
    return out


def lists_sha256(lists: npt.NDArray[np.int32]) -> str:
    """sha256 of the lists in canonical order, little-endian."""
    return hashlib.sha256(lists.astype("<i4").tobytes()).hexdigest()


def _floyd(seed: Words, population: Ints, m: int) -> npt.NDArray[np.int32]:
    """[P, m] distinct integers below `population` [P], ascending in a row, uniform over subsets (Bentley, Floyd 1987)."""
    chosen = np.empty((m, len(seed)), dtype=np.int32)
    for step in range(m):
        top = (population - m + step).astype(np.int32)  # this step draws from 0..top inclusive
        word = splitmix64(seed + _step(step + 1, 0x9E3779B97F4A7C15))
        # 53 bits are enough for catalogues below 2^31: the bias is under 2^-22 of one item's probability.
        drawn = ((word >> np.uint64(11)) * 2.0**-53 * (top + 1.0)).astype(np.int32)
        taken = (chosen[:step] == drawn).any(axis=0)
        chosen[step] = np.where(taken, top, drawn)
    found = np.ascontiguousarray(chosen.T)
    found.sort(axis=1)
    return found


class _Negatives:
    """Turns positions among a user's negatives into item indices.

    With the user's non-negatives e_0 < e_1 < ..., the negative at position x is x plus the number of e_i with
    e_i - i <= x. One sorted array serves all users because each user's keys live in a range of their own.
    """

    def __init__(self, task: RankTask) -> None:
        self.span = task.n_items + 1
        users = np.arange(len(task.users))
        exc_row = np.repeat(users, np.diff(task.exc_indptr))
        taken = np.concatenate(
            [
                exc_row * self.span + task.exc_items,
                task.row_of_positive * self.span + task.pos_items,
            ]
        )
        taken.sort()
        taken_row = taken // self.span
        self.first = np.searchsorted(taken_row, users)  # (U,) where each user's keys begin
        self.shifted = taken - (np.arange(len(taken)) - self.first[taken_row])

    def at(self, rows: Ints, nth: npt.NDArray[np.int32]) -> Ints:
        """[P, m] items at positions `nth` [P, m] (ascending in a row: neighbours are found fast) of `rows` [P]."""
        found = np.searchsorted(self.shifted, nth + (rows * self.span)[:, None], side="right")
        return np.asarray(nth + found - self.first[rows][:, None], dtype=np.int64)
