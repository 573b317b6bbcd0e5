"""Datasets by name: the ones that a YAML file describes, and any folder of atomic files under `--data-path`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.data.atomic import find_atomic, read_atomic
from recbole_ext.data.build import Supply, build, set_aside
from recbole_ext.data.interactions import Interactions, canonical, zeros_as_positives
from recbole_ext.data.source import Source, described, described_names
from recbole_ext.errors import HarnessError, nearest
from recbole_ext.progress import say
from recbole_ext.recbole_compat import bundled_ml_100k

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class DatasetSpec:
    """Where a dataset is and what its YAML says of it."""

    name: str
    folder: Path | None
    """Of atomic files; None for one that is built from `source`."""
    options: dict[str, Any] = field(default_factory=dict)
    source: Source | None = None
    supply: Supply = field(default_factory=Supply)


def dataset_names(data_path: Path | None = None) -> list[str]:
    """Names that `find_dataset` knows: those under `data_path`, the bundled one and those with a source."""
    named, _ = described_names()
    found = (
        []
        if data_path is None or not data_path.is_dir()
        else [
            folder.name
            for folder in sorted(data_path.iterdir())
            if folder.is_dir() and _has_files(folder)
        ]
    )
    return [*found, *(name for name in named if name not in found)]


def find_dataset(
    name: str, data_path: Path | None = None, supply: Supply | None = None
) -> DatasetSpec:
    """Look a dataset up: a folder under `data_path` wins over a bundled one, and that over one with a source.

    Raises:
        HarnessError: it is nowhere; the line gives the nearest name that works as a command.
    """
    found = described(name)
    options = (found or {}).get("options") or {}
    if data_path is not None and not data_path.is_dir():
        raise HarnessError(f"--data-path={data_path}: no such folder")
    if data_path is not None and _has_files(data_path / name):
        folder = data_path / name
        # Options of a described source are about its official files, not about what somebody made of them.
        if isinstance((found or {}).get("source"), Source):
            options = (found or {}).get("local_options") or {}
        if find_atomic(folder, f"{name}.inter") is None:
            options = {"split": "files", **options}  # the source brings nothing but its own split
        return DatasetSpec(name, folder, options)
    source = (found or {}).get("source")
    if source == "recbole":
        return DatasetSpec(name, bundled_ml_100k(), options)
    if isinstance(source, Source):
        return DatasetSpec(name, None, options, source, supply or Supply())
    known = dataset_names(data_path)
    hint = nearest(name, known) or f" (here: {', '.join(known)});"
    raise HarnessError(
        f"dataset '{name}' has no source here{hint} Put NAME.inter into DIR/{name}/ and add --data-path=DIR, "
        f"or run: python run_bench.py --model=L3AE --dataset=ml-100k"
    )


def load_dataset(spec: DatasetSpec, options: Mapping[str, Any]) -> Interactions:
    """Read and filter a dataset; one with a source is fetched and built first, unless it has been.

    Args:
        spec: from `find_dataset`.
        options: the dataset section of the settings (filters; split keys are ignored here).
    """
    own_split = options.get("split") == "files"
    if spec.source is not None:
        if own_split and not hasattr(spec.source.reader(), "PARTS"):
            raise HarnessError(
                f"{spec.name}: its official files bring no split of their own; use split=ratio"
            )
        built = build(spec.source, options, spec.supply)
        try:
            rows, items = _read(built.folder, spec.name, own_split)
        except HarnessError as error:
            say(f"set aside as {set_aside(built.folder).name}, and built again: {error}")
            built = build(spec.source, options, spec.supply)
            rows, items = _read(built.folder, spec.name, own_split)
        _say_zeros(spec.name, rows, options)
        # Its filters have run: one-pass counts must not run twice.
        data = canonical(spec.name, rows, items, {})
        return dataclasses.replace(data, dropped=built.manifest["dropped"])
    assert spec.folder is not None
    rows, items = _read(spec.folder, spec.name, own_split)
    _say_zeros(spec.name, rows, options)
    return canonical(spec.name, rows, items, options)


def _say_zeros(name: str, rows: pd.DataFrame, options: Mapping[str, Any]) -> None:
    found = zeros_as_positives(name, rows, options)
    if found is not None:
        say(found)


def _read(folder: Path, name: str, own_split: bool) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """(interactions, items) of a folder of atomic files."""
    path = find_atomic(folder, f"{name}.item")
    items = read_atomic(path, needed=("item_id",)) if path is not None else None
    return _rows(folder, name, own_split), items


def _rows(folder: Path, name: str, own_split: bool) -> pd.DataFrame:
    """The interactions, with column `part` when the source's own split is asked for."""
    import pandas as pd

    needed = ("user_id", "item_id")
    whole = find_atomic(folder, f"{name}.inter")
    if whole is not None and not own_split:
        return read_atomic(whole, needed)
    parts = []
    for number, part in enumerate(_PARTS):
        path = find_atomic(folder, f"{name}.{part}.inter")
        if path is not None:
            parts.append(read_atomic(path, needed).assign(part=number))
        elif part != "valid":
            raise HarnessError(f"{folder}: no {name}.{part}.inter or {name}.{part}.inter.gz")
    rows = pd.concat(parts, ignore_index=True)
    return rows if own_split else rows.drop(columns="part")


def _has_files(folder: Path) -> bool:
    return any(find_atomic(folder, f"{folder.name}{part}.inter") for part in ("", ".train"))
