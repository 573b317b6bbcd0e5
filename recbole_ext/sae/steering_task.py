"""Who is steered towards what, and what counts as a hit (section 5.9 of the specification)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recbole_ext.core.arrays import Bools, Ints
from recbole_ext.core.errors import HarnessError, one_of
from recbole_ext.core.hashing import pair_hashes, token_hashes
from recbole_ext.evaluator.ranks import RankTask, make_task

Pairs = tuple[Ints, Ints]
"""(users [P], items [P]), ids from 0."""
TAG_FROM = ("targets", "random")
K = 20
"""The paper's cut-off."""
_KEY = "steering"


@dataclass(frozen=True)
class SteeringTask:
    """U users with one desired tag each."""

    tags: Bools
    """[n_items, T] whether an item has a tag."""
    desired: Ints
    """[U] the tag that each user is steered towards."""
    personal: RankTask
    """Positives are the user's held-out items."""
    segment: RankTask
    """Positives are all items with the desired tag that are not in the user's history; of the same users."""
    tag_from: str
    left_out: int
    """Users with held-out items for whom no tag is to be desired."""
    k: int = K

    @property
    def users(self) -> Ints:
        """[U] ascending."""
        return self.personal.users

    def history(self, users: Ints) -> Bools:
        """[B, n_items] what is in the history of users of this task."""
        seen = np.zeros((len(users), self.personal.n_items), dtype=bool)
        at = np.searchsorted(self.users, users)
        for row, (begin, end) in enumerate(
            zip(self.personal.exc_indptr[at], self.personal.exc_indptr[at + 1], strict=True)
        ):
            seen[row, self.personal.exc_items[begin:end]] = True
        return seen


def steering_task(
    tags: Bools,
    held_out: Pairs,
    history: Pairs,
    user_tokens: Sequence[str],
    tag_names: Sequence[str],
    tag_from: str = "targets",
    usable: Bools | None = None,
    k: int = K,
) -> SteeringTask:
    """The task of all users with a held-out item and a tag to be desired.

    `targets` is the paper's: the tag that most more held-out than input items have, which is an oracle. The authors' code asks
    that the difference be above 0; a user for whom no tag's is, is left out here. `random`, ours: drawn by a keyed hash of
    (user, tag) among the tags with at least one candidate item, so that neither the order of users nor an added tag moves the
    draws of others.

    Args:
        tags: [n_items, T].
        held_out: pairs to be found; those that are also in the history are dropped.
        history: pairs that were folded in: no candidates.
        user_tokens: names of all users.
        tag_names: [T].
        tag_from: one of `TAG_FROM`.
        usable: [T] tags that may be desired, those that have a live neuron; None for all.
        k: length of the lists that are looked at.

    Raises:
        HarnessError: tags and names do not fit, an unknown source of tags, nobody is left, or somebody has fewer than k
            candidates.
    """
    one_of("tag_from", tag_from, TAG_FROM)
    n_items, n_tags = tags.shape
    if len(tag_names) != n_tags:
        raise HarnessError(f"steering: {len(tag_names)} names for {n_tags} tags; give one for each")
    may = np.ones(n_tags, dtype=bool) if usable is None else usable
    every = make_task(n_items, held_out, history)
    if tag_from == "targets":
        desired = desired_by_targets(every, tags, may)
    else:
        desired = desired_at_random(every, tags, may, user_tokens, tag_names)
    kept = desired >= 0
    if not kept.any():
        raise HarnessError(
            f"steering: of {len(kept)} users with held-out items none has a tag to be steered towards (tag_from={tag_from}); "
            "check that the items have tags"
        )
    personal = _only(every, kept)
    task = SteeringTask(
        tags=tags,
        desired=desired[kept],
        personal=personal,
        segment=_segment(personal, tags, desired[kept]),
        tag_from=tag_from,
        left_out=int((~kept).sum()),
        k=k,
    )
    candidates = n_items - np.diff(personal.exc_indptr)
    if candidates.min() < k:
        short = int(candidates.argmin())
        raise HarnessError(
            f"steering: user index {task.users[short]} has {candidates[short]} candidates, fewer than the {k} of a list; ask "
            "for shorter lists"
        )
    return task


def desired_by_targets(task: RankTask, tags: Bools, usable: Bools) -> Ints:
    """[U] argmax over usable tags of (held-out items with it - input items with it), -1 where that is not above 0.

    Of equal tags the one of lower index.
    """
    gain = _counts(task, task.pos_indptr, task.pos_items, tags)
    gain -= _counts(task, task.exc_indptr, task.exc_items, tags)
    gain[:, ~usable] = 0
    best = gain.argmax(axis=1) if gain.shape[1] else np.zeros(len(gain), dtype=np.int64)
    found = gain.max(axis=1, initial=0) > 0
    return np.where(found, best, -1)


def desired_at_random(
    task: RankTask,
    tags: Bools,
    usable: Bools,
    user_tokens: Sequence[str],
    tag_names: Sequence[str],
) -> Ints:
    """[U] for each user the usable tag of smallest hash among those that a candidate has, -1 where none has one."""
    left = tags.sum(axis=0) - _counts(task, task.exc_indptr, task.exc_items, tags)
    of_users = token_hashes([user_tokens[user] for user in task.users], _KEY)
    of_tags = token_hashes(tag_names, _KEY)
    desired = np.full(len(task.users), -1, dtype=np.int64)
    for row, counts in enumerate(left):
        open_to = np.flatnonzero((counts > 0) & usable)
        if len(open_to):
            drawn = pair_hashes(np.broadcast_to(of_users[row], open_to.shape), of_tags[open_to])
            desired[row] = open_to[drawn.argmin()]
    return desired


def rows_of(task: RankTask, start: int, stop: int) -> RankTask:
    """The task of the users `start:stop`."""
    pos, exc = task.pos_indptr[start : stop + 1], task.exc_indptr[start : stop + 1]
    return RankTask(
        n_items=task.n_items,
        users=task.users[start:stop],
        pos_indptr=pos - pos[0],
        pos_items=task.pos_items[pos[0] : pos[-1]],
        exc_indptr=exc - exc[0],
        exc_items=task.exc_items[exc[0] : exc[-1]],
    )


def _counts(task: RankTask, indptr: Ints, items: Ints, tags: Bools) -> Ints:
    """[U, T] how many of each user's items have each tag."""
    from scipy import sparse

    ones = np.ones(len(items), dtype=np.int64)
    matrix = sparse.csr_matrix((ones, items, indptr), shape=(len(task.users), task.n_items))
    return np.asarray(matrix @ tags.astype(np.int64))


def _only(task: RankTask, kept: Bools) -> RankTask:
    """The task of the users `kept` [U]."""
    pos = np.repeat(kept, np.diff(task.pos_indptr))
    exc = np.repeat(kept, np.diff(task.exc_indptr))
    exc_user = np.repeat(task.users, np.diff(task.exc_indptr))
    positives = (task.users[task.row_of_positive][pos], task.pos_items[pos])
    return make_task(task.n_items, positives, (exc_user[exc], task.exc_items[exc]))


def _segment(personal: RankTask, tags: Bools, desired: Ints) -> RankTask:
    """The same users, whose positives are all candidates with the desired tag: `make_task` leaves out the history."""
    row, item = np.nonzero(tags[:, desired].T)
    exc_user = np.repeat(personal.users, np.diff(personal.exc_indptr))
    return make_task(personal.n_items, (personal.users[row], item), (exc_user, personal.exc_items))
