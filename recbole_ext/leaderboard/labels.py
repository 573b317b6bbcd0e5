"""Short names: of a row among the rows of its model, of a section among those of its dataset."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from recbole_ext.results import ResultRecord, canonical_json

FEW = 8
"""What a sentence names before it counts the rest."""

_MOST_PARTS = 4
_LONGEST_VALUE = 24


def flat(value: Any) -> str:
    """A JSON value on one short line: `split=ratio, split_seed=2026`."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={flat(value[key])}" for key in sorted(value))
    if isinstance(value, list):
        return ":".join(flat(x) for x in value)
    return "none" if value is None else " ".join(str(value).split())


def listed(words: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def first_few(words: Sequence[str]) -> str:
    """`listed`, of many the first ones: `A, B, .. and 7 more`."""
    more = len(words) - FEW
    return listed([*words[:FEW], f"{more} more"] if more > 0 else words)


def safe(name: object) -> str:
    """A name from a record is not a path: no separators, no dots to climb with."""
    return re.sub(r"[^\w.@+-]", "_", str(name)).lstrip(".") or "_"


def row_labels(records: Sequence[ResultRecord]) -> list[str]:
    """One label for the (first) record of each row: the model, and what tells it from its rivals.

    Labels are unique: where the words do not suffice, the run's id follows.
    """
    labels = []
    for record in records:
        name = model_name(record)
        rivals = [r for r in records if model_name(r) == name]
        parts = _differences(record, rivals)
        labels.append(f"{name} ({', '.join(parts)})" if parts else str(name))
    return [
        f"{label} [{record.run_id[:8]}]" if labels.count(label) > 1 else label
        for label, record in zip(labels, records, strict=True)
    ]


def model_name(record: ResultRecord) -> str:
    """A model, and where it was trained if not on what it ranks."""
    asked = record.experiment
    sources = [dataset["name"] for dataset in asked.get("train_on", ())]
    return f"{asked['model']} from {listed(sources)}" if sources else str(asked["model"])


def _differences(record: ResultRecord, rivals: Sequence[ResultRecord]) -> list[str]:
    tuned = _tuning(record)
    parts = [tuned] if len({_tuning(r) for r in rivals}) > 1 else []
    # Rows of one budget are told apart by their settings, those of another by the budget alone.
    alike = [_settings(r) for r in rivals if _tuning(r) == tuned]
    own = _settings(record)
    names = dict.fromkeys([*own, *(name for other in alike for name in other)])
    differing = [name for name in names if len({other.get(name) for other in alike}) > 1]
    parts += [f"{name}={_short(own[name])}" for name in differing[:_MOST_PARTS] if name in own]
    return [*parts, "…"] if len(differing) > _MOST_PARTS else parts


def _tuning(record: ResultRecord) -> str:
    return f"tuned, {record.tuning['points']} points" if record.tuning else "untuned"


def _settings(record: ResultRecord) -> dict[str, str]:
    """Everything but the seed that can tell two runs of a model apart, the most telling first."""
    asked, read = record.experiment, record.fingerprints
    found = {key: flat(value) for key, value in sorted(asked["params"].items())}
    if asked["tune"] is not None:
        found["space"] = hashlib.sha256(canonical_json(asked["tune"]).encode()).hexdigest()[:6]
    nested = {"params", "tune", "dataset", "model", "seed", "train_on"}
    found |= {key: flat(value) for key, value in sorted(asked.items()) if key not in nested}
    for part in (asked["dataset"]["filters"], asked["dataset"]["split"]):
        found |= {key: flat(value) for key, value in sorted(part.items())}
    return found | {key: read[key][:6] for key in sorted(read)}


def _short(text: str) -> str:
    half = _LONGEST_VALUE // 2
    return text if len(text) <= _LONGEST_VALUE else f"{text[: half - 1]}…{text[-half:]}"


def section_titles(records: Sequence[ResultRecord]) -> list[str]:
    """One title for a record of each section: the dataset's name, and as much more as makes it unique."""
    return [_title(record, records) for record in records]


def _title(record: ResultRecord, records: Sequence[ResultRecord]) -> str:
    name = record.experiment["dataset"]["name"]
    rivals = [_place(r) for r in records if r.experiment["dataset"]["name"] == name]
    own, shown = _place(record), []
    for number, part in enumerate(own):
        if len(rivals) == 1:
            break
        if len({rival[number] for rival in rivals}) > 1:
            shown.append(part)
            rivals = [rival for rival in rivals if rival[number] == part]
    return ", ".join([name, *shown])


def _place(record: ResultRecord) -> list[str]:
    asked, read = record.experiment, record.fingerprints
    return [
        flat(asked["dataset"]["split"]),
        flat(asked["dataset"]["filters"]),
        f"without {asked['exclude']}",
        f"data {read['data'][:12]}",
        f"split {read['split'][:12]}",
    ]
