"""Frozen lists that a model scores, or answers with one of their items, where it has no score of every item.

This module knows lists and answers, not models. Within a list the items ascend, so that a place says nothing of which one
is the positive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Bools, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.counting import NotFinite
from recbole_ext.evaluator.ranks import RankTask

_LISTS = 1 << 12
"""Handed to a scorer at a time."""


@dataclass(frozen=True)
class Answers:
    """One item of each list, in place of scores: what a model says that it generates."""

    place: Ints
    """[p] column of the candidate, -1 where the output names none of them."""
    alike: Bools | None = None
    """[p, m + 1] all candidates that the output names, where several may have one name: they are tied. None: that of `place` alone."""
    rules: Mapping[str, Bools] = field(default_factory=dict)
    """Other ways to read an output -> [p, m + 1] whether it is right, if that candidate is the positive."""
    named_at: Ints | None = None
    """[p, m + 1] the place, from 1, at which the model was told of each candidate; None where it was told in no order."""


@dataclass(frozen=True)
class Scores:
    """Scores of a model that was told of the candidates one after the other."""

    values: npt.NDArray[Any]
    """[p, m + 1], larger is better."""
    named_at: Ints
    """As of `Answers`."""


ListScorer = Callable[..., "npt.NDArray[Any] | Scores | Answers"]
"""users [p], candidates [p, m + 1] -> scores [p, m + 1], larger is better, or answers.

Where the positives' rows are known they are the third argument, [p]: for what a user had before its positive."""


@dataclass(frozen=True)
class ListTable:
    """One row per test positive; P rows, ordered by user, then item. Only drawn lists were looked at."""

    user: Ints
    item: Ints
    lists: Mapping[str, tuple[Ints, Ints]]
    """Protocol -> (above, tied) within the drawn list, each [P, draws]; of an invalid output, its last place."""
    valid: Mapping[str, Bools]
    """Protocol -> [P, draws] whether the output named a candidate. An invalid one misses at every cut-off."""
    depth: int | None
    """Places of a list that the output decides: 1 for an answer, None for scores, which decide all."""
    rules: Mapping[str, Mapping[str, tuple[Bools, Bools]]] = field(default_factory=dict)
    """Protocol -> rule of `Answers` -> ([P, draws] whether the output is right, [P, draws] whether it is for any candidate)."""
    placed: Mapping[str, tuple[Ints, Ints]] = field(default_factory=dict)
    """Protocol -> ([P, draws] the place, from 1, at which the model was told of the positive; [P, draws] that of the candidate which it
    chose, 0 where it chose none). Only of models that were told of candidates in an order."""

    def __len__(self) -> int:
        return len(self.user)


def rank_lists(task: RankTask, scorer: ListScorer, rows: Ints | None = None) -> ListTable:
    """Rank every positive within each of its drawn lists.

    Args:
        task: what to rank; its `lists` are the negatives.
        scorer: called with consecutive lists; it answers for all of them in one way.
        rows: [P] of each positive among the interactions, for a scorer that reads what was before it.

    Raises:
        NotFinite: a score is NaN or infinite.
        HarnessError: an answer is no place of its list.
    """
    user = task.users[task.row_of_positive]
    lists, valid, rules, placed = {}, {}, {}, {}
    answered = False
    for name, drawn in task.lists.items():
        count, draws, m = drawn.shape
        above, tied = np.empty((2, count, draws), dtype=np.int64)
        fine = np.empty((count, draws), dtype=bool)
        ruled: dict[str, tuple[Bools, Bools]] = {}
        at, chosen = np.zeros((2, count, draws), dtype=np.int64)
        for draw in range(draws):
            for start in range(0, count, _LISTS):
                some = slice(start, start + _LISTS)
                candidates, place = _with_positive(drawn[some, draw], task.pos_items[some])
                beside = () if rows is None else (rows[some],)
                found = scorer(user[some], candidates, *beside)
                if isinstance(found, Answers):
                    answered, counts = True, _of_answers(found, place, m)
                    for rule, right in found.rules.items():
                        new = (np.zeros((count, draws), bool), np.zeros((count, draws), bool))
                        hit, any_hit = ruled.setdefault(rule, new)
                        hit[some, draw] = np.take_along_axis(right, place[:, None], axis=1)[:, 0]
                        any_hit[some, draw] = right.any(axis=1)
                else:
                    scores = np.asarray(found.values if isinstance(found, Scores) else found)
                    counts = _of_scores(scores, place, user[some], candidates)
                if isinstance(found, Answers | Scores) and found.named_at is not None:
                    own = found.place if isinstance(found, Answers) else scores.argmax(axis=1)
                    at[some, draw] = np.take_along_axis(found.named_at, place[:, None], 1)[:, 0]
                    first = np.take_along_axis(found.named_at, np.maximum(own, 0)[:, None], 1)
                    chosen[some, draw] = np.where(own < 0, 0, first[:, 0])
                above[some, draw], tied[some, draw], fine[some, draw] = counts
        lists[name], valid[name] = (above, tied), fine
        if ruled:
            rules[name] = ruled
        if at.any():
            placed[name] = at, chosen
    return ListTable(user, task.pos_items, lists, valid, 1 if answered else None, rules, placed)


