"""Text out of a causal model, many prompts at a time, of prompts that may hold vectors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.likelihood import Prefix

if TYPE_CHECKING:
    from recbole_ext.lm.backbone import CausalBackbone


@dataclass(frozen=True)
class Draw:
    """How tokens are drawn. What a row draws depends on the rows beside it."""

    seed: int
    temperature: float = 1.0
    """By which logits are divided."""
    top_k: int = 0
    """Only among so many of the likeliest; 0 for all."""
    top_p: float = 1.0
    """Only among the fewest of the likeliest that have this probability between them."""

    def chances(self, logits: Tensor) -> Tensor:
        """[B, V] logits -> probabilities to draw by."""
        logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[1]:
            least = logits.topk(self.top_k, dim=1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        chances = logits.softmax(dim=1)
        if self.top_p < 1:
            ranked, order = chances.sort(dim=1, descending=True)
            # One stays as long as those above it do not suffice.
            kept = ranked.cumsum(dim=1) - ranked < self.top_p
            chances = chances * torch.zeros_like(kept).scatter(1, order, kept)
            chances = chances / chances.sum(dim=1, keepdim=True)
        return chances


@torch.no_grad()
def generate(
    backbone: CausalBackbone,
    prompts: Sequence[Tensor | Sequence[int]] | Prefix,
    most: int,
    stop: Collection[int] = (),
    draw: Draw | None = None,
) -> list[list[int]]:
    """Continue each prompt, token by token over a key-value cache.

    Args:
        backbone: a causal model.
        prompts: B, each [T, d] input embeddings with slots filled, or token ids, none empty; or what has gone through the model already.
        most: tokens of a continuation.
        stop: token ids that end one; they are not part of it.
        draw: how tokens are drawn; None for the likeliest at each step.

    Returns:
        B lists of at most `most` token ids, fewer where the context ends.

    Raises:
        ValueError: the model is an encoder, or a prompt is empty.
        HarnessError: a prompt does not fit into the context.
    """
    if not backbone.generative:
        raise ValueError(f"{backbone.name} is an encoder: it generates nothing")
    if not isinstance(prompts, Prefix):
        if not prompts:
            return []
        lengths = [len(prompt) for prompt in prompts]
        if not all(lengths):
            raise ValueError("an empty prompt")
        if max(lengths) > backbone.context:
            raise HarnessError(
                f"backbone {backbone.name}: a prompt of {max(lengths):,} tokens does not fit into its context of "
                f"{backbone.context:,}; shorten it"
            )
        prompts = Prefix(backbone, *prompts)
    rooms = (backbone.context - prompts.lengths).clamp(max=most).tolist()
    device = backbone.device
    mask, position, state = prompts.mask, prompts.lengths[:, None] - 1, prompts.last
    generator = None if draw is None else torch.Generator(device).manual_seed(draw.seed)
    cache = prompts.opened()
    out: list[list[int]] = [[] for _ in rooms]
    going = list(range(len(rooms)))  # rows of the batch that have not ended
    for left in reversed(range(most)):
        logits = backbone.vocabulary(state)
        if draw is None:
            token = logits.argmax(dim=1)
        else:
            token = torch.multinomial(draw.chances(logits), 1, generator=generator).squeeze(1)
        kept = []
        for place, (row, found) in enumerate(zip(going, token.tolist(), strict=True)):
            if found not in stop and len(out[row]) < rooms[row]:
                out[row].append(found)
                if len(out[row]) < rooms[row]:
                    kept.append(place)
        if not kept or not left:
            break
        if len(kept) < len(going):
            chosen = torch.tensor(kept, device=device)
            cache.batch_select_indices(chosen)
            going = [going[place] for place in kept]
            token, mask, position = token[chosen], mask[chosen], position[chosen]
        mask = torch.cat([mask, mask.new_ones(len(kept), 1)], dim=1)
        position = position + 1
        given = backbone.embed(token[:, None])
        state = prompts.follow(given, mask, position, cache)[:, -1]
    return out
