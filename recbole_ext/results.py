"""ResultRecord v1: one small JSON per finished run, written atomically and named by its content.

A record is the only thing that a leaderboard reads. Every key stands in `_SCHEMA` below with what it holds; a reader
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


_DATASET = {
    "name": str,
    "filters": {},  # what was kept; a filter is named only where it is used or has always been named
    "split": {
        "split": str,  # kind
        "split_seed": int,
        "split_held_out?": float,  # of `users` only: share of a tested user's items
        "fold?": int,  # of `users` only: the tested tenth
        "min_history?": int,  # liked items before a row that is used
        "rows?": int,  # labelled rows that were trained on, where not all
        "users?": int,  # that were validated by and tested, where not all
    },
}
_INTERVAL = {"mean": float, "low": float, "high": float}  # over test users; 95% by bootstrap
_SCHEMA = {
    # First 16 hex digits of sha256 over the canonical JSON of `experiment` and `fingerprints`.
    "run_id": str,
    # What was asked for. A new key is written only where it differs from what a record without it means.
    "experiment": {
        "model": str,
        "model_revision?": int,  # of the model's row; moves with its results
        "scoring?": str,  # of a model that does not score every item: candidates or pointwise
        "evaluator_revision": int,
        "dataset": _DATASET,
        "protocols?": [str],
        "draws?": int,  # lists per positive of drawn protocols
        "exclude": str,  # what is no candidate at test
        "ks?": [int],  # cut-offs
        "valid_metric": str,  # of selection
        "seed": int,
        "threads": int,
        "device": str,
        "params": {},  # before tuning
        "tune": Maybe(
            {"stages?": [{}]}
        ),  # the space of `--tune`; `trials`, `limit`, `seed`, `scheduler`, `searcher`
        "valid_rows?": str,  # small: the source's smaller validation part, of labelled rows
        "refit?": bool,  # true: trained again on training and validation before the test
        "train_on?": [
            {**_DATASET, "text_fields": {}}
        ],  # of a model that moves: where it was trained
    },
    # sha256 of what was read: of the interactions after filters, of the split, and `text`, `encoder` (weights, pooling; or a file of
    # vectors), `titles`, `backbone` (in words: files, kind, dtype), `run_file`, `user_profiles`, `written_users` and `written_items` (writer and
    # prompts) or `sources_..` where there are any.
    "fingerprints": {"data": str, "split": str, "*": str},
    # Sizes.
    "data": {
        "users": int,
        "items": int,
        "interactions": int,
        "train": int,
        "valid": int,
        "test": int,
        "history?": int,  # folded in, of users that training has not seen
        "test_users": int,
    },
    # Drawn protocol -> sha256 of its lists, equal for every model on the same split.
    "candidates": {"*": str},
    # Protocol -> metric@k.
    "metrics": {
        "recbole-*": {"*": {"mean": float}},  # RecBole's own evaluator tells no more
        "*": {
            "*": {**_INTERVAL, "draws?": [float], "users?": int}
        },  # `users`: a mean over some of them
    },
    # What selection was allowed to see: `metric`, and its value at the chosen point or epoch; None for a run file.
    "validation": {"value": Maybe(float)},
    # Of the model that was tested, after tuning.
    "params": {},
    "tuning": Maybe(
        {
            "points": int,  # tried
            "seconds": float,
            "trials?": [
                {
                    "point": {},
                    "value?": float,  # on validation; not of a trial that failed
                    "seconds?": float,
                    "epochs?": int,
                    "error?": str,
                }
            ],
        }
    ),
    # Of a model that reads text; with `dim`, and `coverage`, the share of items with any. One that reads titles as they stand has no
    # encoder, and there are no fields where vectors came from a file. `user_profiles`, where users have text vectors: a file's name,
    # by whom they are written (`item_profiles` too), or the mean of the training items.
    "text": Maybe({"encoder?": str, "fields": {}}),
    # fit_seconds, evaluate_seconds, encode_seconds, peak_memory_mb, parameters, epochs; energy_kwh where it was measured.
    "cost": {"*": Maybe(float)},
    # Where it ran; with `platform` and `git` (commit or null).
    "environment": {"python": str, "cpu": str, "device": str, "packages": {"*": str}},
    # Remarks that a reader of the numbers needs, e.g. `untuned` or `weights not saved: ..`.
    "flags": [str],
    # coverage@k, gini@k, popularity@k, tail@k, novelty@k of the test users' lists under full ranking.
    "beyond": {"*": float},
    # Part of the positives -> metrics of full ranking.
    "strata": {"*": {"users": int, "positives": int, "metrics": {"*": _INTERVAL}}},
    # Part of the labelled pairs of the test -> metrics of `ctr`.
    "parts": {"*": {"users": int, "rows": int, "metrics": {"*": {**_INTERVAL, "users?": int}}}},
    # Protocol that was asked for -> why there is no number under it.
    "unserved": {"*": str},
    # What a model says of itself once it is trained, e.g. `l0` and `cosine` of a sparse autoencoder.
    "measures": {"*": float},
    # UTC, ISO 8601; no part of the identity of a run.
    "created": str,
    "schema": int,
}
"""Every key of a record: `?` marks one that may be missing, `*` any other. A record's id covers what was asked for and not what
came out, so that both are looked at."""
_RARE = {"unserved", "measures", "parts"}
"""Keys that are written only where they hold something."""


@dataclass(frozen=True)
class ResultRecord:
    """What one run did and what came out; `_SCHEMA` says what each key holds."""

    run_id: str
    experiment: dict[str, Any]
    fingerprints: dict[str, str]
    data: dict[str, Any]
    candidates: dict[str, str]
    metrics: dict[str, dict[str, dict[str, Any]]]
    validation: dict[str, Any]
    params: dict[str, Any]
    tuning: dict[str, Any] | None
    text: dict[str, Any] | None
    cost: dict[str, Any]
    environment: dict[str, Any]
    flags: list[str] = field(default_factory=list)
    beyond: dict[str, float] = field(default_factory=dict)
    strata: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    unserved: dict[str, str] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    created: str = ""
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Sorted, indented, one trailing newline; NaN and infinity are refused."""
        written = dataclasses.asdict(self)
        written = {key: value for key, value in written.items() if value or key not in _RARE}
        return json.dumps(written, indent=1, sort_keys=True, allow_nan=False) + "\n"


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
    wrong = flaw(vars(record), _SCHEMA) or next(
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
        # rglob does not go through links, which folders of runs that lie elsewhere may be.
        paths = {*folder.rglob("*.json"), *folder.glob("*/record.json")}
        yield from sorted(p for p in paths if _RECORD_NAME.fullmatch(p.name))
