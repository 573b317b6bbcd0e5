"""What a command line asks to be run: its datasets, models, seeds and searches, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from recbole_ext.arguments import Arguments, as_count, as_names, as_path
from recbole_ext.core.errors import HarnessError

if TYPE_CHECKING:
    from recbole_ext.config import Settings
    from recbole_ext.data.problem import Problem
    from recbole_ext.data.source import Supply
    from recbole_ext.experiment import Experiment
    from recbole_ext.registry import ModelSpec
    from recbole_ext.tune.search import Space


@dataclass(frozen=True)
class Plan:
    """Experiments on one problem."""

    problem: Problem
    experiments: list[Experiment]
    tuned: bool
    """A search was asked for, of the models that have a space."""


def plan(arguments: Arguments, how: Mapping[str, Any] | None = None) -> Plan:
    """The experiments of a command line.

    Args:
        arguments: of `run` or `sweep`; what is left of its options are keys.
        how: fields of `Space` for models that train by epoch.

    Raises:
        HarnessError: anything that the user can put right.
    """
    from recbole_ext.config import dataset_settings, resolve
    from recbole_ext.data.catalog import find_dataset
    from recbole_ext.registry.find import find_model, other_system

    if arguments.words:
        raise HarnessError(f"'{arguments.words[0]}' is not an option; write --key=value")
    names, run_file = (
        arguments.names("model"),
        as_path(arguments.take("run-file")),
    )
    if run_file is not None and (
        len(names) > 1 or {"tune", "seeds"} & {*arguments.options, *arguments.flags}
    ):
        raise HarnessError(
            "--run-file is one system's: give one --model=ITSNAME, no --tune and no --seeds"
        )
    specs = [other_system(name) if run_file else find_model(name) for name in names]
    name = arguments.name("dataset")
    data_path, supply = as_path(arguments.take("data-path")), supply_of(arguments)
    dataset = find_dataset(name, data_path, supply)
    seeds = as_count(arguments.take("seeds") or "1", "seeds")
    limit = arguments.take("tune")
    tune = limit is not None or "tune" in arguments.flags
    unknown = arguments.flags - {"force", "json", "tune"}
    if unknown:
        raise HarnessError(
            f"--{unknown.pop()} is not an option of run; see: python run_bench.py --help"
        )
    train_on = arguments.take("train")
    others = [] if train_on is None else as_names(train_on, "train")
    given, special = _by_dataset(arguments.options, [dataset.name, *others])
    settings = resolve(
        specs, dataset.options, given | special[dataset.name], dataset.labelled_options
    )

    from recbole_ext.data.problem import Problem
    from recbole_ext.data.run_file import RunFile
    from recbole_ext.data.union import Union
    from recbole_ext.pipeline.prepare import prepare

    source = RunFile(run_file) if run_file else None
    problem = Problem(dataset, settings[0].dataset, settings[0].evaluation)
    sources = None
    if others:
        parts = []
        for other in others:
            found = find_dataset(other, data_path, supply)
            shared = {key: text for key, text in given.items() if key in settings[0].dataset}
            options = dataset_settings(found.options, shared | special[other])
            parts.append(Problem(found, options, settings[0].evaluation))
        sources = Union.of(parts, problem)
    points = as_count(limit, "tune") if limit else None
    experiments = []
    for spec, values in zip(specs, settings, strict=True):
        first = int(values.run["seed"])
        space = _space_of(spec, values, points, how) if tune else None
        for step in range(seeds):
            values.run["seed"] = first + step
            experiments.append(prepare(spec, values, problem, space, source, sources))
    if tune and all(experiment.space is None for experiment in experiments):
        raise HarnessError(
            f"--tune: {specs[0].name} has no search space, or all of its keys are given; "
            f"add `space:` to properties/model/{specs[0].name}.yaml, or give fewer"
        )
    return Plan(problem, experiments, tune)


def _space_of(
    spec: ModelSpec, values: Settings, points: int | None, how: Mapping[str, Any] | None
) -> Space | None:
    """What is searched of a model, drawn by its first seed; None where it has no space."""
    from recbole_ext.tune.search import Space

    if not values.space:
        return None
    space = Space(values.space, points, int(values.run["seed"]))
    by_epoch = spec.trainer is not None and spec.trainer.by_epoch
    return replace(space, **how) if how is not None and by_epoch else space


def supply_of(arguments: Arguments) -> Supply:
    """Where datasets come from and what may be read."""
    from recbole_ext.data.source import Supply

    source_dir, mirror = as_path(arguments.take("source-dir")), arguments.take("mirror")
    if source_dir is not None and not source_dir.is_dir():
        raise HarnessError(f"--source-dir={source_dir}: no such folder")
    plain = Supply(source_dir=source_dir, allow_pickle="allow-pickle" in arguments.flags)
    arguments.flags.discard("allow-pickle")
    return replace(plain, mirror=mirror) if mirror else plain


def _by_dataset(
    options: Mapping[str, str], names: list[str]
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """(Keys for all, keys of each dataset): those are typed as --NAME.KEY=VALUE, where a name may hold dots itself."""
    given, special = dict(options), {name: dict[str, str]() for name in names}
    for key in options:
        # No key of a dataset holds a dot.
        owner, _, own = key.rpartition(".")
        if owner in special:
            special[owner][own] = given.pop(key)
    return given, special
