"""What a value from a file must look like, said as data, and what is wrong with one that does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Maybe:
    """Null, or of a shape."""

    shape: Any


def flaw(value: Any, shape: Any) -> str | None:
    """`metrics.full.ndcg@20: no low`: the first part of a value that is not of a shape; None where all of it is.

    Args:
        value: as JSON or YAML has it.
        shape: `str`, `int`, `bool`, `float` (any finite number), `Maybe`, `[shape]` for a list, or a mapping of keys. A key that
            ends in `?` may be missing, one that ends in `*` is every other that begins so; what no key names is anything.
    """
    found = _flaw(value, shape)
    return None if found is None else found.removeprefix(".").removeprefix(": ")


def _flaw(value: Any, shape: Any) -> str | None:
    if isinstance(shape, type):
        return None if _is(value, shape) else f": not {_KINDS[shape]}"
    if isinstance(shape, Maybe):
        return None if value is None else _flaw(value, shape.shape)
    parts: Iterable[tuple[object, Any, Any]]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return ": not a list"
        parts = ((number, each, shape[0]) for number, each in enumerate(value, 1))
    else:
        if not isinstance(value, dict):
            return ": not a mapping"
        for key in shape:
            if key not in value and key[-1] not in "?*":
                return f": no {key}"
        parts = ((key, each, _of(key, shape)) for key, each in value.items())
    for name, each, of in parts:
        # Names are put together on the way back, of which there is none in a sound record.
        found = None if of is None else _flaw(each, of)
        if found is not None:
            return f".{name}{found}"
    return None


def _of(key: object, shape: Mapping[str, Any]) -> Any:
    """The shape of a key's value, None where it may be anything."""
    for name in (str(key), f"{key}?"):
        if name in shape:
            return shape[name]
    for name, of in shape.items():
        if name[-1] == "*" and str(key).startswith(name[:-1]):
            return of
    return None


def _is(value: Any, kind: type) -> bool:
    if kind is float:  # NaN is below nothing
        return type(value) in (int, float) and abs(value) < 1e300
    return type(value) is kind
