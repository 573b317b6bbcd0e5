"""What to type so that a row comes again: the words of a command line, read off its records.

Defaults are left out where a record has them and no YAML of the dataset says otherwise, so that the command means the same whether the
dataset is fetched or lies in a folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recbole_ext.config import ModelDefaults, model_defaults
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.values import parse_value
from recbole_ext.core.yaml_files import properties, read_yaml
from recbole_ext.data.source import described
from recbole_ext.evaluator.selection import AUTO, usual
from recbole_ext.experiment import RARE_FILTERS, RARE_SPLIT
from recbole_ext.leaderboard.rows import Row
from recbole_ext.registry.find import find_model
from recbole_ext.results import ResultRecord

_OPTIONS = ("options", "labelled_options", "local_options", "local_labelled_options")
"""Where a dataset's YAML sets keys."""


@dataclass(frozen=True)
class Command:
    """A line for a shell, every word quoted that needs it, and what it does not say itself."""

    line: str
    remarks: tuple[str, ...] = ()


def command_of(row: Row) -> Command:
    """The command that makes a row again: its search where the command line can ask for the same one, else the parameters that were
    chosen, searching nothing."""
    record = row.first
    asked = record.experiment
    overall = read_yaml(properties() / "overall.yaml")
    remarks: list[str] = []
    words = [f"--model={asked['model']}", f"--dataset={asked['dataset']['name']}"]
    spec = known = None
    if "run_file" in record.fingerprints:
        words.append("--run-file=FILE")
        remarks.append(
            f"FILE: the lists of that system, sha256 {record.fingerprints['run_file'][:12]}."
        )
    else:
        try:
            spec = find_model(asked["model"])
            known = model_defaults(spec)
        except HarnessError:
            remarks.append("The model is of a package that is not here.")
    if spec is not None and spec.revision != asked.get("model_revision", spec.revision):
        remarks.append(
            f"Made by revision {asked['model_revision']} of the model; it is {spec.revision} now, and results have moved."
        )
    sources = [part["name"] for part in asked.get("train_on", ())]
    if any(described(name) is None for name in (asked["dataset"]["name"], *sources)):
        words.append("--data-path=DIR")
        remarks.append("DIR: the folder that the datasets' folders are in.")
    if sources:
        words.append(f"--train={','.join(sources)}")
    own = f"{asked['dataset']['name']}." if sources else ""
    fields = None if record.text is None else record.text["fields"]
    words += [f"--{own}{key}={text}" for key, text in _of_dataset(asked["dataset"], fields)]
    for part in asked.get("train_on", ()):
        words += [
            f"--{part['name']}.{key}={text}" for key, text in _of_dataset(part, part["text_fields"])
        ]
    words += _of_evaluation(asked, overall["evaluation"])
    searched, told = _search(record, known)
    remarks += told
    params = asked["params"] if searched or asked["tune"] is None else record.params
    words += _of_params(asked["model"], params, known, overall)
    later = sorted({*known.params} - {*known.since, *asked["params"]}) if known else []
    if later:
        remarks.append(
            f"Made before {', '.join(later)} could be set: at its default the numbers are the same, under another run id."
        )
    words += searched
    seeds = [int(record.experiment["seed"]) for record in row.records]
    if seeds[0] != overall["run"]["seed"]:
        words.append(f"--seed={seeds[0]}")
    if seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        words += [f"--seeds={len(seeds)}"] * (len(seeds) > 1)
    else:
        others = ", ".join(map(str, seeds[1:]))
        remarks.append(f"Its other seeds, each with --seed: {others}.")
    words += [f"--threads={asked['threads']}", f"--device={asked['device']}"]
    return Command(shlex.join(["python", "run_bench.py", *words]), tuple(remarks))


def _search(record: ResultRecord, known: ModelDefaults | None) -> tuple[list[str], list[str]]:
    """(`--tune` where it means the search that was made, what is to be said where it does not)."""
    tune = record.experiment["tune"]
    if tune is None:
        return [], []
    by_ray = {"scheduler", "searcher"} & tune.keys()
    same = known is not None and tune.get("stages") == known.space
    if by_ray or not same or tune.get("seed", record.experiment["seed"]) != record.experiment["seed"]:  # fmt: skip
        why = "a sweep" if by_ray else "another grid than the model's own"
        if not by_ray and same:
            why = "drawn with another seed"
        return [], [
            f"Its parameters were chosen by a search ({why}), which this line does not repeat: the same numbers under another run id."
        ]
    limit = tune.get("limit")
    told = (
        "Made before a record held the seed of its search: the same numbers under another run id."
    )
    return ["--tune" if limit is None else f"--tune={limit}"], [told] * ("seed" not in tune)


def _of_dataset(
    dataset: Mapping[str, Any], text_fields: Mapping[str, str] | None
) -> Iterator[tuple[str, str]]:
    """Key -> text of what a record says of a dataset, as far as it is not what everybody has."""
    usually = read_yaml(properties() / "overall.yaml")["dataset"]
    found = described(dataset["name"]) or {}
    moved = {key for name in _OPTIONS for key in found.get(name) or {}}
    meant = {**RARE_FILTERS, **RARE_SPLIT, **dataset["filters"], **dataset["split"]}
    for key, value in meant.items():
        if value != usually.get(key) or key in moved:
            yield key, _text(key, value, usually.get(key))
    theirs = [(found.get(name) or {}).get("text_fields") for name in _OPTIONS]
    if text_fields and dict(text_fields) not in theirs:
        yield "text_fields", _text("text_fields", dict(text_fields), None)


def _of_evaluation(asked: Mapping[str, Any], usually: Mapping[str, Any]) -> Iterator[str]:
    scoring = asked.get("scoring", "full")
    for key, default in usually.items():
        value = asked.get(key, default)
        if key == "protocols" and scoring == "pointwise":
            same = value == ["ctr"]
        elif key == "valid_metric":
            same = value == usual(AUTO, scoring)
        else:
            same = value == default
        if not same:
            yield f"--{key}={_text(key, value, default)}"
    if asked.get("refit"):
        yield "--refit=true"


def _of_params(
    model: str, params: Mapping[str, Any], known: ModelDefaults | None, overall: Mapping[str, Any]
) -> Iterator[str]:
    """Parameters that are not the model's defaults; all of them where it is not known."""
    shared = {key for section in ("run", "evaluation", "dataset") for key in overall[section]}
    usually = known.params if known else {}
    for key, value in {**(known.since if known else {}), **params}.items():
        if known is None or key not in usually or value != usually[key]:
            name = f"{model}.{key}" if key in shared else key
            yield f"--{name}={_text(key, value, usually.get(key))}"


def _text(key: str, value: Any, default: Any) -> str:
    """A value as it is typed: of several ways the first that is read back as the same."""
    plain = {None: "null", True: "true", False: "false"}
    ways = [plain[value] if value is None or isinstance(value, bool) else str(value), repr(value)]
    if isinstance(value, list):
        ways.insert(0, ",".join(map(str, value)))
    if isinstance(value, dict):
        ways.insert(0, "{" + ", ".join(f"{name}: {of}" for name, of in value.items()) + "}")
    for text in ways:
        try:
            if parse_value(key, text, default) == value:
                return text
        except HarnessError:
            continue
    return ways[-1]