def rule_measures(table: ListTable) -> dict[str, float]:
    """Of each protocol and rule, over all lists: `hit1_RULE`, the share of outputs that are right; `valid_RULE`, the share of those that some
    candidate would make right; `hit1_RULE_of_valid`, right ones among valid ones, which is no share of all users (0 where none is valid)."""
    found = {}
    for protocol, rules in table.rules.items():
        for rule, (hit, any_hit) in rules.items():
            right, valid = float(hit.mean()), float(any_hit.mean())
            found[f"{protocol} hit1_{rule}"], found[f"{protocol} valid_{rule}"] = right, valid
            found[f"{protocol} hit1_{rule}_of_valid"] = right / valid if valid else 0.0
    return found


def _with_positive(negatives: npt.NDArray[np.int32], positive: Ints) -> tuple[Ints, Ints]:
    """([p, m + 1] items of each list, ascending; [p] the column of its positive)."""
    candidates = np.sort(np.column_stack([negatives, positive]).astype(np.int64), axis=1)
    return candidates, (negatives < positive[:, None]).sum(axis=1)


def _of_scores(
    scores: npt.NDArray[Any], place: Ints, user: Ints, candidates: Ints
) -> tuple[Ints, Ints, Bools]:
    """(above, tied, valid) of each list."""
    if scores.shape != candidates.shape:
        raise ValueError(f"scores have shape {scores.shape}, not {candidates.shape}")
    if not np.isfinite(scores).all():
        row, column = map(int, np.argwhere(~np.isfinite(scores))[0])
        value, count = float(scores[row, column]), int((~np.isfinite(scores)).sum())
        raise NotFinite(int(user[row]), int(candidates[row, column]), value, count)
    own = np.take_along_axis(scores, place[:, None], axis=1)
    above, tied = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1
    return above, tied, np.ones(len(place), dtype=bool)


def _of_answers(answers: Answers, place: Ints, m: int) -> tuple[Ints, Ints, Bools]:
    """(above, tied, valid) of each list: below another answer all the rest are alike, below none the positive is last."""
    answer = np.asarray(answers.place)
    if answer.shape != place.shape or answer.min(initial=-1) < -1 or answer.max(initial=0) > m:
        raise HarnessError(
            f"the model's answers must be {len(place)} places from 0 to {m}, or -1 for none of the candidates"
        )
    alike = answers.alike
    if alike is None:
        alike = answer[:, None] == np.arange(m + 1)
    count = alike.sum(axis=1)
    right, valid = np.take_along_axis(alike, place[:, None], axis=1)[:, 0], answer >= 0
    above = np.where(right, 0, np.where(valid, count, m))
    return above, np.where(right, count - 1, np.where(valid, m - count, 0)), valid
