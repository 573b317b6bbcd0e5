"""Many sequences that begin alike: the common beginning goes through the model once and is kept as its key-value cache."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.batches import bucketed
from recbole_ext.lm.pooling import pool

if TYPE_CHECKING:
    from recbole_ext.lm.backbone import CausalBackbone

_BATCH = 32
"""Continuations at a time: the cache is repeated for each."""
_LOGITS = 1 << 26
"""Logits at a time, of positions times vocabulary: 256 MB."""


@dataclass(frozen=True)
class Likelihood:
    """Of n continuations of one prefix."""

    total: Tensor
    """[n] float32, sum over its tokens of the natural logarithm of each one's probability."""
    length: Tensor
    """[n] int64, tokens."""

    @property
    def mean(self) -> Tensor:
        """[n] per token, so that long continuations are not behind for their length."""
        return self.total / self.length


class Prefix:
    """A beginning that has gone through a causal model. Nothing here has a gradient.

    Args:
        backbone: the model; its LoRA counts as it is at this moment.
        embeds: [T, d] input embeddings, slots filled, or token ids.

    Raises:
        ValueError: the model is an encoder, whose states depend on what follows, or the beginning is empty.
        HarnessError: it is longer than the model's context.
    """

    def __init__(self, backbone: CausalBackbone, embeds: Tensor | Sequence[int]) -> None:
        from transformers import DynamicCache

        if not backbone.generative:
            raise ValueError(f"{backbone.name} is an encoder: it has no cache")
        if not len(embeds):
            raise ValueError("an empty prefix")
        self._backbone = backbone
        self.length = len(embeds)
        self._check(0)
        if not isinstance(embeds, torch.Tensor):
            embeds = backbone.embed(torch.tensor(list(embeds), device=backbone.device))
        self._cache = DynamicCache(config=backbone.model.config)
        with torch.no_grad():
            ones = torch.ones(1, self.length, dtype=torch.long, device=backbone.device)
            self.last = self._run(embeds[None], ones, self._cache)[0, -1]
        """[d] state at its last token."""

    def states(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """Hidden states of what follows the beginning.

        Args:
            embeds: [B, S, d], a row for each continuation.
            mask: [B, S], nonzero where there is a token, on the left of every row.

        Returns:
            [B, S, d] in the model's dtype.
        """
        rows, width, _ = embeds.shape
        self._check(width)
        # Its own copy: a model adds to the cache that it is given.
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(rows)
        before = torch.ones(rows, self.length, dtype=torch.long, device=mask.device)
        with torch.no_grad():
            return self._run(embeds, torch.cat([before, mask.long()], dim=1), cache)

    def read(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """[B, d] float32, the state at the last token of each row; of a row without tokens that of the beginning."""
        state = pool(self.states(embeds, mask), mask, "last")
        return state.where(mask.any(dim=1, keepdim=True), self.last.float())

    def likelihood(
        self, continuations: Sequence[Sequence[int]], batch_size: int = _BATCH
    ) -> Likelihood:
        """How likely the model holds each continuation to be.

        Args:
            continuations: n lists of token ids, none empty.
            batch_size: how many at a time.

        Raises:
            ValueError: one is empty.
            HarnessError: the longest does not fit into the context.
        """
        lengths = torch.tensor([len(tokens) for tokens in continuations])
        for row, tokens in enumerate(continuations):
            if not len(tokens):
                raise ValueError(f"continuation {row} is empty")
        total = torch.zeros(len(continuations))
        with torch.no_grad():
            first = self._backbone.vocabulary(self.last).log_softmax(-1).cpu()  # [V]
            for rows in bucketed(lengths.numpy(), batch_size):
                some = [list(continuations[row]) for row in rows]
                total[torch.from_numpy(rows)] = first[[tokens[0] for tokens in some]]
                total[torch.from_numpy(rows)] += self._rest(some)
        return Likelihood(total, lengths)

    def _rest(self, some: list[list[int]]) -> Tensor:
        """[B] log-likelihood of all tokens but the first."""
        width = max(map(len, some)) - 1
        if not width:
            return torch.zeros(len(some))
        device = self._backbone.device
        ids = pad_sequence([torch.tensor(tokens) for tokens in some], True, self._backbone.filler)
        sizes = torch.tensor([len(tokens) for tokens in some])
        mask = torch.arange(width) < sizes[:, None] - 1  # [B, S] where a token follows
        given, ids = mask.to(device), ids.to(device)
        states = self.states(self._backbone.embed(ids[:, :-1]), given)[given]  # [N, d]
        after = ids[:, 1:][given]  # [N]
        most = max(1, _LOGITS // self._backbone.model.get_output_embeddings().weight.shape[0])
        found = [
            self._backbone.vocabulary(states[start : start + most])
            .log_softmax(-1)
            .gather(1, after[start : start + most, None])
            for start in range(0, len(after), most)
        ]
        out = torch.zeros(mask.shape, device=device)
        out[given] = torch.cat(found).squeeze(1)
        return out.sum(dim=1).cpu()

    def _run(self, embeds: Tensor, mask: Tensor, cache: Any) -> Tensor:
        out = self._backbone.base(
            inputs_embeds=embeds.to(self._backbone.model.dtype),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        return cast("Tensor", out.last_hidden_state)

    def _check(self, more: int) -> None:
        if self.length + more > self._backbone.context:
            raise HarnessError(
                f"backbone {self._backbone.name}: {self.length + more:,} tokens, of which {more:,} follow the prefix, and its "
                f"context is {self._backbone.context:,}; shorten the prompt"
            )


def shared_length(embeds: Tensor, mask: Tensor) -> int:
    """How many input embeddings all rows of a batch begin with, leaving each at least one of its own.

    Args:
        embeds: [B, T, d].
        mask: [B, T], nonzero where there is a token, on the left of every row.
    """
    same = (embeds == embeds[:1]).all(dim=2).all(dim=0)  # [T]
    alike = int(same.long().cumprod(dim=0).sum())
    return max(0, min(alike, int(mask.long().sum(dim=1).min()) - 1))


def read_over_prefix(backbone: CausalBackbone, embeds: Tensor, mask: Tensor) -> Tensor:
    """`backbone.read` of rows that begin alike, the beginning computed once; without a gradient.

    Args:
        backbone: a causal model.
        embeds: [B, T, d].
        mask: [B, T], nonzero where there is a token, on the left of every row.

    Returns:
        [B, d] float32.
    """
    shared = shared_length(embeds, mask)
    if shared == 0:
        with torch.no_grad():
            return backbone.read(embeds, mask)
    return Prefix(backbone, embeds[0, :shared]).read(embeds[:, shared:], mask[:, shared:])
