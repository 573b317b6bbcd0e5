"""From files to interactions: a folder of atomic files, or official files that are fetched and built first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.progress import say
from recbole_ext.core.tokens import Numbering
from recbole_ext.data.atomic import Kind, columns_of, misfits, read_atomic
from recbole_ext.data.build import build, set_aside
from recbole_ext.data.catalog import DatasetSpec, find_atomic
from recbole_ext.data.interactions import PARTS, Interactions, canonical, zeros_as_positives

if TYPE_CHECKING:
    import pandas as pd

_OURS = ("user_id", "item_id", "timestamp")
"""Columns that `columns` may name otherwise."""
SMALL = "valid_small"
"""Name of the file of some rows of the validation part, which may be chosen by in place of all (`valid_rows`)."""


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
        if options.get("columns"):
            raise HarnessError(
                f"{spec.name}: its official files have columns of their own; --columns is for atomic files under --data-path"
            )
        if options.get("keep_label") and not getattr(spec.source.reader(), "LABELLED", False):
            raise HarnessError(
                f"{spec.name}: its official files have no labels; --keep_label is for files that have"
            )
        if options.get("history_field"):
            raise HarnessError(
                f"{spec.name}: its official files are read without histories; --history_field is for atomic files under "
                "--data-path"
            )
        built = build(spec.source, options, spec.supply)
        as_built = {"split": options.get("split")}  # its filters have run
        try:
            rows, items = _read(built.folder, spec.name, as_built)
        except HarnessError as error:
            say(f"set aside as {set_aside(built.folder).name}, and built again: {error}")
            built = build(spec.source, options, spec.supply)
            rows, items = _read(built.folder, spec.name, as_built)
        _say_zeros(spec.name, rows, options)
        if options.get("keep_label"):
            rows = rows.assign(label=rows["rating"])  # which is what these files rate by
        # One-pass counts must not run twice.
        kept = {key: options.get(key) for key in ("keep_label", "duplicates")}
        data = canonical(spec.name, rows, items, kept)
        return dataclasses.replace(data, dropped=built.manifest["dropped"])
    assert spec.folder is not None
    rows, items = _read(spec.folder, spec.name, options)
    _say_zeros(spec.name, rows, options)
    return canonical(spec.name, rows, items, options)


def _say_zeros(name: str, rows: pd.DataFrame, options: Mapping[str, Any]) -> None:
    found = zeros_as_positives(name, rows, options)
    if found is not None:
        say(found)


def unread(spec: DatasetSpec, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(column, what it holds) of each column of numbers that holds anything else, in the files that `load_dataset` reads.

    Such a column is in nobody's way until something reads it.
    """
    if spec.folder is None:
        return []  # made here
    paths = [path for _, path in _interaction_files(spec.folder, spec.name, options)]
    items = find_atomic(spec.folder, f"{spec.name}.item")
    time = _names(options)["timestamp"]
    return [
        (
            f"{of.column}:{of.type}",
            f"not read: {of.count:,} values of {path.name} are no numbers, first '{of.first[:40]}' in line {of.line}",
        )
        for path in [*paths, *([items] if items else [])]
        for of in misfits(path)
        if path == items or of.column != time
    ]


