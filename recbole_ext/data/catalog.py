"""Datasets by name: the ones that a YAML file describes, and any folder of atomic files under `--data-path`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.recbole_package import bundled_ml_100k
from recbole_ext.data.source import Source, Supply, described, described_names


@dataclass(frozen=True)
class DatasetSpec:
    """Where a dataset is and what its YAML says of it."""

    name: str
    folder: Path | None
    """Of atomic files; None for one that is built from `source`."""
    options: dict[str, Any] = field(default_factory=dict)
    source: Source | None = None
    supply: Supply = field(default_factory=Supply)
    labelled_options: dict[str, Any] | None = None
    """In place of `options` where labelled pairs are told apart and nothing is ranked; None for the same."""


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
        HarnessError: it is nowhere, or somewhere else than it should be; the line gives a name that works as a command.
    """
    found = described(name)
    options = (found or {}).get("options") or {}
    labelled = (found or {}).get("labelled_options")
    if data_path is not None and not data_path.is_dir():
        raise HarnessError(f"--data-path={data_path}: no such folder")
    if os.sep in name:
        raise HarnessError(_a_path(name, data_path))
    if data_path is not None and _has_files(data_path / name):
        folder = data_path / name
        # Options of a described source are about its official files, not about what somebody made of them.
        if isinstance((found or {}).get("source"), Source):
            options = (found or {}).get("local_options") or {}
        if find_atomic(folder, f"{name}.inter") is None:
            options = {"split": "files", **options}  # the source brings nothing but its own split
        local = (found or {}).get("local_labelled_options") or {}
        both = {**labelled, **local} if labelled else None
        return DatasetSpec(name, folder, options, labelled_options=both)
    source = (found or {}).get("source")
    if source == "recbole":
        return DatasetSpec(name, bundled_ml_100k(), options, labelled_options=labelled)
    if isinstance(source, Source):
        return DatasetSpec(name, None, options, source, supply or Supply(), labelled)
    if data_path is not None and _has_files(data_path, name):
        where = (
            f"name the folder above, --data-path={data_path.absolute().parent}"
            if data_path.absolute().name == name
            else f"put them into {data_path / name}"
        )
        raise HarnessError(
            f"dataset '{name}': --data-path={data_path} holds its files themselves; {where}"
        )
    if data_path is not None and (data_path / name).is_dir():
        raise HarnessError(
            f"dataset '{name}': {data_path / name} has neither {name}.inter nor {name}.train.inter (or .gz); files are named as "
            "their folder is"
        )
    known = dataset_names(data_path)
    stem = name.removesuffix(".gz").removesuffix(".inter")
    hint = f", did you mean {stem}?" if stem != name and stem in known else nearest(name, known)
    hint = hint or f" (here: {', '.join(known)});"
    raise HarnessError(
        f"dataset '{name}' has no source here{hint} Put NAME.inter into DIR/{name}/ and add --data-path=DIR, "
        f"or run: python run_bench.py --model=L3AE --dataset=ml-100k"
    )


def find_atomic(folder: Path, stem: str) -> Path | None:
    """`folder/stem` or `folder/stem.gz`; None when neither exists.

    Raises:
        HarnessError: both do.
    """
    found = _there(folder, stem)
    if len(found) > 1:
        raise HarnessError(
            f"{folder}: {stem} and {stem}.gz are two files for one; remove one of them"
        )
    return found[0] if found else None


def _there(folder: Path, stem: str) -> list[Path]:
    return [path for path in (folder / stem, folder / f"{stem}.gz") if path.is_file()]


def _has_files(folder: Path, name: str | None = None) -> bool:
    stem = folder.name if name is None else name
    return any(_there(folder, f"{stem}{part}.inter") for part in ("", ".train"))


def _a_path(name: str, data_path: Path | None) -> str:
    """What to type in place of a path."""
    typed = Path(name).expanduser()
    folders = [typed, *([data_path / typed] if data_path is not None else [])]
    folder = next((one for one in folders if _has_files(one)), folders[-1])
    return (
        f"--dataset={name} is a path; name the folder, and say where it is: --dataset={folder.absolute().name} "
        f"--data-path={folder.absolute().parent}"
    )
