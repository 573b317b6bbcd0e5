"""Sizes of datasets beside those that their papers or pages print."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from recbole_ext.core.yaml_files import properties, read_yaml
from recbole_ext.leaderboard.groups import Group

_SIZES = ("users", "items", "interactions")


def sizes_of(group: Group) -> tuple[int, ...]:
    """Users, items and interactions after filters."""
    return tuple(int(group.reference.first.data[key]) for key in _SIZES)


@cache
def published_sizes(dataset: str) -> tuple[int, ...] | None:
    """What is printed of a dataset of the catalogue; None of another, or where nothing or not all of it is."""
    if dataset not in {path.stem for path in (properties() / "dataset").glob("*.yaml")}:
        return None
    printed = (read_yaml(properties() / "dataset" / f"{dataset}.yaml") or {}).get("published") or {}
    found = [printed[key] for key in _SIZES if isinstance(printed.get(key), int)]
    return tuple(found) if len(found) == len(_SIZES) else None


def sizes_met(groups: Iterable[Group]) -> bool:
    """Whether any of a dataset's groups has exactly the sizes that are printed."""
    return any(sizes_of(group) == published_sizes(group.dataset) for group in groups)
