"""What a finished run recommends: a user's list, and what a query in words makes of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recbole_ext.core import environment
from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.progress import say
from recbole_ext.data.problem import Problem
from recbole_ext.experiment import Experiment
from recbole_ext.explain.intention import QueryFile, remark, sweep_alpha, written
from recbole_ext.pipeline.replay import experiment_of
from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat import Intentions
from recbole_ext.registry import INTENTION
from recbole_ext.registry.find import require
from recbole_ext.results import ResultRecord, read_records
from recbole_ext.trainer.setup import Fitted


@dataclass(frozen=True)
class Saved:
    """A finished run with its weights."""

    folder: Path
    record: ResultRecord
    experiment: Experiment
    fitted: Fitted

    @property
    def name(self) -> str:
        model, dataset = (self.record.experiment[key] for key in ("model", "dataset"))
        return f"{model} on {dataset['name']}, run {self.record.run_id}"

    def intentions(self) -> Intentions:
        """The model as one that takes queries.

        Raises:
            HarnessError: it takes none.
        """
        require(self.experiment.model, INTENTION)
        return Intentions(self.fitted.model, self.fitted.bench)


@contextmanager
def saved_run(records: Path, model: str, dataset: str, data_path: Path | None) -> Iterator[Saved]:
    """The latest finished run of a model on a dataset; on the CPU where its GPU is not here.

    Raises:
        HarnessError: no such run, no weights beside it, or its data, text or encoder have become others.
    """
    every, damaged = read_records(records)
    for error in damaged:
        say(f"left out: {error}")
    runs = [
        (record.created, path, record)
        for path, record in every
        if record.experiment["model"] == model and record.experiment["dataset"]["name"] == dataset
    ]
    if not runs:
        raise HarnessError(
            f"{records} has no run of {model} on {dataset}; run: "
            f"python run_bench.py --model={model} --dataset={dataset}"
        )
    _, path, record = max(runs, key=lambda run: run[:2])
    with loaded_run(path, record, data_path) as saved:
        yield saved


@contextmanager
def loaded_run(path: Path, record: ResultRecord, data_path: Path | None) -> Iterator[Saved]:
    """A run with its weights; `path` is its record's. What else it needs is the data, and the backbone or encoder.

    Raises:
        HarnessError: no weights beside the record, or its data, text or encoder have become others.
    """
    if "run_file" in record.fingerprints:
        raise HarnessError(f"{path.parent} was ranked from a run file: it has no model to show")
    weights = path.parent / "weights.safetensors"
    if not weights.is_file():
        raise HarnessError(
            f"{path.parent} has no weights; run again with --save_weights=true --force"
        )
    device = record.experiment["device"]
    if environment.lacks(device):
        say(f"run {record.run_id} was trained on a GPU, of which there is none here: on the CPU")
        device = "cpu"
    experiment = experiment_of(record, data_path, tuned=False, device=device)
    now = experiment.fingerprints()
    changed = [key for key in record.fingerprints if now.get(key) != record.fingerprints[key]]
    if "backbone" in changed:
        raise HarnessError(
            f"{path.parent} was trained over the backbone {record.params['backbone']} "
            f"({record.fingerprints['backbone']}), and here it is {now.get('backbone', 'none')}; run it again with --force"
        )
    if changed:
        raise HarnessError(
            f"{path.parent} was trained with another {' and '.join(changed)} than is here now; run it again with --force"
        )
    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:
        training = Training(experiment.final, experiment.embeddings(), Path(scratch))
        fitted = training.load(record.params, weights)
        yield Saved(path.parent, record, experiment, fitted)


def top_items(saved: Saved, user: str, k: int, query: str | None, alpha: float) -> list[str]:
    """Lines with the user's history and its k best items that are not in it; with a query, before and after.

    Raises:
        HarnessError: no such user, or a model that no query reaches.
    """
    if saved.experiment.model.scoring != "full":
        raise HarnessError(
            f"{saved.experiment.model.name} has no score of every item, and so no list to show"
        )
    problem, data = saved.experiment.problem, saved.experiment.problem.data
    index = user_of(problem, user)
    history = history_of(problem, index)
    lines = [f"{saved.name}: user {user}, {len(history)} items in the history"]
    scores = saved.fitted.scorer(problem, *problem.seen_at_test)
    row = scores(np.array([index]))[0].double().cpu().numpy()
    if query is None:
        return lines + _listed(saved, index, history, row, k)
    model = saved.intentions()
    vectors = _encoded(saved, model, [query])  # before texts are read, which data may lack
    columns = problem.texts[0].values()
    other_letters = remark(
        query, [text for column in columns for text in data.item_columns[column]]
    )
    lines += [other_letters] if other_letters else []
    asking = np.array([index])
    scores = model.scores(asking, vectors, alpha)
    after = scores(asking)[0].double().cpu().numpy()
    retrieval = ", retrieval only" if alpha == 1 else ""
    return [
        *lines,
        "before:",
        *_listed(saved, index, history, row, k),
        f'after "{query}" (alpha {alpha:g}{retrieval}):',
        *_listed(saved, index, history, after, k),
    ]


def user_of(problem: Problem, user: str) -> int:
    """The index of a user's token.

    Raises:
        HarnessError: no such user.
    """
    data = problem.data
    if user not in data.user_tokens:
        raise HarnessError(f"user '{user}' is not in {data.name}{nearest(user, data.user_tokens)}")
    return data.user_tokens.index(user)


def history_of(problem: Problem, user: int) -> Ints:
    """The items that a user is scored from, ascending."""
    users, items = problem.split.pairs(problem.data, *problem.seen_at_test)
    return np.asarray(items[users == user])


def held_out_of(problem: Problem, user: int) -> Ints:
    """The user's items of the test part, ascending."""
    task = problem.test_task
    return np.asarray(task.pos_items[task.users[task.row_of_positive] == user])


