"""Keys, defaults and values: every key that a run knows stands in a YAML file, and any other key is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.recbole_package import recbole_root
from recbole_ext.core.values import Rule, Rules, check, parse_value
from recbole_ext.core.yaml_files import properties, read_yaml
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.registry import ModelSpec

_SHARED = ("run", "evaluation", "dataset")
"""Sections of overall.yaml whose keys are of every model."""


@dataclass(frozen=True)
class ModelDefaults:
    """What a model knows: its parameters with their defaults, and the search space of `--tune`."""

    params: dict[str, Any]
    space: list[dict[str, list[Any]]]
    rules: Rules
    """What the values of its keys, and of those of a run, may be."""
    since: dict[str, Any]
    """Keys that came after records had been made, with what a record without them means."""

    def settle(self, key: str) -> None:
        """Take a key out of the search, and a stage that has no other."""
        self.space[:] = [
            left for stage in self.space if (left := {k: v for k, v in stage.items() if k != key})
        ]


def model_defaults(spec: ModelSpec) -> ModelDefaults:
    """Defaults of a model from our YAML and, for RecBole's, from RecBole's.

    Raises:
        HarnessError: a default, or a value of the search space, is not what its key may be.
    """
    overall = read_yaml(properties() / "overall.yaml")
    rules = _rules(overall, "overall.yaml")
    params: dict[str, Any] = {}
    plain = spec.name.removesuffix("@recbole")
    if spec.trainer is not None and spec.trainer.by_epoch:
        params.update(overall["training"])
        theirs = recbole_root() / "properties" / "model" / f"{plain}.yaml"
        if spec.target.startswith("recbole:") and theirs.stat().st_size:
            params.update(read_yaml(theirs))
    if "item_text" in spec.inputs:
        params.update(overall["text"])
    if "language_model" in spec.inputs:
        params.update(overall["language_model"])
    space: list[dict[str, list[Any]]] = []
    since: dict[str, Any] = {}
    ours = spec.defaults or properties() / "model" / f"{spec.name}.yaml"
    if ours.is_file():
        found = read_yaml(ours)
        params.update(found.get("params") or {})
        space = list(found.get("space") or [])
        since = found.get("since") or {}
        rules |= _rules(found, ours.name)
    for key, value in params.items():
        check(rules, key, value, f"{ours.name}: {key}")
    for stage in space:
        for key, values in stage.items():
            for value in values:
                check(rules, key, value, f"{ours.name}: space: {key}")
    return ModelDefaults(params, space, rules, since)


def _rules(found: Mapping[str, Any], name: str) -> dict[str, Rule]:
    """What a YAML file says under `values:`."""
    values = found.get("values") or {}
    return {key: Rule.of(of, f"{name}: values: {key}") for key, of in values.items()}


@dataclass(frozen=True)
class Settings:
    """All values of one model on one dataset, by section."""

    run: dict[str, Any]
    evaluation: dict[str, Any]
    dataset: dict[str, Any]
    params: dict[str, Any]
    space: list[dict[str, list[Any]]]
    since: Mapping[str, Any] = field(default_factory=dict)
    """Of `ModelDefaults`."""

    @property
    def named_params(self) -> dict[str, Any]:
        """The parameters as a run's identity has them: a key that came later only where it is not what it was before."""
        return {
            key: value
            for key, value in self.params.items()
            if key not in self.since or value != self.since[key]
        }


def shared_keys() -> dict[str, dict[str, Any]]:
    """Section -> key -> default, of the keys that every model has."""
    overall = read_yaml(properties() / "overall.yaml")
    return {name: dict(overall[name]) for name in _SHARED}


def dataset_settings(
    dataset_options: Mapping[str, Any], given: Mapping[str, str]
) -> dict[str, Any]:
    """The dataset section with what a dataset's YAML and `--key=value` set over its defaults."""
    overall = read_yaml(properties() / "overall.yaml")
    section, rules = dict(overall["dataset"]), _rules(overall, "overall.yaml")
    _update_known(section, dataset_options, rules)
    for key, text in given.items():
        if key not in section:
            raise HarnessError(f"--{key} is not a key of a dataset{_hint(key, section)}")
        # Its own default says what it may be: one that a dataset has set can be put back to null.
        section[key] = _read(key, text, overall["dataset"][key], rules)
    return section


