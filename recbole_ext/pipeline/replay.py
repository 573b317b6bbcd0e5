"""From a record back to the experiment that made it."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from recbole_ext.config import Settings, model_defaults
from recbole_ext.core.yaml_files import properties, read_yaml
from recbole_ext.data.catalog import find_dataset
from recbole_ext.data.problem import Problem
from recbole_ext.data.union import Union
from recbole_ext.experiment import RARE_FILTERS, RARE_SPLIT, Experiment
from recbole_ext.registry.find import find_model
from recbole_ext.results import ResultRecord
from recbole_ext.tune.search import Space


def experiment_of(
    record: ResultRecord,
    data_path: Path | None = None,
    tuned: bool = True,
    device: str | None = None,
) -> Experiment:
    """The experiment that a record describes; a key that has come since has its default.

    Args:
        record: to be repeated.
        data_path: where datasets are that are not bundled.
        tuned: repeat the search; False takes the record's chosen parameters and searches nothing.
        device: in place of the record's.
    """
    asked = record.experiment
    spec = find_model(asked["model"])
    dataset = find_dataset(asked["dataset"]["name"], data_path)
    overall = read_yaml(properties() / "overall.yaml")
    options = {
        **overall["dataset"],
        **dataset.options,
        **RARE_FILTERS,
        **RARE_SPLIT,  # what a record does not name was so, whatever the dataset's YAML says now
        **asked["dataset"]["filters"],
        **asked["dataset"]["split"],
    }
    if record.text is not None:  # the columns that were read, whatever named them
        options["text_fields"] = record.text["fields"]
    evaluation = {key: asked.get(key, usual) for key, usual in overall["evaluation"].items()}
    run = {key: asked.get(key, usual) for key, usual in overall["run"].items()}
    run["device"] = device or run["device"]
    tune = asked["tune"] if tuned else None
    space = None
    if tune is not None:
        plain = Space(
            tune["stages"],
            tune.get("limit"),
            tune.get("seed", asked["seed"]),
            tune.get("scheduler"),
            adaptive=tune.get("searcher") == "optuna",
        )
        space = dataclasses.replace(plain, drawn=_drawn(plain, record))
    known = model_defaults(spec)
    settings = Settings(
        run=run,
        evaluation=evaluation,
        dataset=options,
        params={**known.params, **known.since, **(asked["params"] if tune else record.params)},
        space=known.space,
        since=known.since,
    )
    problem, sources = Problem(dataset, options, evaluation), None
    if "train_on" in asked:
        parts = []
        for place in asked["train_on"]:
            found = find_dataset(place["name"], data_path)
            own = {**overall["dataset"], **found.options, **RARE_FILTERS, **RARE_SPLIT}
            own |= {**place["filters"], **place["split"]}
            own["text_fields"] = place["text_fields"]
            parts.append(Problem(found, own, evaluation))
        sources = Union.of(parts, problem)
    return Experiment(spec, settings, problem, space, sources=sources)


def _drawn(space: Space, record: ResultRecord) -> list[list[dict[str, Any]]] | None:
    """The points that a search drew, a list for each stage; None where it tried all."""
    if space.limit is None or record.tuning is None:
        return None
    points = iter([trial["point"] for trial in record.tuning["trials"]])
    return [
        list(itertools.islice(points, space.tries(stage))) for stage in range(len(space.stages))
    ]
