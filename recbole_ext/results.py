"""ResultRecord v1: one small JSON per finished run, written atomically and named by its content.

A record is the only thing that a leaderboard reads. Every key is documented on the dataclass below; a reader
leaves one alone whose schema is newer than its own, and names and skips one that is damaged.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.shape import Maybe, flaw
from recbole_ext.evaluator.protocols import parsed

SCHEMA = 1
_RECORD_NAME = re.compile(r"record\.json|[0-9a-f]{16}\.json")


@dataclass(frozen=True)
class ResultRecord:
    """What one run did and what came out."""

    run_id: str
    """First 16 hex digits of sha256 over the canonical JSON of `experiment` and `fingerprints`."""
    experiment: dict[str, Any]
    """What was asked for: `model`, `model_revision`, `evaluator_revision`, `dataset` (`name`, `filters`, `split`),
    `protocols`, `exclude`, `ks`, `valid_metric`, `seed`, `threads`, `device`, `params` (before tuning) and
    `tune` (None, or `stages`, `trials`, and since draws from a grid exist `limit` and `seed`). Only of a model that does not score every item `scoring`: `candidates` or
    `pointwise`."""
    fingerprints: dict[str, str]
    """sha256 of what the run read: `data` (interactions after filters), `split`, and, for a model that reads text,
    `text` (the item texts) and `encoder` (weights and pooling); for another system's, `run_file`."""
    data: dict[str, Any]
    """Sizes: `users`, `items`, `interactions`, `train`, `valid`, `test`, `test_users`, and `history`, what is folded in of
    users that training has not seen, where there are any."""
    candidates: dict[str, str]
    """Protocol with drawn negatives -> sha256 of its lists, equal for every model on the same split."""
    metrics: dict[str, dict[str, dict[str, Any]]]
    """Protocol -> metric@k -> `mean` over test users and the 95% bootstrap interval `low`, `high`; for protocols with
    several draws also `draws`, the mean of each draw. Of RecBole's own evaluator there is the `mean` only. A mean over some of
    the users says how many `users`."""
    validation: dict[str, Any]
    """`metric` and its `value` at the chosen point or epoch (None for a run file); what selection was allowed to see."""
    params: dict[str, Any]
    """The parameters of the model that was tested, after tuning."""
    tuning: dict[str, Any] | None
    """None for an untuned run, else `metric`, `points` (number tried), `seconds`, `best` (the chosen values) and
    `trials`, a list of `point`, `value` (validation; absent for a failed one), `seconds`, `epochs` and `error`."""
    text: dict[str, Any] | None
    """For a model that reads text: `encoder`, `dim`, `fields`, `coverage` (share of items with any text)."""
    cost: dict[str, Any]
    """`fit_seconds`, `evaluate_seconds`, `encode_seconds`, `peak_memory_mb`, `parameters`, `epochs`."""
    environment: dict[str, Any]
    """`python`, `platform`, `cpu`, `device`, `packages` (name -> version), `git` (commit or None)."""
    flags: list[str] = field(default_factory=list)
    """Remarks that a reader of the number needs, e.g. `untuned` or `weights not saved: ...`."""
    beyond: dict[str, float] = field(default_factory=dict)
    """`coverage@k`, `gini@k`, `popularity@k`, `tail@k`, `novelty@k` of the test users' lists under full ranking."""
    strata: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Part of the positives -> its `users`, `positives` and `metrics` of full ranking, in the form of `metrics`."""
    unserved: dict[str, str] = field(default_factory=dict)
    """Protocol that was asked for -> why the run has no number under it; written only where there is one."""
    created: str = ""
    """UTC, ISO 8601. Not part of the identity of a run."""
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Sorted, indented, one trailing newline; NaN and infinity are refused."""
        found = dataclasses.asdict(self)
        found = {key: value for key, value in found.items() if value or key not in _RARE}
        return json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n"