def _update_known(section: dict[str, Any], options: Mapping[str, Any], rules: Rules) -> None:
    for key, value in options.items():
        if key not in section:
            raise HarnessError(f"dataset option '{key}' is unknown{_hint(key, section)}")
        check(rules, key, value, f"dataset option '{key}'")
    section.update(options)


def _read(key: str, text: str, default: Any, rules: Rules) -> Any:
    """The value of `--key=text`, of the type of its default and within its rules."""
    rule = rules.get(key)
    return check(rules, key, parse_value(key, text, default, rule.choices if rule else None))


def _hint(key: str, known: Iterable[str]) -> str:
    """What was meant by a key that is not known: RecBole's own have a name or a reason here."""
    theirs = read_yaml(properties() / "recbole.yaml")
    return f": {theirs[key]}" if key in theirs else nearest(key, known)


def resolve(
    specs: list[ModelSpec],
    dataset_options: Mapping[str, Any],
    given: Mapping[str, str],
    labelled_options: Mapping[str, Any] | None = None,
) -> list[Settings]:
    """Apply `--key=value` to the models of a command.

    Args:
        specs: the models.
        dataset_options: what the dataset's YAML sets, over the defaults.
        labelled_options: what it sets instead where labelled pairs are told apart and nothing is ranked, or all models are of
            pairs; None for the same.
        given: key -> text. `MODEL.key` reaches one model only; a plain key must be known to a shared section or to at
            least one of the models, and reaches those that know it. A model's key that is given is not searched.

    Raises:
        HarnessError: an unknown key (with the nearest ones), or a value of the wrong type.
    """
    overall = read_yaml(properties() / "overall.yaml")
    shared = {name: dict(overall[name]) for name in _SHARED}
    rules = _rules(overall, "overall.yaml")
    of_pairs = all(spec.scoring == "pointwise" for spec in specs)
    if of_pairs:
        shared["evaluation"]["protocols"] = ["ctr"]  # frozen lists take long, pair by pair
    protocols = shared["evaluation"]["protocols"]
    if "protocols" in given:
        protocols = _read("protocols", given["protocols"], protocols, rules)
    labelled = of_pairs or all(protocol_of(name).labelled for name in protocols)
    if labelled_options is not None and labelled:
        dataset_options = labelled_options
    _update_known(shared["dataset"], dataset_options, rules)
    models = {spec.name: model_defaults(spec) for spec in specs}
    for key, text in given.items():
        owner, _, rest = key.rpartition(".")
        # What is set, the defaults that say of which type it is, and the rules.
        homes: list[tuple[dict[str, Any], Mapping[str, Any], Rules]] = [
            (section, overall[name], rules) for name, section in shared.items() if key in section
        ]
        reached = [m for m in models.values() if not homes and key in m.params]
        if owner in models and rest in models[owner].params:
            reached, key, homes = [models[owner]], rest, []
        homes = homes or [(m.params, dict(m.params), m.rules) for m in reached]
        if not homes:
            known = {k for section in shared.values() for k in section} | {
                k for m in models.values() for k in m.params
            }
            raise HarnessError(
                f"--{key} is not a key of {', '.join(models)} or of the harness"
                f"{_hint(rest, known) or '; see: python run_bench.py list MODEL'}"
            )
        for home, defaults, of_home in homes:
            home[key] = _read(key, text, defaults[key], of_home)
        for one in reached:
            one.settle(key)
    return [
        Settings(
            run=dict(shared["run"]),
            evaluation=dict(shared["evaluation"]),
            dataset=dict(shared["dataset"]),
            params=models[spec.name].params,
            space=models[spec.name].space,
            since=models[spec.name].since,
        )
        for spec in specs
    ]
