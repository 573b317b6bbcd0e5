"""Where two runs differ in what was asked for, read or chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recbole_ext.leaderboard.columns import MISSING
from recbole_ext.leaderboard.labels import flat
from recbole_ext.results import ResultRecord


def differences(one: ResultRecord, other: ResultRecord) -> Iterator[tuple[str, str, str]]:
    """(what, of the first, of the second) of everything that was asked for, read or chosen and is not the same in both.

    Of two models the keys that both have; how many are one's alone is said in a line.
    """
    yield from unlike(_told(one), _told(other))
    same_model = one.experiment["model"] == other.experiment["model"]
    first, second = (leaves("", record.params) for record in (one, other))
    both = first.keys() & second.keys()
    for key, here, there in unlike(first, second):
        if same_model or key in both:
            yield key, here, there
    alone = len(first.keys() - both), len(second.keys() - both)
    if not same_model and any(alone):
        yield "keys of its own", str(alone[0]), str(alone[1])
    tunes = [record.experiment["tune"] for record in (one, other)]
    if None not in tunes:
        yield from unlike(*(leaves("tune", tune) for tune in tunes))


def unlike(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(key, of the first, of the second) where two mappings are not the same; a dash for a key that one lacks."""
    for key in dict.fromkeys([*first, *second]):
        here, there = first.get(key, MISSING), second.get(key, MISSING)
        if here != there:
            yield key, here, there


def problem(record: ResultRecord) -> dict[str, Any]:
    """What the data and its split were asked for by."""
    dataset = record.experiment["dataset"]
    return {"dataset": dataset["name"], **dataset["filters"], **dataset["split"]}


def _told(record: ResultRecord) -> dict[str, str]:
    """Everything that determined a run but its parameters and its search, by name."""
    apart = {"model", "dataset", "params", "tune"}
    asked = {key: value for key, value in record.experiment.items() if key not in apart}
    found = {"model": str(record.experiment["model"])}
    found |= leaves("", {**problem(record), **asked})
    # What a text or its encoder is called says more than its hash, and not everything.
    found |= leaves("text", record.text or {})
    read = {key: value[:12] for key, value in sorted(record.fingerprints.items())}
    found |= {f"fingerprint of {key}": value for key, value in read.items()}
    found["tuned"] = f"{record.tuning['points']} points" if record.tuning else "no"
    return found


def leaves(prefix: str, value: Mapping[str, Any]) -> dict[str, str]:
    """Nested keys as `tune stages 1 reg`."""
    found: dict[str, str] = {}
    for key, each in value.items():
        name = f"{prefix} {key}".strip()
        if isinstance(each, list) and each and all(isinstance(part, dict) for part in each):
            each = {str(number): part for number, part in enumerate(each, 1)}
        found |= leaves(name, each) if isinstance(each, dict) and each else {name: flat(each)}
    return found
