"""From a name to the row of a model: ours, another package's or RecBole's own; and which of them offer something."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata

from recbole_ext.core.errors import HarnessError, either, nearest, one_of
from recbole_ext.core.recbole_package import LACKING, recbole_models, scores_from_history
from recbole_ext.evaluator.protocols import SCORINGS
from recbole_ext.registry import EPOCHS, UNSEEN_USERS, Capability, ModelSpec
from recbole_ext.registry.rows import MODELS

_REVISIONS = {"LightGCN": 2, "DiffRec": 2, "LDiffRec": 2, "sequential": 2}
"""Of RecBole's models, by name or kind; the others have 1."""


PLUGINS = "recbole_ext.models"
"""Group of the entry points by which other packages bring models: NAME = "package.module:SPEC", a `ModelSpec`."""


@functools.cache
def plugged_in() -> dict[str, importlib.metadata.EntryPoint]:
    """Models of other installed packages by name; none of them is imported."""
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=PLUGINS)}


def _from_plugin(name: str) -> ModelSpec:
    """The row that another package brings.

    Raises:
        HarnessError: the package is broken, or what it brings is no row of that name.
    """
    entry = plugged_in()[name]
    package = entry.dist.name if entry.dist else entry.module
    try:
        spec = entry.load()
    except (
        Exception
    ) as error:  # another's code: whatever it raises is its own, and is said in a line
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise HarnessError(f"model '{name}' of package {package} cannot be loaded: {why}") from None
    if not isinstance(spec, ModelSpec) or spec.name != name:
        raise HarnessError(
            f"package {package}: its entry point '{name}' is no ModelSpec of that name ({entry.value})"
        )
    one_of(f"package {package}: scoring of '{name}'", spec.scoring, SCORINGS)
    return spec


def require(spec: ModelSpec, capability: Capability, why: str = "") -> None:
    """Refuse a model that does not offer something.

    Raises:
        HarnessError: the line, which begins with `why`, names the models that do.
    """
    if capability not in spec.offers:
        raise HarnessError(
            f"{why}{spec.name} {capability.lacks}; take {either(offering(capability))}"
        )


def offering(capability: Capability) -> list[str]:
    """Models that offer something, those of other packages last; one of a broken package is left to who names it."""
    names = [spec.name for spec in MODELS.values() if capability in spec.offers]
    for name in plugged_in():
        with contextlib.suppress(HarnessError):
            names += [name] if capability in _from_plugin(name).offers else []
    return names


def other_system(name: str) -> ModelSpec:
    """The row of a system that is known by a run file only.

    Raises:
        HarnessError: the name belongs to a model here.
    """
    if name in {*MODELS, *plugged_in()} or name.removesuffix("@recbole") in recbole_models():
        raise HarnessError(
            f"--model={name} is a model here; give the run file's system another name"
        )
    return ModelSpec(name=name, target="", trainer=None)


def find_model(name: str) -> ModelSpec:
    """The row for a name; `NAME@recbole` is RecBole's model even where we have our own.

    Raises:
        HarnessError: no such model; the line gives the nearest names.
    """
    if name in MODELS:
        return MODELS[name]
    if name in plugged_in():
        return _from_plugin(name)
    theirs = recbole_models()
    plain = name.removesuffix("@recbole")
    if plain in theirs and (plain == name or name.endswith("@recbole")):
        return ModelSpec(
            name=name,
            target=f"recbole:{plain}",
            trainer=EPOCHS,
            offers=(UNSEEN_USERS,) * scores_from_history(plain),
            revision=_REVISIONS.get(plain) or _REVISIONS.get(theirs[plain], 1),
        )
    if plain in LACKING:
        raise HarnessError(f"model '{name}' of RecBole needs {LACKING[plain]}: not supported here")
    raise HarnessError(
        f"model '{name}' is unknown{nearest(name, [*MODELS, *plugged_in(), *theirs]) or '; see: python run_bench.py list'}"
    )