_RARE = {"unserved"}
"""Keys that are written only where they hold something."""
_DATASET = {
    "name": str,
    "filters": {},
    "split": {"split": str, "split_seed": int, "split_held_out?": float, "fold?": int},
}
_INTERVAL = {"mean": float, "low": float, "high": float}
_SHAPE = {
    "experiment": {
        "model": str,
        "evaluator_revision": int,
        "dataset": _DATASET,
        "protocols?": [str],
        "draws?": int,
        "exclude": str,
        "ks?": [int],
        "valid_metric": str,
        "seed": int,
        "threads": int,
        "device": str,
        "params": {},
        "scoring?": str,
        "tune": Maybe({"stages?": [{}]}),
        "train_on?": [{**_DATASET, "text_fields": {}}],
    },
    "fingerprints": {"data": str, "split": str, "*": str},
    "data": dict.fromkeys(
        ("users", "items", "interactions", "train", "valid", "test", "test_users", "history?"), int
    ),
    "candidates": {"*": str},
    "metrics": {
        "recbole-*": {"*": {"mean": float}},
        "*": {"*": {**_INTERVAL, "draws?": [float]}},
    },
    "validation": {"value": Maybe(float)},
    "params": {},
    "tuning": Maybe(
        {
            "points": int,
            "seconds": float,
            "trials?": [
                {"point": {}, "value?": float, "seconds?": float, "epochs?": int, "error?": str}
            ],
        }
    ),
    "text": Maybe({"encoder": str, "fields": {}}),
    "cost": {"*": Maybe(float)},
    "environment": {"python": str, "cpu": str, "device": str, "packages": {"*": str}},
    "flags": [str],
    "beyond": {"*": float},
    "strata": {"*": {"users": int, "positives": int, "metrics": {"*": _INTERVAL}}},
    "unserved": {"*": str},
    "created": str,
}
"""What is taken from a record. Its id covers what was asked for and not what came out, so that has to be looked at."""


class LeftAlone(HarnessError):
    """Not read, and yet no damage: written by a later version, or kept from this user. Nothing is put in its place."""


def run_id(experiment: Mapping[str, Any], fingerprints: Mapping[str, str]) -> str:
    """Identity of a run: 16 hex digits of sha256 over what was asked for and what was read."""
    text = canonical_json({"experiment": experiment, "fingerprints": fingerprints})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_record(path: Path) -> ResultRecord:
    """Read and check one record.

    Raises:
        LeftAlone: a newer schema, or a file that may not be read.
        HarnessError: not JSON, keys missing or unknown, a value of another kind than is documented, or an id that does
            not match the content.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(raw, allow_nan=False)
    except OSError as error:
        raise LeftAlone(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path}: not a readable record ({error})") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int):
        raise HarnessError(f"{path}: not a result record (no schema number)")
    if raw["schema"] > SCHEMA:
        raise LeftAlone(
            f"{path}: schema {raw['schema']} is newer than {SCHEMA}; update recbole_ext"
        )
    try:
        record = ResultRecord(**raw)
    except TypeError as error:
        raise HarnessError(f"{path}: not a version {SCHEMA} record ({error})") from None
    wrong = flaw(vars(record), _SHAPE) or next(
        (f"metrics: '{name}' is no protocol" for name in record.metrics if parsed(name) is None),
        None,
    )
    if wrong:
        raise HarnessError(f"{path}: damaged record ({wrong})")
    if record.run_id != run_id(record.experiment, record.fingerprints):
        raise HarnessError(
            f"{path}: its run_id does not match its content; the file was changed by hand"
        )
    return record


def read_records(folder: Path) -> tuple[list[tuple[Path, ResultRecord]], list[HarnessError]]:
    """(path and record of all below `folder`, what is wrong with each file that cannot be trusted)."""
    found, damaged = [], []
    for path in find_records(folder):
        try:
            found.append((path, read_record(path)))
        except HarnessError as error:
            damaged.append(error)
    return found, damaged


def find_records(folder: Path) -> Iterator[Path]:
    """Paths of records below `folder`, sorted: `<run_id>/record.json` or `<dataset>/<model>/<run_id>.json`."""
    if folder.is_dir():
        yield from sorted(p for p in folder.rglob("*.json") if _RECORD_NAME.fullmatch(p.name))
