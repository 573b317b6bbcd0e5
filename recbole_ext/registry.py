"""Which models there are: one explicit row for each of ours, and RecBole's own by their names. Nothing is imported."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from recbole_ext import recbole_compat
from recbole_ext.errors import HarnessError, nearest


@dataclass(frozen=True)
class Paper:
    """Where a model comes from."""

    title: str
    venue: str
    link: str


@dataclass(frozen=True)
class ModelSpec:
    """One row of the registry."""

    name: str
    """As printed and as typed."""
    target: str
    """`module:Class` of a RecBole subclass, or `recbole:Name`."""
    trainer: str
    """`closed_form` (the model has `solve` and `families`), `recbole` (RecBole's own trainer) or `run_file` (nothing is
    trained)."""
    scoring: str = "full"
    """What the model can score: `full` (every item)."""
    inputs: tuple[str, ...] = ()
    """`item_text`: the model reads text embeddings."""
    transfers: bool = False
    """No parameter belongs to a user or an item: trained on some datasets, it ranks another one's items."""
    revision: int = 1
    """Bumped when a change moves this model's results."""
    paper: Paper | None = None

    def load(self) -> type | str:
        """The class; for RecBole's models the name, which RecBole resolves itself."""
        module, _, attribute = self.target.partition(":")
        if module == "recbole":
            return attribute
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


_L3AE = Paper(
    "LLM-Enhanced Linear Autoencoders for Recommendation",
    "CIKM 2025",
    "https://github.com/jaewan7599/L3AE_CIKM2025",
)
_ALPHAREC = Paper(
    "Language Representations Can Be What Recommenders Need: Findings and Potentials",
    "ICLR 2025",
    "https://github.com/LehengTHU/AlphaRec",
)
_JEUNEN = Paper(
    "Closed-Form Models for Collaborative Filtering with Side-Information",
    "RecSys 2020",
    "https://doi.org/10.1145/3383313.3418480",
)

MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(name="Pop", target="recbole_ext.model.pop:Pop", trainer="closed_form"),
        ModelSpec(
            name="RandomPop",
            target="recbole_ext.model.pop:RandomPop",
            trainer="closed_form",
            paper=_ALPHAREC,
        ),
        ModelSpec(
            name="EASE",
            target="recbole_ext.model.ease:EASE",
            trainer="closed_form",
            paper=Paper(
                "Embarrassingly Shallow Autoencoders for Sparse Data",
                "WWW 2019",
                "https://arxiv.org/abs/1905.03375",
            ),
        ),
        ModelSpec(
            name="L3AE",
            target="recbole_ext.model.l3ae:L3AE",
            trainer="closed_form",
            inputs=("item_text",),
            paper=_L3AE,
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{target}",
                trainer="closed_form",
                inputs=("item_text",),
                paper=paper,
            )
            for name, target, paper in (
                ("CosineText", "semantic:CosineText", _L3AE),
                ("SemanticEASE", "semantic:SemanticEASE", _L3AE),
                ("CEASE", "cease:CEASE", _JEUNEN),
                ("AddEASE", "cease:AddEASE", _JEUNEN),
                ("LLMCEASE", "cease:CEASE", _L3AE),
                ("LLMAddEASE", "cease:AddEASE", _L3AE),
            )
        ),
        ModelSpec(
            name="AlphaRec",
            target="recbole_ext.model.alpharec:AlphaRec",
            trainer="recbole",
            inputs=("item_text",),
            transfers=True,
            paper=_ALPHAREC,
        ),
        ModelSpec(
            name="UniSRec",
            target="recbole_ext.model.unisrec:UniSRec",
            trainer="recbole",
            inputs=("item_text",),
            transfers=True,
            paper=Paper(
                "Towards Universal Sequence Representation Learning for Recommender Systems",
                "KDD 2022",
                "https://doi.org/10.1145/3534678.3539381",
            ),
        ),
        ModelSpec(
            name="SimGCL",
            target="recbole_ext.model.simgcl:SimGCL",
            trainer="recbole",
            paper=Paper(
                "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for Recommendation",
                "SIGIR 2022",
                "https://doi.org/10.1145/3477495.3531937",
            ),
        ),
        ModelSpec(
            name="XSimGCL",
            target="recbole_ext.model.simgcl:XSimGCL",
            trainer="recbole",
            paper=Paper(
                "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation",
                "TKDE 2023",
                "https://doi.org/10.1109/TKDE.2023.3288135",
            ),
        ),
    )
}


_REVISIONS = {"LightGCN": 2, "DiffRec": 2, "LDiffRec": 2, "sequential": 2}
"""Of RecBole's models, by name or kind; the others have 1."""


def other_system(name: str) -> ModelSpec:
    """The row of a system that is known by a run file only.

    Raises:
        HarnessError: the name belongs to a model here.
    """
    if name in MODELS or name.removesuffix("@recbole") in recbole_compat.recbole_models():
        raise HarnessError(
            f"--model={name} is a model here; give the run file's system another name"
        )
    return ModelSpec(name=name, target="", trainer="run_file")


def find_model(name: str) -> ModelSpec:
    """The row for a name; `NAME@recbole` is RecBole's model even where we have our own.

    Raises:
        HarnessError: no such model; the line gives the nearest names.
    """
    if name in MODELS:
        return MODELS[name]
    theirs = recbole_compat.recbole_models()
    plain = name.removesuffix("@recbole")
    if plain in theirs and (plain == name or name.endswith("@recbole")):
        return ModelSpec(
            name=name,
            target=f"recbole:{plain}",
            trainer="recbole",
            revision=_REVISIONS.get(plain) or _REVISIONS.get(theirs[plain], 1),
        )
    if plain in recbole_compat.LACKING:
        raise HarnessError(
            f"model '{name}' of RecBole needs {recbole_compat.LACKING[plain]}: not supported here"
        )
    raise HarnessError(
        f"model '{name}' is unknown{nearest(name, [*MODELS, *theirs]) or '; see: python run_bench.py list'}"
    )