def _read(
    folder: Path, name: str, options: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """(interactions, items) of a folder of atomic files, by the names that `canonical` knows."""
    path = find_atomic(folder, f"{name}.item")
    return _rows(folder, name, options), _items(path, options) if path is not None else None


def _items(path: Path, options: Mapping[str, Any]) -> pd.DataFrame:
    """Its ids and its columns of text; an id by the interactions' name or by our own."""
    types = columns_of(path)
    own = _names(options)["item_id"]
    own = own if own in types else "item_id"
    kinds: dict[str, Kind] = {own: "id"}
    kinds |= {c: "text" for c, kind in types.items() if kind != "float" and c != own}
    return _renamed(read_atomic(path, kinds), {own: "item_id"})


def _renamed(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    frame.columns = frame.columns.map(
        lambda name: names.get(name, name)
    )  # pandas' own `rename` copies
    return frame


def _names(options: Mapping[str, Any]) -> dict[str, str]:
    """Our name of a column -> the files' name.

    Raises:
        HarnessError: `columns` is no mapping of such names.
    """
    given = options.get("columns") or {}
    example = "e.g. --columns='{user_id: uid, item_id: sku, timestamp: ts}'"
    if not isinstance(given, Mapping):
        raise HarnessError(f"columns={given} must say which column is which, {example}")
    for ours, theirs in given.items():
        if ours not in _OURS:
            also = "; ratings are named by --rating_field" if ours == "rating" else ""
            raise HarnessError(
                f"columns: '{ours}' is none of {', '.join(_OURS)}{nearest(str(ours), _OURS)}, {example}{also}"
            )
        if not isinstance(theirs, str):
            raise HarnessError(f"columns: {ours}: {theirs} must be the name of a column, {example}")
    names = {ours: str(given.get(ours, ours)) for ours in _OURS}
    if len(set(names.values())) < len(names):
        raise HarnessError(f"columns={dict(given)} names one column for two, {example}")
    return names


def _interaction_files(
    folder: Path, name: str, options: Mapping[str, Any]
) -> list[tuple[int | None, Path]]:
    """(Number of the part, its file), or the one file with None; the parts make up the whole where there is none."""
    whole = find_atomic(folder, f"{name}.inter")
    if whole is not None and options.get("split") != "files":
        return [(None, whole)]
    found: list[tuple[int | None, Path]] = []
    for number, part in enumerate(PARTS):
        path = find_atomic(folder, f"{name}.{part}.inter")
        if path is not None:
            found.append((number, path))
        elif part != "valid":
            raise HarnessError(f"{folder}: no {name}.{part}.inter or {name}.{part}.inter.gz")
    return found


def _rows(folder: Path, name: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """The interactions, with column `part` when the source's own split is asked for."""
    import pandas as pd

    files = _interaction_files(folder, name, options)
    parts = [_interactions(path, options) for _, path in files]
    if files[0][0] is None:
        return parts[0]
    for (_, path), rows in zip(files, parts, strict=True):
        if rows.empty and ".valid." not in path.name:
            raise HarnessError(f"{path}: holds no interactions")
        if ("timestamp" in rows) != ("timestamp" in parts[0]):
            without, other = (files[0][1], path) if "timestamp" in rows else (path, files[0][1])
            raise HarnessError(
                f"{without}: no column '{_names(options)['timestamp']}', but {other.name} has one; give it to all parts or "
                "to none"
            )
    shared = [c for c in parts[0] if all(c in rows for rows in parts)]
    joined = {c: _joined([rows[c] for rows in parts]) for c in shared}
    rows = pd.DataFrame(joined, copy=False)
    if options.get("split") != "files":
        return rows
    numbers_of_parts = np.array([number for number, _ in files], dtype=np.int8)
    rows = rows.assign(part=np.repeat(numbers_of_parts, [len(part) for part in parts]))
    small = find_atomic(folder, f"{name}.{SMALL}.inter")
    if small is None or not options.get("keep_label"):
        return rows
    return rows.assign(valid_small=_within(rows, _interactions(small, options), small))


def _within(rows: pd.DataFrame, small: pd.DataFrame, path: Path) -> npt.NDArray[np.bool_]:
    """[rows] whether a row of the validation part is one of `small` too.

    Raises:
        HarnessError: some of those are no rows of the validation part.
    """
    told = [c for c in (*_OURS, "label") if c in small and c in rows]
    found = set(small[told].astype(object).itertuples(index=False, name=None))
    valid = (rows["part"] == PARTS.index("valid")).to_numpy()
    inside = np.zeros(len(rows), dtype=np.bool_)
    named = rows.loc[valid, told].astype(object).itertuples(index=False, name=None)
    inside[valid] = [row in found for row in named]
    if len(found) > inside.sum():
        raise HarnessError(
            f"{path}: {len(found) - inside.sum():,} of its rows are not in the validation part; remove the file, or make it "
            "from that part"
        )
    return inside


def _joined(columns: list[pd.Series]) -> Any:
    """One column after the other; categories are those of all."""
    if columns[0].name not in _OURS[:2]:
        return np.concatenate([column.to_numpy() for column in columns])
    numbering = Numbering()
    codes = [
        np.array(numbering.of(column.cat.categories), dtype=np.int32)[column.cat.codes]
        for column in columns
    ]
    return numbering.categorical(np.concatenate(codes))


def _interactions(path: Path, options: Mapping[str, Any]) -> pd.DataFrame:
    """Ids, times, and the ratings that a filter reads or may speak of."""
    names, types = _names(options), columns_of(path)
    for ours in options.get("columns") or ():
        if names[ours] not in types:
            raise HarnessError(
                f"{path}: no column '{names[ours]}', which --columns names for {ours} (columns: {', '.join(types)})"
                f"{nearest(names[ours], types)}"
            )
    kinds: dict[str, Kind] = {names["user_id"]: "id", names["item_id"]: "id"}
    spoken_of = ("rating", "label", options.get("rating_field") or "rating")
    kinds |= {name: "number if it is" for name in spoken_of if name not in kinds}
    if options.get("keep_label") and "label" not in types:
        raise HarnessError(
            f"{path}: keep_label needs a column 'label' of numbers (columns: {', '.join(types)}){nearest('label', types)}; "
            "set keep_label=false"
        )
    if options.get("keep_label") or options.get("min_label") is not None:
        kinds["label"] = "number"
    if options.get("min_rating") is not None:
        rating = options.get("rating_field") or "rating"
        if rating not in types or rating in (names["user_id"], names["item_id"]):
            raise HarnessError(
                f"{path}: min_rating needs a column '{rating}' of numbers (columns: {', '.join(types)})"
                f"{nearest(rating, types)}; set min_rating=null, or rating_field to the column that holds ratings"
            )
        kinds[rating] = "number"
    kinds[names["timestamp"]] = "time"
    history = options.get("history_field")
    if history:
        history = str(history)  # typed as a number, say
        if history not in types or history in kinds:
            raise HarnessError(
                f"{path}: history_field needs a column '{history}' of item tokens (columns: {', '.join(types)})"
                f"{nearest(history, [one for one in types if one not in kinds])}; set history_field=null"
            )
        kinds[history] = "text"
    rows = _renamed(read_atomic(path, kinds), {theirs: ours for ours, theirs in names.items()})
    return rows.assign(liked_before=_lengths(rows.pop(history))) if history else rows


def _lengths(lists: pd.Series) -> npt.NDArray[np.int64]:
    """[rows] how many items each list names; a 0 in front of the others is padding."""
    named = [row.split() for row in lists]
    return np.array([len(row) - (row[:1] == ["0"]) for row in named], dtype=np.int64)
