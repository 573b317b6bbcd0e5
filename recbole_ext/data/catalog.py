"""Datasets by name: the ones that a YAML file describes, and any folder of atomic files under `--data-path`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.config import properties, read_yaml
from recbole_ext.data.atomic import find_atomic, read_atomic
from recbole_ext.data.interactions import Interactions, canonical
from recbole_ext.errors import HarnessError, nearest
from recbole_ext.recbole_compat import bundled_ml_100k

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class DatasetSpec:
    """Where a dataset is and what its YAML says of it."""

    name: str
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)


def dataset_names(data_path: Path | None = None) -> list[str]:
    """Names that `find_dataset` can load now."""
    described = [
        path.stem
        for path in sorted((properties() / "dataset").glob("*.yaml"))
        if read_yaml(path).get("source")
    ]
    found = (
        []
        if data_path is None or not data_path.is_dir()
        else [
            folder.name
            for folder in sorted(data_path.iterdir())
            if folder.is_dir() and _has_files(folder)
        ]
    )
    return [*described, *(name for name in found if name not in described)]


def find_dataset(name: str, data_path: Path | None = None) -> DatasetSpec:
    """Look a dataset up: a folder under `data_path` wins over a bundled one.

    Raises:
        HarnessError: it is nowhere; the line gives the nearest name that works as a command.
    """
    path = properties() / "dataset" / f"{name}.yaml"
    described = read_yaml(path) if path.is_file() else {}
    options = described.get("options") or {}
    if data_path is not None and not data_path.is_dir():
        raise HarnessError(f"--data-path={data_path}: no such folder")
    if data_path is not None and _has_files(data_path / name):
        folder = data_path / name
        if find_atomic(folder, f"{name}.inter") is None:
            options = {"split": "files", **options}  # the source brings nothing but its own split
        return DatasetSpec(name, folder, options)
    if described.get("source") == "recbole":
        return DatasetSpec(name, bundled_ml_100k(), options)
    known = dataset_names(data_path)
    hint = nearest(name, known) or f" (here: {', '.join(known)});"
    example = known[0] if known else "ml-100k"
    raise HarnessError(
        f"dataset '{name}' has no source here{hint} Put NAME.inter into DIR/{name}/ and add --data-path=DIR, "
        f"or run: python run_bench.py --model=L3AE --dataset={example}"
    )


def load_dataset(spec: DatasetSpec, options: Mapping[str, Any]) -> Interactions:
    """Read and filter a dataset.

    Args:
        spec: from `find_dataset`.
        options: the dataset section of the settings (filters; split keys are ignored here).
    """
    rows = _rows(spec, own_split=options.get("split") == "files")
    item_path = find_atomic(spec.folder, f"{spec.name}.item")
    items = read_atomic(item_path, needed=("item_id",)) if item_path is not None else None
    return canonical(spec.name, rows, items, options)


def _rows(spec: DatasetSpec, own_split: bool) -> pd.DataFrame:
    """The interactions, with column `part` when the source's own split is asked for."""
    import pandas as pd

    needed = ("user_id", "item_id")
    whole = find_atomic(spec.folder, f"{spec.name}.inter")
    if whole is not None and not own_split:
        return read_atomic(whole, needed)
    parts = []
    for number, part in enumerate(_PARTS):
        path = find_atomic(spec.folder, f"{spec.name}.{part}.inter")
        if path is not None:
            parts.append(read_atomic(path, needed).assign(part=number))
        elif part != "valid":
            raise HarnessError(
                f"{spec.folder}: no {spec.name}.{part}.inter or {spec.name}.{part}.inter.gz"
            )
    rows = pd.concat(parts, ignore_index=True)
    return rows if own_split else rows.drop(columns="part")


def _has_files(folder: Path) -> bool:
    return any(find_atomic(folder, f"{folder.name}{part}.inter") for part in ("", ".train"))
