"""Suites: lists of runs in a YAML file, each what could be typed after `run_bench.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_ext.arguments import FLAGS, Arguments
from recbole_ext.errors import HarnessError, nearest
from recbole_ext.yamlfiles import read_yaml

_FOLDER = Path("benchmarks", "suites")


def read_suite(name: str) -> list[Arguments]:
    """The runs of a suite, in order.

    Args:
        name: of a file in benchmarks/suites, or a path. Its `runs` are mappings of options, over those in `common`.

    Raises:
        HarnessError: no such suite, or it is no list of runs.
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
    return [_arguments({**common, **run}) for run in runs]


def _arguments(run: Mapping[str, Any]) -> Arguments:
    flags = {key for key, value in run.items() if value is True and key in FLAGS}
    options = {key: _text(value) for key, value in run.items() if key not in flags}
    return Arguments("run", options=options, flags=flags)


def _text(value: Any) -> str:
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)
