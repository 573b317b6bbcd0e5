"""Where a described dataset comes from: its official files, their format, licence, and what was published of it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.files import default_cache
from recbole_ext.core.yaml_files import properties, read_yaml

if TYPE_CHECKING:
    from recbole_ext.data.fetch import RemoteFile
    from recbole_ext.data.formats.reading import Format

FORMATS = {
    "amazon-2018": "amazon:AMAZON_2018",
    "amazon-2023": "amazon:AMAZON_2023",
    "movielens": "movielens",
    "bookcrossing": "bookcrossing",
    "hetrec-lastfm": "hetrec_lastfm",
    "lightgcn": "lightgcn",
    "collm": "collm",
    "rlmrec": "rlmrec",
}


@dataclass(frozen=True)
class Source:
    """What a dataset's YAML says under `source`, its family's template filled in."""

    name: str
    format: str
    files: Mapping[str, Mapping[str, Any]]
    """Role -> `url`, and `size`, `sha256`, `md5` where they are published."""
    licence: str
    page: str
    verified: str
    """When the URLs were last opened: a date, or `never`."""
    published: Mapping[str, Any] = field(default_factory=dict)
    """`users`, `items`, `interactions` after the default filters, and `where` that is printed."""

    def remote(self) -> dict[str, RemoteFile]:
        """Role -> file to fetch."""
        from recbole_ext.data.fetch import RemoteFile

        return {role: RemoteFile(**of) for role, of in self.files.items()}

    def reader(self) -> Format:
        """The functions that read the files.

        Raises:
            HarnessError: the YAML names a format that is not there.
        """
        if self.format not in FORMATS:
            raise HarnessError(
                f"properties/dataset/{self.name}.yaml: format '{self.format}' is unknown"
                f"{nearest(self.format, FORMATS)}"
            )
        module, _, name = FORMATS[self.format].partition(":")
        found: Format = importlib.import_module(f"recbole_ext.data.formats.{module}")  # type: ignore[assignment]
        return cast("Format", getattr(found, name)) if name else found


def described(name: str) -> dict[str, Any] | None:
    """What `properties/dataset` says of a dataset, None if nothing; `source` is a `Source`, or a word for a bundled one.

    A YAML with `family: prefix-{category}` stands for one dataset per category; one with `extends` takes what it does
    not say itself from another.

    Raises:
        HarnessError: a family's name with a category that it does not have.
    """
    path = properties() / "dataset" / f"{name}.yaml"
    if path.is_file():
        return _filled(name, read_yaml(path))
    for other in sorted((properties() / "dataset").glob("*.yaml")):
        of = read_yaml(other)
        prefix = str(of.get("family", "")).partition("{category}")[0]
        if prefix and name.startswith(prefix):
            category = name.removeprefix(prefix)
            if category not in of["categories"]:
                known = [prefix + c for c in of["categories"]]
                raise HarnessError(
                    f"dataset '{name}' is unknown{nearest(name, known)}; {other.stem} has {', '.join(of['categories'])}"
                )
            return _filled(name, {**of, "category": category})
    return None


def described_names() -> tuple[list[str], list[str]]:
    """(names with a source, forms of the families) in the order of the alphabet."""
    found = {
        path.stem: read_yaml(path) for path in sorted((properties() / "dataset").glob("*.yaml"))
    }
    families = [
        str(of["family"]).replace("{category}", "CATEGORY")
        for of in found.values()
        if "family" in of
    ]
    named = [
        name
        for name, of in found.items()
        if "family" not in of and ("source" in of or "extends" in of)
    ]
    return named, families


def _filled(name: str, of: dict[str, Any]) -> dict[str, Any]:
    if "extends" in of:
        base = read_yaml(properties() / "dataset" / f"{of['extends']}.yaml")
        of = {**base, **of, "options": {**(base.get("options") or {}), **(of.get("options") or {})}}
    source = of.get("source")
    if not isinstance(source, Mapping):
        return of
    category = str(of.get("category", ""))
    files = {
        role: {**entry, "url": str(entry["url"]).replace("{category}", category)}
        for role, entry in source["files"].items()
    }
    return {
        **of,
        "source": Source(
            name=name,
            format=source["format"],
            files=files,
            licence=str(of.get("licence", "none stated")),
            page=str(source.get("page", "")),
            verified=str(source.get("verified", "never")),
            published=of.get("published") or {},
        ),
    }


@dataclass(frozen=True)
class Supply:
    """How the official files are come by."""

    cache: Path = field(default_factory=default_cache)
    source_dir: Path | None = None
    """Files fetched by hand; with it nothing is downloaded."""
    mirror: str | None = field(default_factory=lambda: os.environ.get("RECBOLE_EXT_MIRROR"))
    """Base URL that has the files under their names."""
    allow_pickle: bool = False
    """Read official files that are pickles."""
