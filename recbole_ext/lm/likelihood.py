"""Many sequences that begin alike: the common beginning goes through the model once and is kept as its key-value cache."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.batches import bucketed, rounded, widened
from recbole_ext.lm.pooling import pool

if TYPE_CHECKING:
    from recbole_ext.lm.backbone import CausalBackbone

_BATCH = {"cpu": 64, "cuda": 256}
"""Continuations at a time, by device."""
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
    """A beginning, or several of them, that went through a causal model. Nothing here has a gradient.

    Args:
        backbone: the model; its LoRA counts as it is at this moment.
        beginnings: P, each [T, d] input embeddings, slots filled, or token ids; usually one, or some of like length.

    Raises:
        ValueError: the model is an encoder, whose states depend on what follows, or a beginning is empty.
        HarnessError: one is longer than the model's context.
    """

    def __init__(self, backbone: CausalBackbone, *beginnings: Tensor | Sequence[int]) -> None:
        from transformers import DynamicCache

        if not backbone.generative:
            raise ValueError(f"{backbone.name} is an encoder: it has no cache")
        if not beginnings or not all(map(len, beginnings)):
            raise ValueError("an empty prefix")
        self._backbone = backbone
        known = inspect.signature(backbone.base.forward).parameters
        self._told_places = "position_ids" in known
        device = backbone.device
        self.lengths = torch.tensor([len(one) for one in beginnings], device=device)
        """[P] tokens of each."""
        self._longest = int(self.lengths.max())
        self._check(0)
        width = rounded(self._longest, backbone.context)
        rows = [
            one.to(device)
            if isinstance(one, torch.Tensor)
            else backbone.embed(torch.tensor(list(one), device=device))
            for one in beginnings
        ]
        # On the left, where the mask hides it: what follows stands right behind.
        embeds = pad_sequence(rows, batch_first=True, padding_side="left")
        embeds = pad(embeds, (0, 0, width - self._longest, 0))
        gap = width - self.lengths[:, None]
        self.mask = (torch.arange(width, device=device) >= gap).long()
        """[P, T], 1 where there is a token, on the right of every row."""
        self._cache = DynamicCache(config=backbone.model.config)
        with torch.no_grad():
            places = (self.mask.cumsum(dim=1) - 1).clamp(min=0)
            self.last = self.follow(embeds, self.mask, places, self._cache)[:, -1]
        """[P, d] state at the last token of each."""

    def states(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """Hidden states of what follows the one beginning.

        Args:
            embeds: [B, S, d], a row for each continuation.
            mask: [B, S], nonzero where there is a token, on the left of every row.

        Returns:
            [B, S, d] in the model's dtype.
        """
        rows, width, _ = embeds.shape
        self._check(width)
        embeds, mask = widened(embeds, mask, self._backbone.context)
        owner = torch.zeros(rows, dtype=torch.long, device=self.mask.device)
        whole = torch.cat([self.mask[owner], mask.long()], dim=1)
        places = self.lengths[owner, None] + torch.arange(mask.shape[1], device=owner.device)
        places = places.clamp(max=self._backbone.context - 1)  # of padding
        with torch.no_grad():
            return self.follow(embeds, whole, places, self.opened(owner))[:, :width]

    @cached_property
    def plain(self) -> bool:
        """Whether a mask of one's own says who attends to whom: every layer attends to all that is before, by positions that are told."""
        from transformers.cache_utils import DynamicLayer

        return (
            self._told_places
            and self._backbone.model.config._attn_implementation in ("sdpa", "eager")
            and all(type(layer) is DynamicLayer for layer in self._cache.layers)
        )

    def opened(self, owner: Tensor | None = None) -> Any:
        """A key-value cache that may be added to, of the beginnings or of `owner` [B] of them: a model adds to the one that it is given."""
        if self.plain:  # what is added makes new tensors, the old ones stay
            cache = copy.copy(self._cache)
            cache.layers = [copy.copy(layer) for layer in cache.layers]
        else:
            cache = copy.deepcopy(self._cache)
        if owner is not None:
            cache.batch_select_indices(owner)
        return cache

    def follow(self, embeds: Tensor, mask: Tensor, places: Tensor, cache: Any) -> Tensor:
        """Hidden states of what is added to a cache.

        Args:
            embeds: [B, S, d].
            mask: [B, .. + S], of what is in the cache and of these; or [B, 1, S, .. + S], 0 where one is attended to and very low elsewhere.
            places: [B, S] positions, counted from 0.
            cache: of B rows; it is added to.

        Returns:
            [B, S, d] in the model's dtype.
        """
        out = self._backbone.run(
            self._backbone.base,
            embeds,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **({"position_ids": places} if self._told_places else {}),
        )
        return cast("Tensor", out.last_hidden_state)

    def read(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """[B, d] float32, the state at the last token of each row behind the one beginning; of a row without tokens that of the beginning."""
        state = pool(self.states(embeds, mask), mask, "last")
        return state.where(mask.any(dim=1, keepdim=True), self.last.float())

    def likelihood(
        self,
        continuations: Sequence[Sequence[int]],
        owner: Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> Likelihood:
        """How likely the model holds each continuation to be.

        Args:
            continuations: n lists of token ids, none empty.
            owner: [n] the beginning of each, counted from 0; None where there is one.
            batch_size: how many at a time.

        Raises:
            ValueError: one is empty.
            HarnessError: the longest does not fit into the context.
        """
        lengths = torch.tensor([len(tokens) for tokens in continuations])
        for row, tokens in enumerate(continuations):
            if not len(tokens):
                raise ValueError(f"continuation {row} is empty")
        size = batch_size or _BATCH[self.mask.device.type]
        behind = torch.tensor([0] * len(continuations) if owner is None else list(owner))
        total = torch.zeros(len(continuations))
        with torch.no_grad():
            first = self._backbone.vocabulary(self.last).log_softmax(-1).cpu()  # [P, V]
            total += first[behind, torch.tensor([tokens[0] for tokens in continuations])]
            rows = self._rows(behind.tolist(), size if self.plain else 1)
            tokens = [sum(len(continuations[one]) - 1 for one in row) for row in rows]
            for some in bucketed(tokens, max(1, size // max(map(len, rows)))):
                self._add_rest(total, [rows[row] for row in some], continuations, behind)
        return Likelihood(total, lengths)

    @staticmethod
    def _rows(owner: Sequence[int], most: int) -> list[list[int]]:
        """Continuations of one beginning that go through the model side by side, at most `most`."""
        of: dict[int, list[int]] = {}
        for one, beginning in enumerate(owner):
            of.setdefault(beginning, []).append(one)
        return [
            own[start : start + most] for own in of.values() for start in range(0, len(own), most)
        ]

    def _add_rest(
        self,
        total: Tensor,
        rows: list[list[int]],
        continuations: Sequence[Sequence[int]],
        behind: Tensor,
    ) -> None:
        """Add the log-likelihood of all tokens but the first. A row has its continuations behind each other, none seen by the others."""
        given, after, place, part = (
            pad_sequence([torch.tensor(one, dtype=torch.long) for one in all_rows], True, -1)
            for all_rows in (
                [[token for one in row for token in continuations[one][:-1]] for row in rows],
                [[token for one in row for token in continuations[one][1:]] for row in rows],
                [[at for one in row for at in range(len(continuations[one]) - 1)] for row in rows],
                [[one for one in row for _ in continuations[one][1:]] for row in rows],
            )
        )  # [B, S] each
        if not given.shape[1]:
            return
        self._check(int(place.max()) + 1)
        device = self.mask.device
        more = rounded(given.shape[1], 1 << 30) - given.shape[1]
        given, after, place, part = (
            pad(each, (0, more), value=-1) for each in (given, after, place, part)
        )
        there = part >= 0
        owner = behind[[row[0] for row in rows]].to(device)
        places = self.lengths[owner, None] + place.clamp(min=0).to(device)
        filled = given.where(there, torch.tensor(self._backbone.filler)).to(device)
        states = self.follow(
            self._backbone.embed(filled),
            self._seen(part.to(device), owner),
            places,
            self.opened(owner),
        )[there.to(device)]  # [N, d]
        wanted = after[there].to(device)
        most = max(1, _LOGITS // self._backbone.model.get_output_embeddings().weight.shape[0])
        found = [
            self._backbone.vocabulary(states[start : start + most])
            .log_softmax(-1)
            .gather(1, wanted[start : start + most, None])
            for start in range(0, len(wanted), most)
        ]
        total.index_add_(0, part[there], torch.cat(found).squeeze(1).cpu())

    def _seen(self, part: Tensor, owner: Tensor) -> Tensor:
        """The mask of `follow` for rows of continuations: [B, S] which one each token is of, -1 for none."""
        before = self.mask[owner]  # [B, T]
        if not self.plain:
            return torch.cat([before, (part >= 0).long()], dim=1)
        width = part.shape[1]
        own = (part[:, :, None] == part[:, None, :]).tril()  # [B, S, S]
        seen = torch.cat([before.bool()[:, None].expand(-1, width, -1), own], dim=2)
        dtype = self._backbone.model.dtype
        low = torch.zeros(seen.shape, dtype=dtype, device=part.device)
        return low.masked_fill(~seen, torch.finfo(dtype).min)[:, None]

    def _check(self, more: int) -> None:
        if self._longest + more > self._backbone.context:
            raise HarnessError(
                f"backbone {self._backbone.name}: {self._longest + more:,} tokens, of which {more:,} follow the prefix, and its "
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
