"""What is asked for: one model's experiment on a problem.

`Experiment` is everything that determines a run; with the fingerprints of what it reads it hashes to the run's id.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.config import Settings
from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import default_cache
from recbole_ext.core.progress import progress, say
from recbole_ext.core.recbole_package import recbole_models
from recbole_ext.data.problem import Problem
from recbole_ext.data.run_file import RunFile
from recbole_ext.data.splits import TEST
from recbole_ext.data.union import Union
from recbole_ext.data.user_profiles import UserProfiles, checked_path
from recbole_ext.evaluator import summary
from recbole_ext.evaluator.pointwise import LabelledPairs
from recbole_ext.evaluator.protocols import Protocol, protocol_of
from recbole_ext.evaluator.selection import Selection, selection
from recbole_ext.lm.backbone import backbone_fingerprint, chosen_dtype, find_backbone
from recbole_ext.lm.template import load_template
from recbole_ext.registry import ModelSpec
from recbole_ext.results import run_id
from recbole_ext.text import (
    Embeddings,
    VectorFile,
    embed,
    look_up,
    make_encoder,
    texts_fingerprint,
)
from recbole_ext.text.writer import make_writer
from recbole_ext.text.written import Profiles, item_prompt, user_prompt
from recbole_ext.tune.search import Space

_SPLIT_KEYS = ("split", "split_ratio", "split_seed")
_USERS_KEYS = ("split", "split_seed", "split_held_out", "fold")
_FILTER_KEYS = ("min_rating", "min_user", "min_item")
RARE_FILTERS = {
    "k_core": True,
    "rating_field": "rating",
    "min_label": None,
    "columns": None,
    "keep_label": False,
    "duplicates": "latest",
    "history_field": None,
}
"""Named in a record only where they differ from these."""
RARE_SPLIT = {"min_history": 0, "rows": None, "users": None}
"""The same of keys of the split."""


@dataclass(frozen=True)
class Experiment:
    """A model with its parameters on a problem."""

    model: ModelSpec
    settings: Settings
    problem: Problem
    space: Space | None = None
    """Searched on validation first, None for the parameters as they are."""
    run_file: RunFile | None = None
    """Scores of another system, in place of a model."""
    sources: Union | None = None
    """Where the model is trained, in place of the problem: nothing of it learns from the problem."""

    def describe(self) -> dict[str, Any]:
        """Canonical JSON form: what was asked for."""
        run, evaluation, dataset = (
            self.settings.run,
            self.settings.evaluation,
            self.settings.dataset,
        )
        found = {
            "model": self.model.name,
            "model_revision": self.model.revision,
            "evaluator_revision": summary.REVISION,
            "dataset": _described(self.problem.spec.name, dataset),
            "protocols": evaluation["protocols"],
            "draws": evaluation["draws"],
            "exclude": evaluation["exclude"],
            "ks": evaluation["ks"],
            "valid_metric": evaluation["valid_metric"],
            "seed": run["seed"],
            "threads": run["threads"],
            "device": run["device"],
            "params": self.settings.named_params,
            "tune": self.space.describe() if self.space else None,
        }
        if run["refit"]:
            found["refit"] = True
        if evaluation["valid_rows"] != "all":
            found["valid_rows"] = evaluation["valid_rows"]
        if self.model.scoring != "full":
            found["scoring"] = self.model.scoring
        if self.sources is not None:
            found["train_on"] = [
                {**_described(part.spec.name, part.options), "text_fields": part.texts[0]}
                for part in self.sources.parts
            ]
        return found

    @property
    def selection(self) -> Selection:
        """What validation reads."""
        evaluation = self.settings.evaluation
        found = selection(evaluation["valid_metric"], self.model.scoring, evaluation["protocols"])
        return dataclasses.replace(found, rows=evaluation["valid_rows"])

    @cached_property
    def unserved(self) -> dict[str, str]:
        """Protocol that was asked for -> why there is no number of this model under it."""
        found = {}
        for name in self.settings.evaluation["protocols"]:
            why = why_unserved(protocol_of(name), self.model, self.run_file)
            if why is None and protocol_of(name).labelled:
                pairs = self.problem.labelled(TEST)
                why = pairs if isinstance(pairs, str) else None
            if why is not None:
                found[name] = why
        return found

    @cached_property
    def test_labels(self) -> LabelledPairs | None:
        """Labelled pairs of the test part, None where they are not asked for or the model does not serve them."""
        if not any(protocol_of(name).labelled for name in self.served):
            return None
        pairs = self.problem.labelled(TEST)
        assert not isinstance(pairs, str)
        return pairs

    @property
    def served(self) -> list[str]:
        """The protocols under which there are numbers, in the order in which they were asked for."""
        return [p for p in self.settings.evaluation["protocols"] if p not in self.unserved]

    @cached_property
    def origin(self) -> Experiment:
        """The same experiment on what its model is trained on: itself, but for a model that moves from its sources."""
        if self.sources is None:
            return self
        return dataclasses.replace(self, problem=self.sources, sources=None)

    @cached_property
    def final(self) -> Experiment:
        """The same experiment on what the tested model is trained on: itself, but for one that is refitted."""
        if not self.settings.run["refit"]:
            return self
        return dataclasses.replace(
            self, problem=dataclasses.replace(self.problem, with_validation=True)
        )

    @cached_property
    def texts(self) -> tuple[dict[str, str], list[str]] | None:
        """(fields, [n] item texts), None for a model that reads none, or vectors from a file."""
        if "item_text" not in self.model.inputs or self.vector_file is not None:
            return None
        try:
            return self.problem.texts
        except HarnessError as error:
            raise HarnessError(f"{error}; {self.model.name} reads item text") from None

    @cached_property
    def titles(self) -> tuple[dict[str, str], list[str]] | None:
        """({"Title": column}, [n] item titles), None for a model that reads none."""
        if "item_titles" not in self.model.inputs:
            return None
        try:
            return self.problem.titles
        except HarnessError as error:
            raise HarnessError(f"{error}; {self.model.name} reads item titles") from None

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

    @cached_property
    def backbone(self) -> str | None:
        """What decides the numbers of the language model that the model asks, None for one that asks none; no weights are loaded."""
        if "language_model" not in self.model.inputs:
            return None
        params = self.settings.params
        found = find_backbone(
            params["backbone"], params["backbone_revision"], params["trust_remote_code"]
        )
        dtype = chosen_dtype(params["lm_dtype"], self.settings.run["device"])
        return backbone_fingerprint(found.identity(dtype))

    @property
    def vector_file(self) -> VectorFile | None:
        """Where the items' vectors are looked up by their tokens, in place of encoded text: data without text will do."""
        reads = "item_text" in self.model.inputs
        return self.encoder if reads and isinstance(self.encoder, VectorFile) else None

    @cached_property
    def profiles(self) -> UserProfiles | None:
        """The file of what is said of users, None where a model reads none or makes it of their items."""
        path = self.settings.params.get("user_profiles")
        return None if path is None else UserProfiles(Path(checked_path(path)))

    @cached_property
    def written(self) -> dict[str, Profiles]:
        """What a language model is asked to write (`writer`) of `items`, and of `users` where no file says it; empty without one.

        Raises:
            HarnessError: there is no such model, there are no titles, or vectors are looked up and no text is read.
        """
        name = self.settings.params.get("writer")
        if name is None:
            return {}
        if self.vector_file is not None:
            raise HarnessError(
                f"--writer={name}: what it writes has to be encoded, and --encoder={self.settings.params['encoder']} looks "
                "vectors up; leave one of the two out"
            )
        writer = make_writer(
            str(name), self.settings.run["device"], self.settings.params["trust_remote_code"]
        )
        items = [item_prompt(title) for title in self.problem.titles[1]]
        found = {"items": Profiles(writer, items, "items")}
        if self.profiles is None:
            users = [user_prompt(titles) for titles in self.problem.training_titles]
            found["users"] = Profiles(writer, users, "users")
        return found

    def answers(self, of: str) -> list[str]:
        """What is written of `users` or `items`, made now where it is not kept yet."""
        asked = self.written[of]
        count = len({prompt for prompt in asked.prompts if prompt})
        with progress(f"profiles of {count} {of} by {asked.writer.name}", count) as advance:
            return asked.written(default_cache(), _steps(advance))

    @cached_property
    def user_vectors(self) -> npt.NDArray[np.float32] | None:
        """[n_users, d] of `profiles`, or of what is written of users, encoded as items are."""
        if self.profiles is not None:
            return self.profiles.read(self.problem.data.user_tokens, self.problem.data.name)
        if "users" in self.written:
            return embed(self.answers("users"), self.encoder, default_cache()).vectors
        return None

    def own_prompts(self) -> dict[str, str]:
        """Key -> sha256 (hex) of what the prompt's file of one's own says that it names; bundled ones are known by their names.

        Raises:
            HarnessError: there is no such file, or it is no prompt.
        """
        if "language_model" not in self.model.inputs:
            return {}
        named = {k: str(v) for k, v in self.settings.params.items() if k.endswith("prompt")}
        return {
            key: hashlib.sha256(canonical_json(asdict(load_template(name))).encode()).hexdigest()
            for key, name in named.items()
            if name.endswith((".yaml", ".yml"))
        }

    def fingerprints(self) -> dict[str, str]:
        """Of everything that is read."""
        return {**self.fingerprints_of_stages(), **self.own_prompts()}

    def fingerprints_of_stages(self) -> dict[str, str]:
        """The same but for prompts, which the stages that ask them tell."""
        found = dict(self.problem.fingerprints)
        if self.texts is not None:
            found["text"] = texts_fingerprint(self.texts[1])
        if "item_text" in self.model.inputs:
            found["encoder"] = self.encoder.fingerprint
        if self.titles is not None:
            found["text" if self.texts is None else "titles"] = texts_fingerprint(self.titles[1])
        if self.backbone is not None:
            found["backbone"] = self.backbone
        if self.profiles is not None:
            found["user_profiles"] = self.profiles.fingerprint
        found |= {f"written_{of}": asked.fingerprint for of, asked in self.written.items()}
        if self.run_file is not None:
            found["run_file"] = self.run_file.fingerprint
        if self.sources is not None:
            read = self.origin.fingerprints()
            found |= {f"sources_{key}": read[key] for key in ("data", "split", "text")}
        return found

    @cached_property
    def run_id(self) -> str:
        return run_id(self.describe(), self.fingerprints())

    @property
    def search_id(self) -> str:
        """Identity of the trials of `space`: what a validation score depends on, and neither space nor test protocol."""
        assert self.space is not None
        asked = {**self.describe(), "seed": self.space.seed}
        for key in ("protocols", "draws", "exclude", "ks", "params", "tune", "refit"):
            asked.pop(key, None)
        if self.selection.protocol.drawn:
            asked["valid_protocol"] = self.selection.protocol.name
        return run_id({**asked, **self.space.kind}, self.fingerprints())

    def embeddings(self) -> Embeddings | None:
        if self.vector_file is not None:
            found, told = look_up(self.problem.data.item_tokens, self.vector_file)
            if told:
                say(told)
            return found
        if self.texts is None:
            return None
        texts = self.answers("items") if self.written else self.texts[1]
        with progress(
            f"encoding {len(texts)} item texts with {self.encoder.name}", len(texts)
        ) as advance:
            return embed(texts, self.encoder, default_cache(), _steps(advance))


def _steps(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Told how much is done, passes on how much more that is."""
    done = 0

    def to(count: int) -> None:
        nonlocal done
        advance(count - done)
        done = count

    return to


def why_unserved(protocol: Protocol, model: ModelSpec, run_file: RunFile | None) -> str | None:
    """Why a model has no number under a protocol, whatever the data; None where it may have one."""
    if protocol.by_recbole and run_file is not None:
        return "RecBole's evaluator scores a model, and a run file has none"
    kind = recbole_models().get(model.target.removeprefix("recbole:"))
    if protocol.by_recbole and (kind == "sequential" or model.ordered):
        return "RecBole's evaluator is there for general models only"
    return protocol.unserved(model.scoring)


def _described(name: str, dataset: Mapping[str, Any]) -> dict[str, Any]:
    rare = {key: dataset[key] for key, usual in RARE_FILTERS.items() if dataset[key] != usual}
    keys = (
        *(_USERS_KEYS if dataset["split"] == "users" else _SPLIT_KEYS),
        *(key for key, usual in RARE_SPLIT.items() if dataset[key] != usual),
    )
    return {
        "name": name,
        "filters": {**{key: dataset[key] for key in _FILTER_KEYS}, **rare},
        "split": {key: dataset[key] for key in keys},
    }
