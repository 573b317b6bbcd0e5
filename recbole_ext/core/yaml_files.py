"""The YAML files under `properties/`, wherever the package is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.core.errors import HarnessError


def properties() -> Path:
    """The folder of YAML files: inside an installed package, or at the root of a checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "properties", here.parent / "properties"):
        if (folder / "overall.yaml").is_file():
            return folder
    raise HarnessError(f"properties/overall.yaml is not beside {here}; reinstall recbole_ext")


# Of PyYAML's two the one in C where it was built: a command reads some ten files, and it takes a tenth of the time.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    """PyYAML's safe one, for which 1e-4 is a number too (to YAML 1.1 it is text); what is quoted stays text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def from_yaml(text: str, where: str) -> Any:
    """The value of a YAML text that stands `where`."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise HarnessError(f"{where}: {' '.join(str(error).split())}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror or error}; correct the path") from None
    except UnicodeDecodeError:
        raise HarnessError(
            f"{path}: not UTF-8; convert it, e.g. iconv -f latin1 -t utf-8"
        ) from None
    found = from_yaml(text, str(path))
    if not isinstance(found, dict):
        raise HarnessError(f"{path}: not a mapping of keys to values")
    return found
