"""A user's test rows as a model of single pairs scores them, and what a language model is asked about each."""

from __future__ import annotations

import numpy as np

from recbole_ext import recbole_compat
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.problem import Problem
from recbole_ext.data.splits import TEST
from recbole_ext.evaluator.pointwise import LabelledPairs
from recbole_ext.explain.top_items import Saved, labels_of, user_of
from recbole_ext.registry import PROMPTS


def scored_rows(saved: Saved, user: str, k: int) -> list[str]:
    """Lines with the k test rows of a user that score highest: score, label, item; of a model that prompts a language model
    the prompts too, slots as ⟦name⟧.

    Raises:
        HarnessError: no such user, one without test rows, or a test part without labels of both kinds.
    """
    problem, fitted = saved.experiment.problem, saved.fitted
    own = rows_of(problem, user)
    assert own.row is not None
    history = problem.split.pairs(problem.data, *problem.seen_at_test)
    score = recbole_compat.pair_scorer(fitted.model, fitted.bench, problem.data, history)
    found = np.asarray(score(own.user, own.item, own.row), dtype=np.float64)
    prompts = PROMPTS in saved.experiment.model.offers
    labels = labels_of(problem)
    chance = ("P(Yes)" if prompts else "chance") if _probable(fitted.model) else "score"
    count = f"{len(found)} test rows" if len(found) > 1 else "1 test row"
    best = f", the {k} with the highest {chance}" if k < len(found) else ""
    lines = [f"{saved.name}: user {user}, {count}{best}"]
    for place, at in enumerate(np.argsort(-found, kind="stable")[:k], 1):
        item, row = int(own.item[at]), int(own.row[at])
        lines.append(
            f"{place:>3}  {chance} {found[at]:.4f}  label {own.label[at]}  {labels[item]:<60.60}".rstrip()
        )
        if prompts:
            prompt = recbole_compat.prompt_of(fitted.model, item, row)
            dropped = f", the {prompt.dropped} oldest titles dropped" if prompt.dropped else ""
            lines.append(f"     {len(prompt.ids)} tokens{dropped}")
            lines += [f"     | {line}".rstrip() for line in prompt.shown().splitlines()]
    return lines


def rows_of(problem: Problem, user: str) -> LabelledPairs:
    """The labelled rows of the test part that are a user's.

    Raises:
        HarnessError: as of `scored_rows`.
    """
    name, index = problem.data.name, user_of(problem, user)
    pairs = problem.labelled(TEST)
    if isinstance(pairs, str):
        raise HarnessError(f"no row of {name} can be shown with its label: {pairs}")
    assert pairs.row is not None
    own = pairs.user == index
    if not own.any():
        tested = np.unique(pairs.user)
        raise HarnessError(
            f"user '{user}' has no row in the test part of {name}; {len(tested):,} of {len(problem.data.user_tokens):,} users "
            f"have, e.g. '{problem.data.user_tokens[tested[0]]}'"
        )
    return LabelledPairs(pairs.user[own], pairs.item[own], pairs.label[own], pairs.row[own])


def _probable(model: object) -> bool:
    return bool(getattr(model, "probabilities", False))
