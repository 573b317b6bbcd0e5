"""The YAML files under `properties/`, wherever the package is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from recbole_ext.errors import HarnessError


def properties() -> Path:
    """The folder of YAML files: inside an installed package, or at the root of a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "properties", here.parent / "properties"):
        if (folder / "overall.yaml").is_file():
            return folder
    raise HarnessError(f"properties/overall.yaml is not beside {here}; reinstall recbole_ext")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; exponents such as 1e-4 are numbers (YAML 1.1 reads them as text)."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HarnessError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise HarnessError(f"{path}: not a mapping of keys to values")
    return {key: _numbers(value) for key, value in found.items()}


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(x) for x in value]
    if isinstance(value, dict):
        return {key: _numbers(x) for key, x in value.items()}
    if isinstance(value, str):
        try:
            return float(value) if any(c.isdigit() for c in value) else value
        except ValueError:
            return value
    return value
