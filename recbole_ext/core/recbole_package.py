"""RecBole as it is installed: its folder, its models and its bundled dataset by name. Nothing of it is imported."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from pathlib import Path

from recbole_ext.core.errors import HarnessError

RECBOLE_VERSION = "1.2.1"
INSTALL_RECBOLE = f"pip install --no-deps recbole=={RECBOLE_VERSION}"
_KINDS = {"general_recommender": "general", "sequential_recommender": "sequential"}
LACKING = {
    "DIEN": "histories of negatives",
    "FDSA": "item features",
    "GRU4RecCPR": "the tested item when it scores",
    "GRU4RecF": "item features",
    "GRU4RecKG": "a knowledge graph",
    "KSR": "a knowledge graph",
    "RaCT": "pre-training that pickles its configuration",
    "S3Rec": "item features and pre-training",
    "SASRecCPR": "the tested item when it scores",
    "SASRecF": "item features",
}
"""RecBole's models that cannot be trained or ranked here -> what they need."""


_FROM_ROWS = {
    "ADMMSLIM",
    "DiffRec",
    "EASE",
    "ItemKNN",
    "LDiffRec",
    "MacridVAE",
    "MultiDAE",
    "MultiVAE",
    "Pop",
    "Random",
    "RecVAE",
    "SLIMElastic",
}
"""General models whose scores are made of a user's interactions, or of nothing of the user, and of no parameter of it."""
_BY_USER = {"Caser", "DIN", "FOSSIL", "FPMC", "HGN", "HRM", "NPE", "SHAN", "TransRec"}
"""Sequential models with parameters of users."""


def recbole_root() -> Path:
    """RecBole's folder, found without importing it.

    Raises:
        HarnessError: it is not installed, or another version is.
    """
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        raise HarnessError(f"RecBole is not installed; type: {INSTALL_RECBOLE}")
    version = importlib.metadata.version("recbole")
    if version != RECBOLE_VERSION:
        raise HarnessError(
            f"RecBole {version} is installed, {RECBOLE_VERSION} is needed; type: {INSTALL_RECBOLE}"
        )
    return Path(spec.origin).parent


@functools.cache
def recbole_models() -> dict[str, str]:
    """RecBole's models by name -> `general` or `sequential`; other kinds, and `LACKING`, are not ranked by this harness."""
    root = recbole_root()
    kind_of = {
        path.stem: kind
        for folder, kind in _KINDS.items()
        for path in (root / "model" / folder).glob("*.py")
    }
    names = {path.stem for path in (root / "properties" / "model").glob("*.yaml")} - LACKING.keys()
    return {name: kind_of[name.lower()] for name in sorted(names) if name.lower() in kind_of}


def scores_from_history(name: str) -> bool:
    """Whether a model of RecBole's can score a user that training has not seen, given what that user has."""
    sequential = recbole_models().get(name) == "sequential"
    return name in _FROM_ROWS or (sequential and name not in _BY_USER)


def bundled_ml_100k() -> Path:
    """Folder of the MovieLens-100K that RecBole carries."""
    return recbole_root() / "dataset_example" / "ml-100k"
