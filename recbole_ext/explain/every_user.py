"""What a finished run recommends to every test user, and what each metric gives each of them: two tables on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext import recbole_compat
from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError, either
from recbole_ext.core.files import written_atomically
from recbole_ext.core.progress import progress
from recbole_ext.core.table_file import TableWriter
from recbole_ext.data.problem import Problem
from recbole_ext.data.splits import TEST
from recbole_ext.evaluator.pointwise import ScoreTable, picked, scored, scores_per_user
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.ranks import rank
from recbole_ext.evaluator.summary import per_user
from recbole_ext.evaluator.tables import Tables
from recbole_ext.explain.lists import Listed, best_items, best_rows
from recbole_ext.explain.top_items import Saved
from recbole_ext.trainer.setup import saying_why

if TYPE_CHECKING:
    import torch

ENDINGS = (".parquet", ".csv")
_PAIRS = 1 << 14
"""Labelled pairs that are scored between two steps of the bar."""
_LISTS = {"user": "string", "place": "int32", "item": "string", "score": "float64", "positive": "bool"}  # fmt: skip
"""Columns of the lists. `positive`: held out for the test, or, of labelled pairs, label 1."""


def checked_output(path: Path, endings: tuple[str, ...] = ENDINGS) -> Path:
    """The path, if a table can be written there, in a form that its ending says.

    Raises:
        HarnessError: it ends in nothing that is known, is a folder, or is in none.
    """
    if path.is_dir():
        raise HarnessError(f"--output={path} is a folder; name a file in it")
    if path.suffix not in endings:
        raise HarnessError(
            f"--output={path}: a name ends in {either(endings)}, e.g. {path.with_suffix(endings[0])}"
        )
    if not path.parent.is_dir():
        raise HarnessError(f"--output={path}: no folder {path.parent}; make it first")
    return path


def beside(path: Path) -> Path:
    """Where the values of users go: `lists.users.csv` beside `lists.csv`."""
    return path.with_suffix(f".users{path.suffix}")


def write_every_user(saved: Saved, top: int, path: Path) -> list[str]:
    """Write the lists of all test users, down to `top`, and a table of their values; lines that say so.

    Scores are looked at once, in blocks, and a block's lists are on disk before the next is scored. Neither file is there, nor
    gone, before both are whole.

    Raises:
        HarnessError: a model that has no lists, nobody to list for, scores that are no numbers, or a disk that takes no more.
    """
    scoring, problem = saved.experiment.model.scoring, saved.experiment.problem
    if scoring == "candidates":
        raise HarnessError(
            f"{saved.experiment.model.name} has no score of every item, and so no list to show"
        )
    try:
        with written_atomically(beside(path)) as of_users, written_atomically(path) as of_lists:
            lists = TableWriter(of_lists, path.suffix, _LISTS)
            write = _of_pairs if scoring == "pointwise" else _of_items
            tables = write(saved, top, lists)
            rows = lists.close()
            users, known, values = _values(saved, tables)
            frame = {"user": [problem.data.user_tokens[u] for u in users], **known, **values}
            kinds = {"user": "string", **dict.fromkeys(known, "int64"), **dict.fromkeys(values, "float64")}  # fmt: skip
            table = TableWriter(of_users, path.suffix, kinds)
            table.write(frame)
            table.close()
    except OSError as error:
        raise HarnessError(f"--output={path}: {error.strerror or error}") from None
    left_out = sorted(set(saved.record.metrics) - {name.split()[0] for name in values})
    return [
        f"{saved.name}: {len(users):,} test users, at most {top} items each",
        f"{path}: {rows:,} rows ({', '.join(_LISTS)})",
        f"{beside(path)}: {len(users):,} users, {len(values)} values each{_gap(saved, values)}",
        *([f"no values of users under {', '.join(left_out)}"] if left_out else []),
    ]


def _of_items(saved: Saved, top: int, lists: TableWriter) -> Tables:
    """Write the lists of a model that scores every item; the tables that its scores come to."""
    experiment = saved.experiment
    problem = experiment.problem
    task, labelled = problem.test_task, experiment.test_labels
    if not len(task.users):
        raise HarnessError(
            f"{problem.data.name} has no test user with a positive: nobody to list for"
        )
    scorer = saved.fitted.scorer(problem, *problem.seen_at_test)
    with (
        saying_why(saved.fitted.model, saved.fitted.bench, problem),
        progress("listing for test users", len(task.users)) as advance,
    ):

        def counted(users: Ints) -> Iterator[torch.Tensor]:
            matrix = scorer(users)
            lists.write(_named(problem, best_items(task, users, matrix.cpu().numpy(), top)))
            advance(len(users))
            yield matrix

        (ranked,) = rank(task, counted)
        pairs = None if labelled is None else scored(labelled, picked(labelled, scorer))
    return Tables(ranked, pairs)


def _of_pairs(saved: Saved, top: int, lists: TableWriter) -> Tables:
    """Write the labelled test rows of each user, best first, of a model of single pairs; the table of all their scores."""
    fitted, problem = saved.fitted, saved.experiment.problem
    pairs = problem.labelled(TEST)
    if isinstance(pairs, str):
        raise HarnessError(f"no row of {problem.data.name} can be shown with its label: {pairs}")
    assert pairs.row is not None
    history = problem.split.pairs(problem.data, *problem.seen_at_test)
    score = recbole_compat.pair_scorer(fitted.model, fitted.bench, problem.data, history)
    found = np.empty(len(pairs.user))
    with (
        saying_why(fitted.model, fitted.bench, problem),
        progress("scoring test rows", len(found)) as advance,
    ):
        for start in range(0, len(found), _PAIRS):
            some = slice(start, start + _PAIRS)
            found[some] = score(pairs.user[some], pairs.item[some], pairs.row[some])
            advance(len(found[some]))
        table = scored(pairs, found, bool(getattr(fitted.model, "probabilities", False)))
    for block in best_rows(pairs, found, top):
        lists.write(_named(problem, block))
    return Tables(None, table)


def _named(problem: Problem, of: Listed) -> dict[str, Any]:
    """Columns of a file."""
    users, items = problem.data.user_tokens, problem.data.item_tokens
    return {
        "user": [users[u] for u in of.user],
        "place": of.place,
        "item": [items[i] for i in of.item],
        "score": of.score,
        "positive": of.positive,
    }


def _values(saved: Saved, tables: Tables) -> tuple[Ints, dict[str, Ints], dict[str, Floats]]:
    """(users [U], what is known of them, `PROTOCOL METRIC` -> [U] values, of drawn lists their mean; NaN where there is none)."""
    problem, ks = saved.experiment.problem, saved.experiment.settings.evaluation["ks"]
    ranked, pairs = tables.ranked, tables.scored
    users = np.unique(np.concatenate([of.user for of in (ranked, pairs) if of is not None]))
    positive = ranked.user if ranked is not None else np.empty(0, np.int64)
    if ranked is None and pairs is not None:
        positive = pairs.user[pairs.label == 1]
    history, _ = problem.split.pairs(problem.data, *problem.seen_at_test)
    count = len(problem.data.user_tokens)
    known = {
        "history": np.bincount(history, minlength=count)[users],
        "positives": np.bincount(positive, minlength=count)[users],
    }
    values: dict[str, Floats] = {}
    for name in saved.experiment.served:
        asked = protocol_of(name)
        table = pairs if asked.labelled else ranked
        if asked.by_recbole or table is None:
            continue
        found = (
            scores_per_user(table) if isinstance(table, ScoreTable) else per_user(table, name, ks)
        )
        at = np.searchsorted(users, np.unique(table.user))
        for metric, of in found.items():
            values[f"{name} {metric}"] = np.full(len(users), np.nan)
            values[f"{name} {metric}"][at] = of if of.ndim == 1 else of.mean(axis=1)
    return users, known, values


def _gap(saved: Saved, values: Mapping[str, Floats]) -> str:
    """How far the means are from those of the record: another processor rounds otherwise."""
    gaps = []
    for name, of in values.items():
        protocol, metric = name.split()
        entry = saved.record.metrics.get(protocol, {}).get(metric)
        if entry is not None:
            gaps.append(abs(float(np.nanmean(of)) - float(entry["mean"])))
    return f"; their means are within {max(gaps):.1e} of the record's" if gaps else ""
