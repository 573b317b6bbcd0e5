"""Sentence-transformers models; the bundled MiniLM is one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recbole_ext.core.canonical import canonical_json
from recbole_ext.lm.loading import loading, require_vocabulary
from recbole_ext.lm.source import Source
from recbole_ext.text.batching import Progress, encode_in_batches

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class SentenceEncoder:
    """Pools, truncates and normalises as the model's own files say; nothing is added to that.

    Weights load at the first `encode`, in the precision in which they are stored.
    """

    name: str
    source: Source
    device: str
    batch_size: int
    trust_remote_code: bool

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of kind and files; pooling and longest text are in the files."""
        return hashlib.sha256(
            canonical_json({"st": 1, "source": self.source.identity}).encode()
        ).hexdigest()

    def encode(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """[n, d] float32, zero rows for blank texts.

        Raises:
            HarnessError: the model cannot be loaded, or memory is short.
        """
        dim = self._model.get_embedding_dimension()
        if dim is None:
            dim = self._encode_batch(["width"]).shape[1]
        return encode_in_batches(texts, dim, self.batch_size, self._encode_batch, progress)

    @cached_property
    def _model(self) -> SentenceTransformer:
        with loading(f"encoder {self.name}", self.device):
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(
                str(self.source.folder),
                device=self.device,
                trust_remote_code=self.trust_remote_code,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
            require_vocabulary(f"encoder {self.name}", model.tokenizer)
            return model

    def _encode_batch(self, batch: list[str]) -> npt.NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            vectors = self._model.encode(batch, batch_size=len(batch), show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)
