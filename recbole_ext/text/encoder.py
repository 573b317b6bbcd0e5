"""From the name of a text encoder to the encoder; loads no weights and does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.lm import source
from recbole_ext.lm.pooling import POOLINGS
from recbole_ext.lm.smollm2 import smollm2
from recbole_ext.text import tags
from recbole_ext.text.bag_of_words import DEFAULT_DIM, HashEncoder
from recbole_ext.text.batching import Progress
from recbole_ext.text.causal import CausalEncoder
from recbole_ext.text.sentence import SentenceEncoder
from recbole_ext.text.tags import TagEncoder
from recbole_ext.text.vectors import VectorFile

FORMS = (
    "minilm",
    "smollm2",
    "tags",
    "tags:<dim>",
    "hash",
    "hash:<dim>",
    "st:<hub id or folder>",
    "lm:<hub id or folder>",
    "file:<parquet or npz>",
)
"""How an encoder may be named."""
_KINDS = ("minilm", "smollm2", "tags", "hash", "st", "lm", "file")
_WITH_REST = ("tags", "hash", "st", "lm", "file")
"""Kinds that may have something behind a colon."""
_MOST_DIM = 1 << 16


class TextEncoder(Protocol):
    """Something that turns texts into vectors, and says what it is without doing so."""

    @property
    def name(self) -> str:
        """As it stands in records; of a local folder only the last part."""

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of what decides a vector: weights, tokenizer, pooling, longest text."""

    def encode(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """[n, d] float32, row i for texts[i]. A blank text has a zero row: it has no direction.

        Raises:
            HarnessError: the model cannot be loaded, or memory is short.
        """


def make_encoder(
    name: str,
    *,
    revision: str | None = None,
    pooling: str = "mean",
    device: str = "cpu",
    trust_remote_code: bool = False,
    batch_size: int = 64,
) -> TextEncoder:
    """Make the encoder that `name` asks for.

    Args:
        name: One of `FORMS`. ``st:`` takes any sentence-transformers model, ``lm:`` any causal
            language model, from a local folder if one exists by that name, else from the hub.
            ``file:`` is a `VectorFile`, which looks items up by their tokens and encodes no text.
        revision: Branch, tag or commit of a hub model; None is its main branch.
        pooling: How ``lm:`` and ``smollm2`` make one vector of a text, "mean" or "last". The others
            know how on their own.
        device: As torch spells it; looked at when weights are loaded.
        trust_remote_code: Let a hub model run Python code of its repository.
        batch_size: Most texts in a batch.

    Raises:
        HarnessError: an unknown name, an argument that does not fit it, or a model that cannot be
            had.
    """
    kind, colon, rest = name.partition(":")
    known = name in ("minilm", "smollm2", "hash", "tags") or (bool(rest) and kind in _WITH_REST)
    if not known:
        hint = f"; write {kind}:<...>" if kind in _WITH_REST else nearest(kind, _KINDS)
        raise HarnessError(f"unknown encoder {name!r}{hint}; the forms are {', '.join(FORMS)}")
    if pooling not in POOLINGS:
        raise HarnessError(
            f"unknown pooling {pooling!r}{nearest(pooling, POOLINGS)}; use {' or '.join(POOLINGS)}"
        )
    if pooling != "mean" and kind not in ("lm", "smollm2"):
        raise HarnessError(
            f"encoder {name}: pooling={pooling} is for lm: encoders and smollm2, "
            "this one pools by itself; drop it"
        )
    if revision is not None and kind not in ("st", "lm"):
        raise HarnessError(
            f"encoder {name}: a revision belongs to a hub model (st: or lm:); leave it out"
        )
    if batch_size < 1:
        raise HarnessError(f"encoder {name}: the batch size is {batch_size}; use at least 1")
    if kind == "hash":
        return HashEncoder(name, _dim(name, rest) if colon else DEFAULT_DIM)
    if kind == "tags":
        return TagEncoder(name, _dim(name, rest) if colon else tags.DEFAULT_DIM)
    if kind == "file":
        return VectorFile.at(rest)
    if kind == "minilm":
        return SentenceEncoder(name, source.minilm(), device, batch_size, False)
    if kind == "smollm2":
        files = smollm2(f"encoder {name}", "--encoder=minilm")
        return CausalEncoder(name, files, pooling, device, batch_size, False)
    files = source.find(f"encoder {name}", rest, revision, trust_remote_code)
    label = f"{kind}:{files.label}"
    if kind == "st":
        return SentenceEncoder(label, files, device, batch_size, trust_remote_code)
    return CausalEncoder(label, files, pooling, device, batch_size, trust_remote_code)


def _dim(name: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= _MOST_DIM):
        raise HarnessError(
            f"encoder {name}: {digits!r} is no width; "
            f"use {name.partition(':')[0]}:<dim> with 1 to {_MOST_DIM}, e.g. {name.partition(':')[0]}:256"
        )
    return int(digits)
