"""Keys, defaults and values: every key that a run knows stands in a YAML file, and any other key is an error."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recbole_ext.errors import HarnessError, nearest
from recbole_ext.recbole_compat import recbole_root
from recbole_ext.registry import ModelSpec
from recbole_ext.yamlfiles import from_yaml, properties, read_yaml

_LEAST = {
    **dict.fromkeys(("draws", "epochs", "eval_step", "train_batch_size"), 1),
    **dict.fromkeys(("embedding_size", "hidden_size", "num_neg", "n_experts"), 1),
    **dict.fromkeys(("threads", "stopping_step", "min_user", "min_item", "n_layers"), 0),
}
"""Key -> its least value, in whichever section or model it stands."""
_POSITIVE = ("learning_rate", "tau")


@dataclass(frozen=True)
class ModelDefaults:
    """What a model knows: its parameters with their defaults, and the search space of `--tune`."""

    params: dict[str, Any]
    space: list[dict[str, list[Any]]]


def model_defaults(spec: ModelSpec) -> ModelDefaults:
    """Defaults of a model from our YAML and, for RecBole's, from RecBole's."""
    overall = read_yaml(properties() / "overall.yaml")
    params: dict[str, Any] = {}
    plain = spec.name.removesuffix("@recbole")
    if spec.trainer == "recbole":
        params.update(overall["training"])
        theirs = recbole_root() / "properties" / "model" / f"{plain}.yaml"
        if spec.target.startswith("recbole:") and theirs.stat().st_size:
            params.update(read_yaml(theirs))
    if "item_text" in spec.inputs:
        params.update(overall["text"])
    space: list[dict[str, list[Any]]] = []
    ours = properties() / "model" / f"{plain}.yaml"
    if ours.is_file() and (spec.trainer != "recbole" or spec.name == plain):
        found = read_yaml(ours)
        params.update(found.get("params") or {})
        space = found.get("space") or []
    return ModelDefaults(params, space)


def parse_value(key: str, text: str, default: Any) -> Any:
    """Read the text of `--key=value` as the type of the key's default; a list also as a,b,c.

    Raises:
        HarnessError: another type; the line gives the default as an example.
    """
    if text.lower() in ("null", "none", "~"):
        return None
    if isinstance(default, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise HarnessError(f"--{key}={text}: must be true or false")
    if isinstance(default, str):
        return text
    if isinstance(default, list) and not text.startswith("["):
        element = default[0] if default else None
        return [parse_value(key, part, element) for part in text.split(",") if part]
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
        kind = {"int": "a whole number", "float": "a number"}.get(
            type(default).__name__, type(default).__name__
        )
        raise HarnessError(f"--{key}={text}: must be {kind} (default {default})")
    return value


def _in_range(key: str, value: Any) -> Any:
    """The value of a key.

    Raises:
        HarnessError: a number that the key cannot have.
    """
    if isinstance(value, int | float):
        if value < _LEAST.get(key, value):
            raise HarnessError(f"--{key}={value}: must be a whole number from {_LEAST[key]}")
        if key in _POSITIVE and not value > 0:
            raise HarnessError(f"--{key}={value}: must be a number above 0")
    return value


@dataclass(frozen=True)
class Settings:
    """All values of one model on one dataset, by section."""

    run: dict[str, Any]
    evaluation: dict[str, Any]
    dataset: dict[str, Any]
    params: dict[str, Any]
    space: list[dict[str, list[Any]]]


def dataset_settings(
    dataset_options: Mapping[str, Any], given: Mapping[str, str]
) -> dict[str, Any]:
    """The dataset section with what a dataset's YAML and `--key=value` set over its defaults."""
    section = dict(read_yaml(properties() / "overall.yaml")["dataset"])
    _update_known(section, dataset_options)
    for key, text in given.items():
        if key not in section:
            raise HarnessError(f"--{key} is not a key of a dataset{nearest(key, section)}")
        section[key] = _in_range(key, parse_value(key, text, section[key]))
    return section


def _update_known(section: dict[str, Any], options: Mapping[str, Any]) -> None:
    for key in options:
        if key not in section:
            raise HarnessError(f"dataset option '{key}' is unknown{nearest(key, section)}")
    section.update(options)


def resolve(
    specs: list[ModelSpec], dataset_options: Mapping[str, Any], given: Mapping[str, str]
) -> list[Settings]:
    """Apply `--key=value` to the models of a command.

    Args:
        specs: the models.
        dataset_options: what the dataset's YAML sets, over the defaults.
        given: key -> text. `MODEL.key` reaches one model only; a plain key must be known to a shared section or to at
            least one of the models, and reaches those that know it.

    Raises:
        HarnessError: an unknown key (with the nearest ones), or a value of the wrong type.
    """
    overall = read_yaml(properties() / "overall.yaml")
    shared = {name: dict(overall[name]) for name in ("run", "evaluation", "dataset")}
    _update_known(shared["dataset"], dataset_options)
    models = {spec.name: model_defaults(spec) for spec in specs}
    for key, text in given.items():
        owner, _, rest = key.rpartition(".")
        homes = [section for section in shared.values() if key in section]
        if owner in models and rest in models[owner].params:
            homes, key = [models[owner].params], rest
        homes = homes or [m.params for m in models.values() if key in m.params]
        if not homes:
            known = {k for section in shared.values() for k in section} | {
                k for m in models.values() for k in m.params
            }
            raise HarnessError(
                f"--{key} is not a key of {', '.join(models)} or of the harness"
                f"{nearest(key, known) or '; see: python run_bench.py list MODEL'}"
            )
        for home in homes:
            home[key] = _in_range(key, parse_value(key, text, home[key]))
    return [
        Settings(
            run=dict(shared["run"]),
            evaluation=dict(shared["evaluation"]),
            dataset=dict(shared["dataset"]),
            params=models[spec.name].params,
            space=models[spec.name].space,
        )
        for spec in specs
    ]
