"""Item text by the template of the L3AE paper (Sec. 3).

``Title: <title>; Category: <category>; Brand: <brand>; Description: <description>``. The paper does
not say what becomes of an item that lacks a field; here a missing or blank field is left out, label
included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from recbole_ext.core.errors import HarnessError, nearest

FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Title": ("title", "movie_title", "name"),
        "Category": ("categories", "category", "genre", "genres", "class"),
        "Brand": ("brand", "store"),
        "Description": ("description", "overview"),
    }
)
"""Label, in the template's order -> its columns in public datasets; the first that exists wins."""


def choose_fields(
    columns: Sequence[str], wanted: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Decide which column fills which field of the template.

    Args:
        columns: Names of the item columns that exist.
        wanted: Label -> column as a dataset file or the user gives it; labels in any case, columns
            exact. Fields that it does not name are left out. None or empty: look for the columns of
            `FIELDS`, in any case.

    Returns:
        Label -> column, in the order of `FIELDS`, at least one.

    Raises:
        HarnessError: an unknown label, a named column that does not exist, or no text column at
            all.
    """
    wanted = _mapping(wanted)
    chosen = _named(columns, wanted) if wanted else _found(columns)
    if not chosen:
        known = ", ".join(name for names in FIELDS.values() for name in names)
        raise HarnessError(
            f"no item column holds text: the columns are {_listed(columns)}, none of {known}; "
            "name the text columns of the dataset, e.g. Title: <column>"
        )
    return {label: chosen[label] for label in FIELDS if label in chosen}


def choose_title(columns: Sequence[str], wanted: Mapping[str, str] | None = None) -> dict[str, str]:
    """`choose_fields` of the title alone: named in `wanted`, or found by the usual names where that names other fields only.

    Raises:
        HarnessError: no column holds titles, or a named one does not exist.
    """
    named = {label: c for label, c in _mapping(wanted).items() if str(label).lower() == "title"}
    chosen = _named(columns, named) if named else _found(columns)
    if "Title" not in chosen:
        raise HarnessError(
            f"no item column holds titles: the columns are {_listed(columns)}, none of {', '.join(FIELDS['Title'])}; "
            "name it, e.g. --text_fields='{Title: my_column}'"
        )
    return {"Title": chosen["Title"]}


def _mapping(wanted: Any) -> Mapping[str, str]:
    """What is wanted, as it was typed: `--text_fields=title` is a word.

    Raises:
        HarnessError: it does not say which column is which field.
    """
    if not isinstance(wanted or {}, Mapping):
        raise HarnessError(
            f"text_fields={wanted} must say which column is which field, e.g. --text_fields='{{Title: my_column}}'"
        )
    return wanted or {}


def _named(columns: Sequence[str], wanted: Mapping[str, str]) -> dict[str, str]:
    by_lower = {label.lower(): label for label in FIELDS}
    chosen: dict[str, str] = {}
    for label, column in wanted.items():
        if str(label).lower() not in by_lower:
            raise HarnessError(
                f"text field {label!r} is not in the template{nearest(str(label), FIELDS)}; "
                f"the fields are {', '.join(FIELDS)}"
            )
        if column not in columns:
            raise HarnessError(
                f"text field {label} names the item column {column!r}, which does not exist"
                f"{nearest(str(column), columns)}; the columns are {_listed(columns)}"
            )
        chosen[by_lower[str(label).lower()]] = column
    return chosen


def _found(columns: Sequence[str]) -> dict[str, str]:
    by_lower: dict[str, str] = {}
    for column in columns:
        by_lower.setdefault(column.lower(), column)
    hits = {
        label: [by_lower[name] for name in names if name in by_lower]
        for label, names in FIELDS.items()
    }
    return {label: found[0] for label, found in hits.items() if found}


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns) or "(none)"


def item_texts(columns: Mapping[str, Sequence[object]], fields: Mapping[str, str]) -> list[str]:
    """Fill the template for every item.

    Args:
        columns: Column -> one value per item, all of one length. None and NaN count as missing.
        fields: Label -> column, as `choose_fields` gives it; the text keeps the order of `FIELDS`.

    Returns:
        One text per item with whitespace collapsed, "" for an item of which nothing is known.
    """
    labels = [label for label in FIELDS if label in fields]
    texts = []
    for values in zip(*(columns[fields[label]] for label in labels), strict=True):
        parts = zip(labels, map(_clean, values), strict=True)
        texts.append("; ".join(f"{label}: {value}" for label, value in parts if value))
    return texts


def item_titles(columns: Mapping[str, Sequence[object]], fields: Mapping[str, str]) -> list[str]:
    """The title of every item as it stands, whitespace collapsed, "" where there is none; `fields` as of `choose_title`."""
    return [_clean(value) for value in columns[fields["Title"]]]


def _clean(value: object) -> str:
    # NaN is the one value that differs from itself; data frames use it for a missing text.
    return "" if value is None or value != value else " ".join(str(value).split())


def texts_fingerprint(texts: Iterable[str]) -> str:
    """sha256 (hex) of the texts, each with its length, so that moving a boundary changes it."""
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()
