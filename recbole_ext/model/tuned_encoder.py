"""MiniLM as a part of a model, whose weights are trained: texts of items in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.lm.backbone import make_backbone
from recbole_ext.lm.batches import padded

_LONGEST = 256
"""Tokens of a text, the frame's included, as MiniLM's own files say."""


class TunedEncoder(nn.Module):
    """Vectors of items' texts as the encoder `minilm` makes them: mean over tokens, of length 1; 0 for a text without words.

    Args:
        texts: [n_items + 1], the padding item's first.
        device: of its weights.

    Raises:
        HarnessError: it cannot be had.
    """

    def __init__(self, texts: Sequence[str], device: str) -> None:
        super().__init__()
        backbone = make_backbone("minilm", device=device, dtype="float32")
        # In a tuple, where torch does not look for modules: its weights are this one's under names of their own.
        self._held = (backbone,)
        named = backbone.model.named_parameters()
        self.weights = nn.ParameterDict({name.replace(".", ":"): p for name, p in named})
        before, after = backbone.frame
        room = _LONGEST - len(before) - len(after)
        self._rows = [
            [*before, *backbone.tokenise(text)[:room], *after] if text.strip() else []
            for text in texts
        ]
        self.identity = backbone.identity

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """[B, D] of items [B] in RecBole's ids."""
        (backbone,) = self._held
        rows = [self._rows[item] for item in items.tolist()]
        worded = torch.tensor([bool(row) for row in rows], device=items.device)
        ids, mask = padded(
            [row or [backbone.filler] for row in rows], backbone.filler, items.device
        )
        found = backbone.read(backbone.embed(ids), mask)
        return functional.normalize(found, dim=1) * worded[:, None]
