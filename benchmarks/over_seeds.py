"""Finished runs under a protocol, those of one configuration over its seeds together, and what tables call them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import TypeVar

from recbole_ext.core.yaml_files import properties, read_yaml
from recbole_ext.results import ResultRecord, read_records

Found = tuple[Path, ResultRecord]
"""(Folder, record) of a run."""
Key = TypeVar("Key", bound=Hashable)


def runs_under(records: Path, dataset: str, *protocols: str) -> list[Found]:
    """Runs on a dataset that have numbers under all of some protocols."""
    return [
        (path.parent, record)
        for path, record in read_records(records)[0]
        if record.experiment["dataset"]["name"] == dataset and set(protocols) <= set(record.metrics)
    ]


def over_seeds(runs: Iterable[Found], key: Callable[[ResultRecord], Key]) -> dict[Key, list[Found]]:
    """Runs by what makes them a row of their own, each row by seed."""
    groups: dict[Key, list[Found]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: int(run[1].experiment["seed"])):
        groups[key(run[1])].append(run)
    return groups


def name_of(record: ResultRecord) -> str:
    """A model with its backbone."""
    model, params = str(record.experiment["model"]), record.params
    return f"{model}, {params['backbone']}" if "backbone" in params else model


def changed(record: ResultRecord) -> dict[str, object]:
    """Key -> value of a model's own keys that are not at their defaults; one that has come since is at its default."""
    file = properties() / "model" / f"{record.experiment['model']}.yaml"
    usual = read_yaml(file).get("params") or {} if file.is_file() else {}
    params = record.params
    return {key: params[key] for key in usual if params.get(key, usual[key]) != usual[key]}
