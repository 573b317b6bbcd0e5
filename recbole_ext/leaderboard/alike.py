"""What has to be the same in two rows of a section for them to differ in nothing but the model.

A section has the same data, split and exclusion already (`rows.py`). What a page filters by beside that is ours: the candidates, what
was read, how far a search was allowed to go, and what it chose by.
"""

from __future__ import annotations

from recbole_ext.leaderboard.labels import listed
from recbole_ext.leaderboard.rows import Row

LISTS = "lists of "
"""Begins the terms that hold under one drawn protocol alone."""
_MODELS_OWN = {"data", "split", "run_file"}
"""What is read and says nothing here: the same in a section, or the model itself."""


def terms(row: Row) -> dict[str, str]:
    """Name -> what the row was made under; two rows differ in the model alone if they agree in every term that both have.

    A row without text has no term of text, and one with nothing to choose none of budget: any budget is enough for it.
    """
    record = row.first
    asked = record.experiment
    sources = [dataset["name"] for dataset in asked.get("train_on", ())]
    found = {
        "evaluator": f"revision {asked['evaluator_revision']}",
        "trained on": listed(sources) if sources else "what it ranks",
    }
    if asked.get("refit"):
        found["trained on"] += ", and on validation after choosing"
    if record.params:
        rows_used = asked.get("valid_rows")
        of = "" if rows_used is None else f" of {rows_used} rows"
        found["budget"] = budget(row)
        found["chosen by"] = f"{asked['valid_metric']}{of} on validation"
    found |= {
        name: value[:12]
        for name, value in sorted(record.fingerprints.items())
        if name not in _MODELS_OWN
    }
    return found | {
        f"{LISTS}{name}": value[:12] for name, value in sorted(record.candidates.items())
    }


def budget(row: Row) -> str:
    """How far the search of a row was allowed to go: a grid is a whole one whatever its size, since each model has its own."""
    tune = row.first.experiment["tune"]
    if tune is None:
        return "untuned"
    limit = tune.get("limit")
    return "its whole grid" if limit is None else f"{limit} points of its grid"
