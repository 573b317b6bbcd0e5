"""Short names: of a row among the rows of its model, of a section among those of its dataset."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from recbole_ext.core.canonical import canonical_json
from recbole_ext.results import ResultRecord

FEW = 8
"""What a sentence names before it counts the rest."""

_MOST_PARTS = 4
_BUDGET = "budget"
_MACHINE = ("threads", "device")
_SEARCHED = "searched"
"""In place of the value of a setting that tuning chose: it differs from no other."""
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

    Labels are unique: where the settings do not suffice, the machine's follow, and then the run's id.
    """
    labels = [_label(record, records, _MACHINE) for record in records]
    labels = [
        _label(record, records) if labels.count(label) > 1 else label
        for label, record in zip(labels, records, strict=True)
    ]
    return [
        f"{label} [{record.run_id[:8]}]" if labels.count(label) > 1 else label
        for label, record in zip(labels, records, strict=True)
    ]


def _label(
    record: ResultRecord, records: Sequence[ResultRecord], without: Sequence[str] = ()
) -> str:
    name = model_name(record)
    parts = _differences(record, [r for r in records if model_name(r) == name], without)
    return f"{name} ({', '.join(parts)})" if parts else name


def model_name(record: ResultRecord) -> str:
    """A model, where it was trained if not on what it ranks, and whether it was trained again on validation."""
    asked = record.experiment
    sources = [dataset["name"] for dataset in asked.get("train_on", ())]
    name = f"{asked['model']} from {listed(sources)}" if sources else str(asked["model"])
    return f"{name}, refitted" if asked.get("refit") else name


def _differences(
    record: ResultRecord, rivals: Sequence[ResultRecord], without: Sequence[str]
) -> list[str]:
    """The settings of a row that are not the usual ones of its rivals: what most share is not worth saying."""
    own, others = _settings(record), [_settings(rival) for rival in rivals]
    alike = [other for other in others if other[_BUDGET] == own[_BUDGET]]
    found = []
    for name, value in own.items():
        # Another budget is another space.
        there = [other.get(name) for other in (alike if name == "space" else others)]
        counts = Counter(each for each in there if each != _SEARCHED)
        if name in without or value == _SEARCHED or len(counts) < 2:
            continue
        usual = all(counts[value] > n for each, n in counts.items() if each != value)
        if not usual or None in counts:
            found.append(_short(value) if name == _BUDGET else f"{name}={_short(value)}")
    return [*found[:_MOST_PARTS], *(["…"] if len(found) > _MOST_PARTS else [])]


def _settings(record: ResultRecord) -> dict[str, str]:
    """Everything but the seed that can tell two runs of a model apart, the most telling first."""
    asked, read, tuning = record.experiment, record.fingerprints, record.tuning
    found = {_BUDGET: f"tuned, {tuning['points']} points" if tuning else "untuned"}
    found |= {key: flat(value) for key, value in sorted(asked["params"].items())}
    if asked["tune"] is not None:
        found |= {key: _SEARCHED for stage in asked["tune"].get("stages", ()) for key in stage}
        found["space"] = hashlib.sha256(canonical_json(asked["tune"]).encode()).hexdigest()[:6]
    nested = {"params", "tune", "dataset", "model", "seed", "train_on", "refit"}
    found |= {key: flat(value) for key, value in sorted(asked.items()) if key not in nested}
    for part in (asked["dataset"]["filters"], asked["dataset"]["split"]):
        found |= {key: flat(value) for key, value in sorted(part.items())}
    # What has a name among the parameters (a backbone) is told apart by that.
    return found | {key: read[key][:6] for key in sorted(read) if key not in found}


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
