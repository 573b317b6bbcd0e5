"""A user's list from a finished run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from recbole_ext.errors import HarnessError, nearest
from recbole_ext.recbole_compat import score_function
from recbole_ext.rerun import experiment_of
from recbole_ext.results import find_records, read_record
from recbole_ext.text import choose_fields, item_texts
from recbole_ext.training import Training


def top_items(
    records: Path, model: str, dataset: str, user: str, k: int, data_path: Path | None
) -> list[str]:
    """Lines with the user's history and its k best items that are not in it, from the saved weights.

    Raises:
        HarnessError: no finished run, no weights beside it, or no such user.
    """
    found = [
        (record.created, path)
        for path in find_records(records)
        if (record := read_record(path)).experiment["model"] == model
        and record.experiment["dataset"]["name"] == dataset
    ]
    if not found:
        raise HarnessError(
            f"{records} has no run of {model} on {dataset}; run: "
            f"python run_bench.py --model={model} --dataset={dataset}"
        )
    path = max(found)[1]
    record = read_record(path)
    weights = path.parent / "weights.safetensors"
    if not weights.is_file():
        raise HarnessError(
            f"{path.parent} has no weights; run again with --save_weights=true --force"
        )
    experiment = experiment_of(record, data_path, tuned=False)
    ground, data = experiment.ground, experiment.ground.data
    if user not in data.user_tokens:
        raise HarnessError(f"user '{user}' is not in {dataset}{nearest(user, data.user_tokens)}")
    embeddings = experiment.embeddings()
    with tempfile.TemporaryDirectory(prefix="recbole_ext-") as scratch:
        vectors = embeddings.vectors if embeddings is not None else None
        fitted = Training(experiment, vectors, Path(scratch)).load(record.params, weights)
    seen = ground.split.pairs(data, *ground.seen_at_test)
    scores = score_function(fitted.model, fitted.bench, data, seen)
    index = data.user_tokens.index(user)
    row = scores(np.array([index]))[0].double().cpu().numpy()
    history = seen[1][seen[0] == index]
    row[history] = -np.inf
    held_out = set(
        ground.test_task.pos_items[
            ground.test_task.row_of_positive == np.searchsorted(ground.test_task.users, index)
        ].tolist()
    )
    labels = _labels(
        experiment.settings.dataset["text_fields"], data.item_columns, data.item_tokens
    )
    lines = [
        f"{model} on {dataset}, run {record.run_id}: user {user}, {len(history)} items in the history"
    ]
    for place, item in enumerate(np.argsort(-row, kind="stable")[:k], 1):
        mark = "held out" if int(item) in held_out else ""
        lines.append(f"{place:>3}  {row[item]:9.4f}  {labels[item]:<60.60}  {mark}".rstrip())
    return lines


def _labels(wanted: dict[str, str] | None, columns: object, tokens: list[str]) -> list[str]:
    """Item token, with its text where there is any."""
    assert isinstance(columns, dict)
    try:
        texts = item_texts(columns, choose_fields(list(columns), wanted))
    except HarnessError:
        return tokens
    return [f"{token} {text}".rstrip() for token, text in zip(tokens, texts, strict=True)]
