"""What a row of the registry says of a model: its class, its trainer, what it reads and what it offers. Nothing is imported.

The rows are in `rows`, and `find` goes from a name to its row.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.evaluator.protocols import Scoring


@dataclass(frozen=True)
class Paper:
    """Where a model comes from."""

    title: str
    venue: str
    link: str


@dataclass(frozen=True)
class TrainerSpec:
    """How models come to their weights, and what a search may do with that."""

    name: str
    target: str
    """`module:Class` of a `trainer.base.Trainer`."""
    by_epoch: bool = False
    """RecBole's training keys are its models' own, and a search may end a training early."""
    families: bool = False
    """Points of a grid share a factorisation: they are tried together."""

    def load(self) -> Any:
        """The trainer."""
        return _loaded(self.target)()


CLOSED_FORM = TrainerSpec(
    "closed_form", "recbole_ext.trainer.closed_form:ClosedForm", families=True
)
"""For a model with `solve` and `families`."""
EPOCHS = TrainerSpec("epochs", "recbole_ext.trainer.epochs:Epochs", by_epoch=True)
"""For a model with RecBole's `calculate_loss`."""
STAGED = TrainerSpec("staged", "recbole_ext.trainer.staged:Staged")
"""For a model with `stages`."""


@dataclass(frozen=True)
class Capability:
    """What some models can do beside ranking; a row says so in `offers`, and nothing asks a model's class or name."""

    name: str
    what: str
    """Of it, for `list MODEL`."""
    lacks: str
    """What is said of a model without it."""


INTENTION = Capability(
    "intention", "a query in words moves its lists (show --query, --queries)", "takes no query"
)
"""For a model with `intending`; see `recbole_compat.intention`."""
CONCEPTS = Capability(
    "concepts",
    "neurons of its sparse autoencoder stand for concepts and steer its lists (show --concept, --neuron, --steering)",
    "has no sparse autoencoder, whose neurons could stand for a concept",
)
"""For a model that is `recbole_compat.knobs.HasKnobs`."""
LATENTS = Capability(
    "latents",
    "its items, users and candidates are labelled by the latents of a sparse autoencoder (show --user --labels, --latent)",
    "has no sparse autoencoder of item vectors, whose latents could label anything",
)
"""For a model that is `recbole_compat.latents.HasLatents`."""
PROMPTS = Capability(
    "prompts",
    "it asks a language model about each row; its prompts are shown with their slots (show --user)",
    "prompts no language model",
)
"""For a model that is `recbole_compat.prompting.Prompting`."""
TRANSFER = Capability(
    "transfer",
    "trained on some datasets, it ranks another one's items (--train)",
    "has parameters of users or items, which no other dataset has",
)
"""For a model without parameters that belong to a user or an item."""
UNSEEN_USERS = Capability(
    "unseen users",
    "it scores users that training has not seen, from what they have (--split=users)",
    "has parameters of users, and none of one that training has not seen",
)
"""For a model without parameters that belong to a user: it has `fold_in(dataset)`, after which its scores are made of the rows of
`dataset`, or it reads no rows."""


@dataclass(frozen=True)
class ModelSpec:
    """One row of the registry."""

    name: str
    """As printed and as typed."""
    target: str
    """`module:Class` of a RecBole subclass, or `recbole:Name`."""
    trainer: TrainerSpec | None
    """None where nothing is trained: another system's run file."""
    scoring: Scoring = "full"
    """What the model scores: `full` (every item), `candidates` (given lists: it has `score_candidates` or `choose_candidates`) or
    `pointwise` (pairs: RecBole's `predict`). Which protocols it serves follows from that."""
    inputs: tuple[str, ...] = ()
    """`item_text`: the model reads text embeddings; `item_titles`: titles as they stand; `language_model`: it loads a backbone."""
    offers: tuple[Capability, ...] = ()
    ordered: bool = False
    """It reads histories in order: a RecBole `SequentialRecommender`. Of RecBole's own this is known by their kind."""
    generative: bool = False
    """Its backbone answers in words: an encoder is refused."""
    revision: int = 1
    """Bumped when a change moves this model's results."""
    paper: Paper | None = None
    defaults: Path | None = None
    """YAML of its parameters, for a model of another package; None for `properties/model/NAME.yaml`."""

    def load(self) -> type | str:
        """The class; for RecBole's models the name, which RecBole resolves itself."""
        if self.target.startswith("recbole:"):
            return self.target.removeprefix("recbole:")
        return _loaded(self.target)  # type: ignore[no-any-return]


def _loaded(target: str) -> Any:
    """What `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
