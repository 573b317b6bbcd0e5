"""Suites: lists of runs in a YAML file, each what could be typed after `run_bench.py`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from recbole_ext.arguments import FLAGS, Arguments
from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.yaml_files import read_yaml
from recbole_ext.pipeline.plan import plan

_FOLDER = Path("benchmarks", "suites")


def read_suite(name: str, over: Arguments) -> list[Arguments]:
    """The runs of a suite, in order, each of them checked: a mistake in the last is said before the first has begun.

    Args:
        name: of a file in benchmarks/suites, or a path. Its `runs` are mappings of options, over those in `common`; a run's `grid` is
            a mapping of options to lists, and stands for a run with each of their combinations, the last varying fastest.
        over: options and flags that win over those of the file.

    Raises:
        HarnessError: no such suite, it is no list of runs, or what `plan` says of one of them.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(found.stem for found in _FOLDER.glob("*.yaml"))
        raise HarnessError(
            f"--suite={name}: no file {path} ({', '.join(known) or 'benchmarks/suites is not here'})"
            f"{nearest(name, known)}"
        )
    suite = read_yaml(path)
    runs, common = suite.get("runs"), suite.get("common") or {}
    if not isinstance(runs, list) or not all(isinstance(run, Mapping) for run in runs) or not runs:
        raise HarnessError(f"{path}: no list of `runs`")
    steps = [
        _arguments({**common, **one}, over) for run in runs for one in _points(path, dict(run))
    ]
    for number, step in enumerate(steps, 1):
        asked = deepcopy(step)
        asked.take("records")
        try:
            plan(asked)
        except HarnessError as error:
            raise HarnessError(f"{path}, run {number} of {len(steps)}: {error}") from None
    return steps


def _points(path: Path, run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The runs that one of a grid stands for."""
    grid = run.pop("grid", {})
    if not isinstance(grid, Mapping) or not all(isinstance(v, list) for v in grid.values()):
        raise HarnessError(f"{path}: `grid` must map options to lists of their values")
    for values in itertools.product(*grid.values()):
        yield {**run, **dict(zip(grid, values, strict=True))}


def _arguments(run: Mapping[str, Any], over: Arguments) -> Arguments:
    flags = {key for key, value in run.items() if value is True and key in FLAGS}
    options = {key: _text(value) for key, value in run.items() if key not in flags}
    return Arguments("run", options=options | over.options, flags=flags | over.flags)


def _text(value: Any) -> str:
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)
