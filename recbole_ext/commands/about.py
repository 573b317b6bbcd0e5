"""`list` and `doctor`: what there is here, and whether it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_ext.arguments import Arguments, as_path


def list_names(arguments: Arguments) -> int:
    """Models, datasets and protocols, or the keys of one model."""
    from recbole_ext.config import model_defaults, shared_keys
    from recbole_ext.core.recbole_package import recbole_models
    from recbole_ext.data.catalog import dataset_names
    from recbole_ext.data.source import described_names
    from recbole_ext.evaluator.protocols import KINDS
    from recbole_ext.registry.find import find_model, plugged_in
    from recbole_ext.registry.rows import MODELS

    data_path = as_path(arguments.take("data-path"))
    arguments.finish(words=1)
    if arguments.words:
        spec = find_model(arguments.words[0])
        defaults = model_defaults(spec)
        if spec.paper:
            print(f"{spec.name}: {spec.paper.title} ({spec.paper.venue}) {spec.paper.link}")
        for offer in spec.offers:
            print(f"  offers {offer.name}: {offer.what}")
        for key, value in defaults.params.items():
            print(_key(key, value, defaults.rules))
        for number, stage in enumerate(defaults.space, 1):
            print(
                f"  --tune, stage {number}: "
                + "; ".join(f"{key} in {values}" for key, values in stage.items())
            )
        for section, keys in shared_keys().items():
            print(f"of every model, {section}:")
            for key, value in keys.items():
                print(_key(key, value, defaults.rules))
        return 0
    print("models")
    width = max(map(len, (*MODELS, *plugged_in())))
    for spec in MODELS.values():
        print(f"  {spec.name:<{width}} {spec.paper.title if spec.paper else ''}".rstrip())
    for name, entry in plugged_in().items():
        print(f"  {name:<{width}} of package {entry.dist.name if entry.dist else entry.module}")
    theirs = recbole_models()
    for kind in ("general", "sequential"):
        names = [name for name, of in theirs.items() if of == kind]
        print(f"  RecBole, {kind}: {' '.join(names)}")
    print("datasets\n  " + " ".join(dataset_names(data_path)))
    for family in described_names()[1]:
        print(f"  {family}, for the categories in its YAML")
    print(f"protocols\n  {' '.join(KINDS.values())} (e.g. uni19 pop100 expected@100)")
    print("keys of a model: python run_bench.py list MODEL")
    return 0


def _key(key: str, value: Any, rules: Mapping[str, object]) -> str:
    """A key as it is typed, and what it may be."""
    plain = isinstance(value, list) and not any(isinstance(one, list | dict) for one in value)
    typed = ",".join(map(str, value)) if plain and value else value
    return f"  --{key}={typed}" + (f"  ({rules[key]})" if key in rules else "")


def doctor(arguments: Arguments) -> int:
    """What is installed; 1 where something that is needed is not."""
    from recbole_ext.pipeline.doctor import examine

    arguments.finish()
    lines, sound = examine()
    print("\n".join(lines))
    return 0 if sound else 1
