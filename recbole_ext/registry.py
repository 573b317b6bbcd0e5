"""Which models there are: one explicit row for each of ours, and RecBole's own by their names. Nothing is imported."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.core.errors import HarnessError, either, nearest, one_of
from recbole_ext.core.recbole_package import LACKING, recbole_models, scores_from_history
from recbole_ext.evaluator.protocols import SCORINGS, Scoring


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
_KNOTS = Paper(
    "From Knots to Knobs: Towards Steerable Collaborative Filtering Using Sparse Autoencoders",
    "preprint 2026",
    "https://arxiv.org/abs/2601.11182",
)
_SAULREC = Paper(
    "Sparse Autoencoders in Collaborative Filtering Enhanced LLM-based Recommender Systems",
    "CIKM 2025",
    "https://doi.org/10.1145/3746252.3760957",
)
_ALLMREC = Paper(
    "Large Language Models meet Collaborative Filtering: An Efficient All-round LLM-based Recommender System",
    "KDD 2024",
    "https://github.com/ghdtjr/A-LLMRec",
)
_COLLM = Paper(
    "CoLLM: Integrating Collaborative Embeddings into Large Language Models for Recommendation",
    "TKDE 2025",
    "https://github.com/zyang1580/CoLLM",
)
_TALLREC = Paper(
    "TALLRec: An Effective and Efficient Tuning Framework to Align Large Language Model with Recommendation",
    "RecSys 2023",
    "https://doi.org/10.1145/3604915.3608857",
)
_BINLLM = Paper(
    "Text-like Encoding of Collaborative Information in Large Language Models for Recommendation",
    "ACL 2024",
    "https://github.com/zyang1580/BinLLM",
)
_PROMPT4NR = Paper(
    "Prompt Learning for News Recommendation",
    "SIGIR 2023",
    "https://doi.org/10.1145/3539618.3591752",
)
_SELLA = Paper(
    "Enhancing LLM-based Recommendation through Semantic-Aligned Collaborative Knowledge",
    "arXiv 2025",
    "https://arxiv.org/abs/2504.10107",
)
_JEUNEN = Paper(
    "Closed-Form Models for Collaborative Filtering with Side-Information",
    "RecSys 2020",
    "https://doi.org/10.1145/3383313.3418480",
)

MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="Pop",
            target="recbole_ext.model.pop:Pop",
            trainer=CLOSED_FORM,
            offers=(UNSEEN_USERS,),
        ),
        ModelSpec(
            name="RandomPop",
            target="recbole_ext.model.pop:RandomPop",
            trainer=CLOSED_FORM,
            offers=(UNSEEN_USERS,),
            paper=_ALPHAREC,
        ),
        ModelSpec(
            name="EASE",
            target="recbole_ext.model.ease:EASE",
            trainer=CLOSED_FORM,
            offers=(UNSEEN_USERS,),
            paper=Paper(
                "Embarrassingly Shallow Autoencoders for Sparse Data",
                "WWW 2019",
                "https://arxiv.org/abs/1905.03375",
            ),
        ),
        ModelSpec(
            name="L3AE",
            target="recbole_ext.model.l3ae:L3AE",
            trainer=CLOSED_FORM,
            inputs=("item_text",),
            offers=(UNSEEN_USERS,),
            paper=_L3AE,
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{target}",
                trainer=CLOSED_FORM,
                inputs=("item_text",),
                offers=(UNSEEN_USERS,),
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
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{name.lower()}:{name}",
                trainer=CLOSED_FORM,
                offers=(UNSEEN_USERS,),
                paper=paper,
            )
            for name, paper in (
                (
                    "GFCF",
                    Paper(
                        "How Powerful is Graph Convolution for Recommendation?",
                        "CIKM 2021",
                        "https://github.com/yshenaw/GF_CF",
                    ),
                ),
                (
                    "BSPM",
                    Paper(
                        "Blurring-Sharpening Process Models for Collaborative Filtering",
                        "SIGIR 2023",
                        "https://github.com/jeongwhanchoi/BSPM",
                    ),
                ),
                (
                    "SGFCF",
                    Paper(
                        "How Powerful is Graph Filtering for Recommendation",
                        "KDD 2024",
                        "https://github.com/tanatosuu/sgfcf",
                    ),
                ),
                (
                    "ChebyCF",
                    Paper(
                        "Graph Spectral Filtering with Chebyshev Interpolation for Recommendation",
                        "SIGIR 2025",
                        "https://github.com/chanwoo0806/ChebyCF",
                    ),
                ),
            )
        ),
        ModelSpec(
            name="AlphaRec",
            target="recbole_ext.model.alpharec:AlphaRec",
            trainer=EPOCHS,
            inputs=("item_text",),
            offers=(INTENTION, TRANSFER, UNSEEN_USERS),
            paper=_ALPHAREC,
        ),
        ModelSpec(
            name="UniSRec",
            target="recbole_ext.model.unisrec:UniSRec",
            trainer=EPOCHS,
            inputs=("item_text",),
            offers=(INTENTION, TRANSFER, UNSEEN_USERS),
            paper=Paper(
                "Towards Universal Sequence Representation Learning for Recommender Systems",
                "KDD 2022",
                "https://doi.org/10.1145/3534678.3539381",
            ),
        ),
        ModelSpec(
            name="ELSA",
            target="recbole_ext.model.elsa:ELSA",
            trainer=STAGED,
            offers=(UNSEEN_USERS,),
            paper=Paper(
                "Scalable Linear Shallow Autoencoder for Collaborative Filtering",
                "RecSys 2022",
                "https://doi.org/10.1145/3523227.3551482",
            ),
        ),
        ModelSpec(
            name="MultVAE",
            target="recbole_ext.model.multvae:MultVAE",
            trainer=STAGED,
            offers=(UNSEEN_USERS,),
            paper=Paper(
                "Variational Autoencoders for Collaborative Filtering",
                "WWW 2018",
                "https://arxiv.org/abs/1802.05814",
            ),
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.knots:{name}",
                trainer=STAGED,
                offers=(CONCEPTS, UNSEEN_USERS),
                paper=_KNOTS,
            )
            for name in ("KnotsELSA", "KnotsMultVAE")
        ),
        ModelSpec(
            name="Bias",
            target="recbole_ext.model.bias:Bias",
            trainer=CLOSED_FORM,
            scoring="pointwise",
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{module}:{name}",
                trainer=STAGED,
                scoring="pointwise",
                paper=_COLLM,
            )
            for name, module in (
                ("MF", "mf"),
                ("DIN", "din"),
                ("SASRecBCE", "sasrec_bce"),
                ("LightGCNBCE", "lightgcn_bce"),
            )
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.{module}:{name}",
                trainer=STAGED,
                scoring="pointwise",
                inputs=("item_titles", "language_model"),
                offers=(PROMPTS,),
                paper=paper,
            )
            for name, module, paper in (
                ("ZeroShot", "tallrec", None),
                ("TALLRec", "tallrec", _TALLREC),
                ("Prompt4NR", "prompt4nr", _PROMPT4NR),
                ("PersonPrompt", "person_prompt", _COLLM),
                ("CoLLM", "collm", _COLLM),
                ("SeLLaRec", "sellarec", _SELLA),
                ("BinLLM", "binllm", _BINLLM),
            )
        ),
        ModelSpec(
            name="CTRL",
            target="recbole_ext.model.ctrl:CTRL",
            trainer=STAGED,
            scoring="pointwise",
            inputs=("item_text",),
            paper=Paper(
                "CTRL: Connect Collaborative and Language Model for CTR Prediction",
                "TORS 2025",
                "https://doi.org/10.1145/3713080",
            ),
        ),
        ModelSpec(
            name="SASRec",
            target="recbole_ext.model.sasrec:SASRec",
            trainer=STAGED,
            offers=(UNSEEN_USERS,),
            ordered=True,
            revision=3,  # 1 and 2 were RecBole's under this name
            paper=Paper(
                "Self-Attentive Sequential Recommendation",
                "ICDM 2018",
                "https://github.com/pmixer/SASRec.pytorch",
            ),
        ),
        ModelSpec(
            name="SASRecSAE",
            target="recbole_ext.model.sasrec_sae:SASRecSAE",
            trainer=STAGED,
            offers=(LATENTS, UNSEEN_USERS),
            ordered=True,
            paper=_SAULREC,
        ),
        ModelSpec(
            name="MatchedSASRec",
            target="recbole_ext.model.matching:MatchedSASRec",
            trainer=STAGED,
            inputs=("item_text",),
            offers=(UNSEEN_USERS,),
            ordered=True,
            paper=_ALLMREC,
        ),
        ModelSpec(
            name="ALLMRec",
            target="recbole_ext.model.allmrec:ALLMRec",
            trainer=STAGED,
            scoring="candidates",
            inputs=("item_text", "item_titles", "language_model"),
            ordered=True,
            paper=_ALLMREC,
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.saul:{name}",
                trainer=STAGED,
                scoring="candidates",
                inputs=("item_text", "item_titles", "language_model"),
                offers=(LATENTS,),
                ordered=True,
                paper=_SAULREC,
            )
            for name in ("SAULA", "SAULD")
        ),
        ModelSpec(
            name="LLaRA",
            target="recbole_ext.model.llara:LLaRA",
            trainer=STAGED,
            scoring="candidates",
            inputs=("item_titles", "language_model"),
            ordered=True,
            paper=Paper(
                "LLaRA: Large Language-Recommendation Assistant",
                "SIGIR 2024",
                "https://github.com/ljy0ustc/LLaRA",
            ),
        ),
        ModelSpec(
            name="SimGCL",
            target="recbole_ext.model.simgcl:SimGCL",
            trainer=EPOCHS,
            paper=Paper(
                "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for Recommendation",
                "SIGIR 2022",
                "https://doi.org/10.1145/3477495.3531937",
            ),
        ),
        ModelSpec(
            name="XSimGCL",
            target="recbole_ext.model.simgcl:XSimGCL",
            trainer=EPOCHS,
            paper=Paper(
                "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation",
                "TKDE 2023",
                "https://doi.org/10.1109/TKDE.2023.3288135",
            ),
        ),
        *(
            ModelSpec(
                name=name,
                target=f"recbole_ext.model.rlmrec:{name}",
                trainer=EPOCHS,
                inputs=("item_text",),
                paper=Paper(
                    "Representation Learning with Large Language Models for Recommendation",
                    "WWW 2024",
                    "https://github.com/HKUDS/RLMRec",
                ),
            )
            for name in ("RLMRecCon", "RLMRecGen")
        ),
        ModelSpec(
            name="KAR",
            target="recbole_ext.model.kar:KAR",
            trainer=EPOCHS,
            inputs=("item_text",),
            paper=Paper(
                "Towards Open-World Recommendation with Knowledge Augmentation from Large Language Models",
                "RecSys 2024",
                "https://github.com/YunjiaXi/Open-World-Knowledge-Augmented-Recommendation",
            ),
        ),
        ModelSpec(
            name="BCLoss",
            target="recbole_ext.model.bc_loss:BCLoss",
            trainer=EPOCHS,
            paper=Paper(
                "Incorporating Bias-aware Margins into Contrastive Loss for Collaborative Filtering",
                "NeurIPS 2022",
                "https://github.com/anzhang314/BC-Loss",
            ),
        ),
    )
}


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
