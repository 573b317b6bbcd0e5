"""Hidden states of a causal language model as an item encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.canonical import canonical_json
from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.loading import pretrained
from recbole_ext.lm.pooling import pool
from recbole_ext.lm.source import Source
from recbole_ext.text.batching import Progress, encode_in_batches

MAX_TOKENS = 512
"""Longer texts are cut at their end; fewer where the model has fewer positions."""


@dataclass(frozen=True)
class CausalEncoder:
    """The last hidden layer, pooled and not normalised; special tokens count as tokens.

    Weights load at the first `encode`, in the precision in which they are stored.
    """

    name: str
    source: Source
    pooling: str
    device: str
    batch_size: int
    trust_remote_code: bool

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of kind, files, pooling and longest text."""
        parts = {
            "lm": 1,
            "source": self.source.identity,
            "pooling": self.pooling,
            "tokens": MAX_TOKENS,
        }
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()

    def encode(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """[n, hidden size] float32, zero rows for blank texts.

        Raises:
            HarnessError: the model cannot be loaded, lacks weights, or memory is short.
        """
        dim = int(self._model.config.get_text_config().hidden_size)
        return encode_in_batches(texts, dim, self.batch_size, self._encode_batch, progress)

    @cached_property
    def _tokenizer(self) -> Any:
        return self._read("AutoTokenizer", truncation_side="right")

    @cached_property
    def _model(self) -> Any:
        model = self._read("AutoModel", use_safetensors=True, dtype="auto")
        if model.config.is_encoder_decoder:
            raise HarnessError(
                f"encoder {self.name}: it is an encoder-decoder; choose a causal model, or st:"
            )
        return model.to(self.device).eval()

    def _read(self, auto: str, **options: Any) -> Any:
        return pretrained(
            auto,
            f"encoder {self.name}",
            self.source,
            self.device,
            self.trust_remote_code,
            **options,
        )

    def _encode_batch(self, batch: list[str]) -> npt.NDArray[np.float32]:
        import torch

        config = self._model.config.get_text_config()
        longest = min(MAX_TOKENS, getattr(config, "max_position_embeddings", None) or MAX_TOKENS)
        rows = self._tokenizer(batch, truncation=True, max_length=longest)["input_ids"]
        # Padded here and on the right: many causal tokenizers have no padding token, and under a
        # causal mask what stands to the right of a token cannot reach it, so a text gets the same
        # vector alone and in a batch.
        ids = torch.zeros((len(rows), max(1, *map(len, rows))), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
            mask[row, : len(tokens)] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            return np.asarray(pool(hidden, mask, self.pooling).cpu().numpy(), dtype=np.float32)