def alpha_table(saved: Saved, queries: Path, alphas: list[float]) -> list[str]:
    """HR@5 and NDCG@5 of queries from a file for each alpha, written beside the run too.

    Raises:
        HarnessError: the file has a mistake, or the model takes no query.
    """
    model = saved.intentions()
    problem = saved.experiment.problem
    items, texts = QueryFile(queries).read(problem.data)
    vectors = _encoded(saved, model, texts)
    points, users = sweep_alpha(model, problem, items, vectors, alphas)
    lines = [f"{saved.name}: {users:,} users ask for one test item each", "alpha  HR@5    NDCG@5"]
    for point in points:
        only = "  retrieval only" if point.alpha == 1 else ""
        lines.append(f"{point.alpha:<5g}  {point.hit:.4f}  {point.ndcg:.4f}{only}")
    return [*lines, *map(str, written(points, saved.name, saved.folder))]


def _encoded(saved: Saved, model: Intentions, texts: list[str]) -> npt.NDArray[np.float32]:
    """[q, D] queries as the model's items were encoded."""
    encoder = saved.experiment.encoder
    vectors = encoder.encode(texts)
    if vectors.shape[1] != model.width:
        raise HarnessError(
            f"encoder {encoder.name} makes vectors of the texts it is given together: a query has none of its own"
        )
    return np.asarray(vectors)


def _listed(
    saved: Saved, index: int, history: Ints, row: npt.NDArray[np.float64], k: int
) -> list[str]:
    """The k best items that are not in the history."""
    problem = saved.experiment.problem
    held_out = set(held_out_of(problem, index).tolist())
    labels = labels_of(problem)
    order = np.argsort(-row, kind="stable")
    lines = []
    for place, item in enumerate(order[~np.isin(order, history)][:k], 1):
        mark = "held out" if int(item) in held_out else ""
        lines.append(f"{place:>3}  {row[item]:9.4f}  {labels[item]:<60.60}  {mark}".rstrip())
    return lines


def labels_of(problem: Problem) -> list[str]:
    """Item token, with its text where there is any."""
    tokens = problem.data.item_tokens
    try:
        texts = problem.texts[1]
    except HarnessError:
        return tokens
    return [
        f"{token} {text.removeprefix('Title: ')}".rstrip()
        for token, text in zip(tokens, texts, strict=True)
    ]
