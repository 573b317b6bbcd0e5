"""What kind of model a row is of, by its row in the registry and by its record; no model is known by its name here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from recbole_ext.core.recbole_package import recbole_models
from recbole_ext.leaderboard.rows import Row
from recbole_ext.registry import CLOSED_FORM, ModelSpec, Paper
from recbole_ext.registry.rows import MODELS
from recbole_ext.results import ResultRecord

CLOSED = "closed form"
TEXT = "text"
TAGS = "tags"
LLM = "LLM"
GPU = "GPU"
SEEN = "seen?"
MEANING = {
    CLOSED: "solved, not trained by gradients",
    TEXT: "reads item texts through a language model",
    TAGS: "reads item texts as a bag of tags",
    LLM: "a causal language model makes its vectors or is inside it",
    GPU: "every run of it was on one",
    SEEN: "its encoder learned from public text and may have seen the test's domain",
}
"""Tag -> what it says."""

_LEARNED = {"minilm", "smollm2", "st", "lm"}
"""Kinds of encoder (`text.encoder.FORMS`) with weights that were trained on texts from elsewhere."""
_CAUSAL = {"smollm2", "lm"}
_WORDS = {"tags", "hash"}
_INSIDE = {"llm", "language_model"}
"""An input of a row of the registry, a parameter or a fingerprint of a record that says that a language model is part of the model."""


@cache
def spec_of(model: str) -> ModelSpec | None:
    """The registry's row; None for RecBole's own models, those of other packages and other systems: a board must come out the same
    wherever it is made."""
    return MODELS.get(model)


@cache
def _of_recbole(model: str) -> bool:
    return model.removesuffix("@recbole") in recbole_models()


def paper_of(model: str) -> str:
    """Heading of a model's paper, or where else it comes from."""
    spec = spec_of(model)
    if spec is not None:
        return "Models without a paper" if spec.paper is None else _title(spec.paper)
    return "RecBole's models" if _of_recbole(model) else "Other systems"


def _title(paper: Paper) -> str:
    return f"{paper.title} ({paper.venue})"


def encoder_kind(record: ResultRecord) -> str | None:
    """`minilm`, `smollm2`, `tags`, `hash`, `st`, `lm`, `file`; None of a model that encodes no text."""
    name = (record.text or {}).get("encoder")
    return None if name is None else str(name).partition(":")[0]


def reads_language(row: Row) -> bool:
    """Whether a language model stands anywhere behind its numbers."""
    return encoder_kind(row.first) in _LEARNED or _has_one_inside(row)


def _has_one_inside(row: Row) -> bool:
    spec, record = spec_of(row.model), row.first
    inputs = set(spec.inputs) if spec else set()
    return bool(_INSIDE & (inputs | record.params.keys() | record.fingerprints.keys()))


def _is_causal(row: Row) -> bool:
    """Of a row with a language model inside: a causal one, where its record says which it is."""
    return "causal" in row.first.fingerprints.get("backbone", "causal")


def tags_over(rows: Sequence[Row]) -> list[str]:
    """Tags of a model by its rows on several datasets: each that some row has, `GPU` where all have it."""
    each = [tags_of(row) for row in rows]
    return [tag for tag in MEANING if (all if tag == GPU else any)(tag in tags for tags in each)]


def tags_of(row: Row) -> list[str]:
    """In the order of `MEANING`."""
    spec, kind = spec_of(row.model), encoder_kind(row.first)
    holds = {
        CLOSED: spec is not None and spec.trainer is CLOSED_FORM,
        TEXT: kind in _LEARNED or _has_one_inside(row),
        TAGS: kind in _WORDS,
        LLM: kind in _CAUSAL or (_has_one_inside(row) and _is_causal(row)),
        GPU: all(r.experiment["device"] != "cpu" for r in row.records),
        SEEN: kind in _LEARNED or _has_one_inside(row),
    }
    return [tag for tag in MEANING if holds[tag]]
