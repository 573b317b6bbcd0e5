"""What is asked for: the ground that models are compared on, and one model's experiment on it.

`Experiment` is everything that determines a run; with the fingerprints of what it reads it hashes to the run's id.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext import environment
from recbole_ext.config import Settings
from recbole_ext.data.catalog import DatasetSpec, load_dataset
from recbole_ext.data.interactions import Interactions
from recbole_ext.data.splits import TEST, TRAIN, VALID, Split, make_split
from recbole_ext.errors import HarnessError
from recbole_ext.evaluator import protocols
from recbole_ext.evaluator.candidates import lists_sha256
from recbole_ext.evaluator.ranks import Ints, RankTask, make_task
from recbole_ext.files import default_cache
from recbole_ext.progress import progress
from recbole_ext.registry import ModelSpec
from recbole_ext.results import run_id
from recbole_ext.run_file import RunFile
from recbole_ext.text import (
    Embeddings,
    choose_fields,
    embed,
    item_texts,
    make_encoder,
    texts_fingerprint,
)
from recbole_ext.tune.search import Space

_SPLIT_KEYS = ("split", "split_ratio", "split_seed")
_FILTER_KEYS = ("min_rating", "min_user", "min_item")
_RARE_FILTERS = {"k_core": True, "rating_field": "rating"}
"""Named in a record only where they differ from these."""


@dataclass(frozen=True)
class Ground:
    """Data, split and ranking tasks: the same for every model of a command, each part made when first needed."""

    spec: DatasetSpec
    options: dict[str, Any]
    evaluation: dict[str, Any]

    @cached_property
    def data(self) -> Interactions:
        return load_dataset(self.spec, self.options)

    @cached_property
    def split(self) -> Split:
        return make_split(self.data, self.options)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        return {"data": self.data.fingerprint, "split": self.split.fingerprint}

    @property
    def seen_at_test(self) -> tuple[int, ...]:
        """Parts that are no candidates at test."""
        excludes = {"train": (TRAIN,), "train+valid": (TRAIN, VALID)}
        if self.evaluation["exclude"] not in excludes:
            raise HarnessError(f"exclude={self.evaluation['exclude']} must be train or train+valid")
        return excludes[self.evaluation["exclude"]]

    @cached_property
    def valid_task(self) -> RankTask:
        return self._task(VALID, (TRAIN,))

    @cached_property
    def test_task(self) -> RankTask:
        exclude = self.evaluation["exclude"]
        return protocols.with_lists(
            self._task(TEST, self.seen_at_test),
            self.evaluation["protocols"],
            self.data.user_tokens,
            self.data.item_tokens,
            int(self.evaluation["draws"]),
            f"{self.data.fingerprint}|{exclude}",
            self.popularity,
        )

    @cached_property
    def popularity(self) -> Ints:
        """[n_items] training interactions of each item."""
        _, item = self.split.pairs(self.data, TRAIN)
        return np.bincount(item, minlength=len(self.data.item_tokens))

    @cached_property
    def activity(self) -> Ints:
        """[n_users] training interactions of each user."""
        user, _ = self.split.pairs(self.data, TRAIN)
        return np.bincount(user, minlength=len(self.data.user_tokens))

    @cached_property
    def texts(self) -> tuple[dict[str, str], list[str]]:
        """(fields, [n_items] texts).

        Raises:
            HarnessError: the dataset has no field with text.
        """
        columns = self.data.item_columns
        fields = choose_fields(list(columns), self.options["text_fields"])
        return fields, item_texts(columns, fields)

    @property
    def has_text(self) -> npt.NDArray[np.bool_] | None:
        """[n_items] whether an item has any text, None for a dataset without text."""
        try:
            return np.array([bool(text) for text in self.texts[1]])
        except HarnessError:
            return None

    @cached_property
    def candidates(self) -> dict[str, str]:
        return {name: lists_sha256(lists) for name, lists in self.test_task.lists.items()}

    def _task(self, part: int, excluded: tuple[int, ...]) -> RankTask:
        pairs = self.split.pairs
        return make_task(
            len(self.data.item_tokens), pairs(self.data, part), pairs(self.data, *excluded)
        )

    def sizes(self) -> dict[str, Any]:
        part = self.split.part
        return {
            "users": len(self.data.user_tokens),
            "items": len(self.data.item_tokens),
            "interactions": len(self.data),
            "train": int((part == TRAIN).sum()),
            "valid": int((part == VALID).sum()),
            "test": int((part == TEST).sum()),
            "test_users": len(self.test_task.users),
        }


@dataclass(frozen=True)
class Experiment:
    """A model with its parameters on a ground."""

    model: ModelSpec
    settings: Settings
    ground: Ground
    space: Space | None = None
    """Searched on validation first, None for the parameters as they are."""
    run_file: RunFile | None = None
    """Scores of another system, in place of a model."""

    def describe(self) -> dict[str, Any]:
        """Canonical JSON form: what was asked for."""
        run, evaluation, dataset = (
            self.settings.run,
            self.settings.evaluation,
            self.settings.dataset,
        )
        return {
            "model": self.model.name,
            "model_revision": self.model.revision,
            "evaluator_revision": protocols.REVISION,
            "dataset": {
                "name": self.ground.spec.name,
                "filters": {
                    **{key: dataset[key] for key in _FILTER_KEYS},
                    **{
                        key: dataset[key]
                        for key, usual in _RARE_FILTERS.items()
                        if dataset[key] != usual
                    },
                },
                "split": {key: dataset[key] for key in _SPLIT_KEYS},
            },
            "protocols": evaluation["protocols"],
            "draws": evaluation["draws"],
            "exclude": evaluation["exclude"],
            "ks": evaluation["ks"],
            "valid_metric": evaluation["valid_metric"],
            "seed": run["seed"],
            "threads": run["threads"],
            "device": run["device"],
            "params": self.settings.params,
            "tune": self.space.describe() if self.space else None,
        }

    @cached_property
    def texts(self) -> tuple[dict[str, str], list[str]] | None:
        """(fields, [n] item texts), None for a model that reads none."""
        if "item_text" not in self.model.inputs:
            return None
        try:
            return self.ground.texts
        except HarnessError as error:
            raise HarnessError(
                f"{self.ground.spec.name}: {error}; {self.model.name} reads item text"
            ) from None

    @cached_property
    def encoder(self) -> Any:
        params = self.settings.params
        return make_encoder(
            params["encoder"],
            revision=params["encoder_revision"],
            pooling=params["encoder_pooling"],
            device=self.settings.run["device"],
            trust_remote_code=params["trust_remote_code"],
        )

    def fingerprints(self) -> dict[str, str]:
        found = dict(self.ground.fingerprints)
        if self.texts is not None:
            found["text"] = texts_fingerprint(self.texts[1])
            found["encoder"] = self.encoder.fingerprint
        if self.run_file is not None:
            found["run_file"] = self.run_file.fingerprint
        return found

    @cached_property
    def run_id(self) -> str:
        return run_id(self.describe(), self.fingerprints())

    @property
    def search_id(self) -> str:
        """Identity of the trials of `space`: what a validation score depends on, and neither space nor test protocol."""
        assert self.space is not None
        asked = {**self.describe(), "seed": self.space.seed}
        for key in ("protocols", "draws", "exclude", "ks", "params", "tune"):
            del asked[key]
        return run_id({**asked, **self.space.kind}, self.fingerprints())

    def embeddings(self) -> Embeddings | None:
        if self.texts is None:
            return None
        texts = self.texts[1]
        with progress(
            f"encoding {len(texts)} item texts with {self.encoder.name}", len(texts)
        ) as advance:
            done = 0

            def to(count: int) -> None:
                nonlocal done
                advance(count - done)
                done = count

            return embed(texts, self.encoder, default_cache(), to)


def prepare(
    model: ModelSpec,
    settings: Settings,
    ground: Ground,
    space: Space | None = None,
    run_file: RunFile | None = None,
) -> Experiment:
    """Fix what `auto` means on this machine and check what can be checked before any work."""
    import torch

    run = dict(settings.run)
    run["threads"] = int(run["threads"]) or environment.usable_cpus()
    if run["device"] == "auto":
        run["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    if run["device"] == "cuda" and not torch.cuda.is_available():
        raise HarnessError("--device=cuda: torch sees no GPU here; use --device=cpu")
    if run["device"] not in ("cpu", "cuda"):
        raise HarnessError(f"--device={run['device']} must be auto, cpu or cuda")
    for protocol in settings.evaluation["protocols"]:
        protocols.negatives_of(protocol)
    protocols.check_metric(settings.evaluation["valid_metric"], ())
    theirs = [p for p in settings.evaluation["protocols"] if p.startswith("recbole-")]
    if theirs and run_file is not None:
        raise HarnessError(f"{theirs[0]} asks RecBole to score a model; a run file has none")
    if not settings.evaluation["ks"] or min(settings.evaluation["ks"]) < 1:
        raise HarnessError(f"ks={settings.evaluation['ks']} must be whole numbers from 1")
    return Experiment(model, dataclasses.replace(settings, run=run), ground, space, run_file)


def planned_bytes(experiment: Experiment, **given: Any) -> int:
    """Memory that an experiment's model plans for (with other parameters where `given`); 0 where it does not plan."""
    plan = getattr(experiment.model.load(), "planned_bytes", None)
    if plan is None:
        return 0
    data = experiment.ground.data
    params = {**experiment.settings.params, **given}
    return int(plan(len(data.user_tokens), len(data.item_tokens), params))


def check_memory(experiment: Experiment) -> None:
    """Refuse a model whose item-by-item matrices do not fit, before anything is started.

    Raises:
        HarnessError: the line says what is needed, what is free, and the largest catalogue that fits.
    """
    if experiment.run_file is not None:
        return
    needed = planned_bytes(experiment)
    free = environment.free_memory(experiment.settings.run["device"])
    if needed > free:
        data = experiment.ground.data
        sizes = len(data.user_tokens), len(data.item_tokens)
        fits = int(min(sizes) * (free / needed) ** 0.5)
        narrow = planned_bytes(experiment, precision="float32")
        hint = ", or --precision=float32" if narrow <= free else ""
        raise HarnessError(
            f"{experiment.model.name} on {experiment.ground.spec.name} ({sizes[0]:,} users, {sizes[1]:,} items) needs about "
            f"{needed / 2**30:.1f} GiB for a matrix of the smaller side, {free / 2**30:.1f} GiB are free; about {fits:,} "
            f"fit: raise --min_item or --min_user{hint}"
        )
