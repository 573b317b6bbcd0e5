"""What the value of a key may be: its type, its choices and its bounds."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from recbole_ext.core.errors import HarnessError, either, one_of
from recbole_ext.core.yaml_files import from_yaml

_NULL = ("null", "none", "~")


@dataclass(frozen=True)
class Rule:
    """What stands of one key under `values:` in a YAML file."""

    choices: tuple[Any, ...] | None = None
    least: float | None = None
    above: float | None = None
    most: float | None = None
    why: str | None = None
    """Why nothing else can be chosen."""
    example: Mapping[str, Any] | None = None
    """A mapping that works: the value is one with these names; what others it may have, rules under `key.name` say."""

    @classmethod
    def of(cls, found: Mapping[str, Any], where: str) -> Rule:
        """`{choices: [..]}`, `{example: {..}}`, or bounds: any of `least`, `above` and `most`."""
        unknown = found.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise HarnessError(f"{where}: '{min(unknown)}' says nothing of a value")
        choices = found.get("choices")
        return cls(**{**found, "choices": None if choices is None else tuple(choices)})

    def __str__(self) -> str:
        """As `list MODEL` prints it and an error says it."""
        if self.choices is not None:
            return either(self.choices)
        if self.example is not None:
            return f"a mapping, e.g. {_typed(self.example)}"
        low = f"above {self.above}" if self.above is not None else ""
        low = f"from {self.least}" if self.least is not None else low
        return f"{low} to {self.most}" if self.most is not None else low

    def check(self, where: str, value: Any) -> None:
        """Refuse a value, or an element of a list, that the rule does not allow. None is not looked at.

        Raises:
            HarnessError: the line begins with `where`.
        """
        for each in value if isinstance(value, list) else [value]:
            if each is None:
                continue
            if self.choices is not None:
                try:
                    one_of(where, each, self.choices)
                except HarnessError as error:
                    raise HarnessError(f"{error}; {self.why}" if self.why else str(error)) from None
            elif not self._holds(each):
                kind = (
                    "whole number"
                    if isinstance(self.least, int) and isinstance(each, int)
                    else "number"
                )
                raise HarnessError(f"{where}={value}: must be a {kind} {self}")

    def _holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )


Rules = Mapping[str, Rule]


def check(rules: Rules, key: str, value: Any, where: str | None = None) -> Any:
    """The value, if it may be that of the key; what a mapping holds has rules under `key.name`.

    Args:
        rules: by key.
        key: of the value.
        value: of the type that the key has.
        where: what the line begins with; `--key` without.

    Raises:
        HarnessError: no number, or not among the choices or within the bounds of the key.
    """
    where = where or f"--{key}"
    if key in rules and rules[key].example is not None and value is not None:
        _check_mapping(rules, key, value, where)
    if isinstance(value, dict):
        for name, part in value.items():
            check(rules, f"{key}.{name}", part, f"{where}.{name}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise HarnessError(f"{where}={value}: must be a finite number")
    elif key in rules:
        rules[key].check(where, value)
    return value


def _check_mapping(rules: Rules, key: str, value: Any, where: str) -> None:
    """Refuse what lacks a name of the example, or has one that nothing is known of."""
    example = rules[key].example or {}
    if not isinstance(value, dict) or not example.keys() <= value.keys():
        shown = _typed(value) if isinstance(value, dict) else value
        raise HarnessError(
            f"{where}={shown}: must be a mapping with {', '.join(example)}, e.g. '{_typed(example)}'"
        )
    names = [one.removeprefix(f"{key}.") for one in rules if one.startswith(f"{key}.")]
    for name in value:
        one_of(f"{where}: name", name, names)


def _typed(mapping: Mapping[str, Any]) -> str:
    """As it is typed."""
    return f"{{{', '.join(f'{name}: {value}' for name, value in mapping.items())}}}"


def parse_value(key: str, text: str, default: Any, choices: Iterable[Any] | None = None) -> Any:
    """Read the text of `--key=value` as the type of the key's default; a list also as a,b,c.

    Args:
        key: its name.
        text: as typed.
        default: None takes any type, a mapping a mapping of some of its names.
        choices: of the key, where it has some: one of them may be spelled as nothing is.

    Raises:
        HarnessError: another type; the line gives the default as an example.
    """
    if text.lower() in _NULL and text not in (choices or ()):
        if default is None or isinstance(default, dict):
            return None
        raise HarnessError(f"--{key}={text}: must be {_kind(default)} (default {default})")
    if isinstance(default, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise HarnessError(f"--{key}={text}: must be true or false")
    if isinstance(default, str):
        return text
    if isinstance(default, list) and not text.startswith("["):
        element = default[0] if default else None
        try:
            return [parse_value(key, part, element) for part in text.split(",") if part]
        except HarnessError:
            example = ",".join(map(str, default))
            raise HarnessError(
                f"--{key}={text}: must be {_kind(element)}, or several with commas between (default {example})"
            ) from None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        plain = default is not None and not isinstance(default, dict)
        value = text if plain else from_yaml(text, f"--{key}={text}")
    if default is None:
        return value
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise HarnessError(f"--{key}={text}: must be {_kind(default)} (default {default})")
    if isinstance(value, dict):
        for name in value:
            one_of(f"--{key}: name", name, default)
    return value


def _kind(default: Any) -> str:
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word"}
    return names.get(type(default).__name__, f"a {type(default).__name__}")
