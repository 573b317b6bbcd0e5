"""Prompts of like length as padded batches, and vectors in the place of their slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recbole_ext.core.arrays import Ints

if TYPE_CHECKING:
    import torch

    from recbole_ext.lm.prompts import Prompt

    Places = torch.Tensor | list[int]

_WINDOW = 50
"""Batches whose rows are sorted by length together, where the order is drawn."""


@dataclass(frozen=True)
class PromptBatch:
    """B prompts of T tokens at most, padded on the right with the filler."""

    ids: torch.Tensor
    """[B, T] int64."""
    mask: torch.Tensor
    """[B, T] int64, 1 where there is a token."""
    slots: dict[str, torch.Tensor]
    """Name -> positions [B] int64."""

    def __len__(self) -> int:
        return len(self.ids)


def collate(
    prompts: Sequence[Prompt], filler: int, device: torch.device | str = "cpu"
) -> PromptBatch:
    """One batch of prompts.

    Raises:
        ValueError: there are none, or they do not have the same slots.
    """
    import torch

    if not prompts:
        raise ValueError("a batch of no prompts")
    names = list(prompts[0].slots)
    for row, prompt in enumerate(prompts):
        if list(prompt.slots) != names:
            raise ValueError(f"prompt {row} has the slots {list(prompt.slots)}, the first {names}")
    ids, mask = padded([prompt.ids for prompt in prompts], filler, device)
    slots = {
        name: torch.tensor([prompt.slots[name] for prompt in prompts], device=device)
        for name in names
    }
    return PromptBatch(ids, mask, slots)


def padded(
    rows: Sequence[Sequence[int]], filler: int, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """([B, T] token ids, padded on the right; [B, T] int64, 1 where there is a token)."""
    import torch

    ids = np.full((len(rows), max(map(len, rows))), filler, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def rounded(length: int, most: int) -> int:
    """A number of tokens to pad to, so that batches come in few shapes: a sixteenth more at the most, or 7 tokens, and not above `most`.

    Whatever multiplies matrices prepares itself for each shape, and keeps that: for bfloat16 on a CPU some MB each, to GB for prompts of every length.
    """
    step = max(8, 1 << max(0, length.bit_length() - 5))
    return max(length, min(-(-length // step) * step, most))


def widened(
    embeds: torch.Tensor, mask: torch.Tensor, most: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input embeddings [B, T, d] and their mask [B, T] with padding behind, to `rounded` tokens."""
    from torch.nn.functional import pad

    more = rounded(mask.shape[1], most) - mask.shape[1]
    return pad(embeds, (0, 0, 0, more)), pad(mask, (0, more))


def splice_listed(
    embeds: torch.Tensor, prompts: Sequence[Prompt], vectors: torch.Tensor
) -> torch.Tensor:
    """As `splice`, of prompts with any number of slots each.

    Args:
        embeds: [B, T, d].
        prompts: B.
        vectors: [S, d] for all slots of the first prompt in their order, then those of the second, and so on.

    Raises:
        ValueError: there are more slots than vectors, or fewer.
    """
    row = [number for number, prompt in enumerate(prompts) for _ in prompt.slots]
    position = [place for prompt in prompts for place in prompt.slots.values()]
    if vectors.shape != (len(row), embeds.shape[2]):
        raise ValueError(f"{len(row)} slots take [{len(row)}, {embeds.shape[2]}], not {list(vectors.shape)}")  # fmt: skip
    return _put(embeds, row, position, vectors)


def splice(
    embeds: torch.Tensor, batch: PromptBatch, vectors: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """The input embeddings with vectors at the slots, out of place, so that gradients reach both.

    Args:
        embeds: [B, T, d].
        batch: where the slots are.
        vectors: slot -> [B, d], for every slot of the batch; cast to the dtype of `embeds`.

    Returns:
        [B, T, d] like `embeds`.

    Raises:
        ValueError: a slot without vectors, vectors without a slot, or of other rows or another width.
    """
    import torch

    rows, _, width = embeds.shape
    for name in [*batch.slots, *vectors]:
        if name not in vectors:
            raise ValueError(
                f"slot '{name}' gets no vectors, only {', '.join(vectors) or 'none'} do"
            )
        if name not in batch.slots:
            raise ValueError(
                f"vectors for '{name}', and the slots are {', '.join(batch.slots) or 'none'}"
            )
        if vectors[name].shape != (rows, width):
            raise ValueError(
                f"slot '{name}' takes [{rows}, {width}], not {list(vectors[name].shape)}"
            )
    if not batch.slots:
        return embeds
    row = torch.arange(rows).repeat(len(batch.slots))
    position = torch.cat(list(batch.slots.values()))
    return _put(
        embeds, row, position, torch.cat([vectors[name].to(embeds) for name in batch.slots])
    )


def _put(
    embeds: torch.Tensor, row: Places, position: Places, vectors: torch.Tensor
) -> torch.Tensor:
    """[B, T, d] with vectors [S, d] at S places of S rows."""
    import torch

    where = tuple(torch.as_tensor(each, device=embeds.device) for each in (row, position))
    return embeds.index_put(where, vectors.to(embeds))


def bucketed(
    lengths: Sequence[int] | Ints, size: int, generator: torch.Generator | None = None
) -> list[Ints]:
    """Batches of row numbers whose rows are of like length; every row once.

    Args:
        lengths: [n] tokens of each row.
        size: rows of a batch; one batch may have fewer.
        generator: what draws the order: rows are shuffled, sorted by length within some batches' worth at a time, and the
            batches shuffled. None: all are sorted, the longest first, so that a batch too large for memory fails at once.

    Returns:
        Row numbers by batch.
    """
    if size < 1:
        raise ValueError(f"batches of {size} rows")

    def shuffled(count: int) -> Ints:
        import torch

        return torch.randperm(count, generator=generator).numpy()

    long = np.asarray(lengths, dtype=np.int64)
    window = len(long) if generator is None else size * _WINDOW
    order = np.arange(len(long)) if generator is None else shuffled(len(long))
    batches: list[Ints] = []
    for start in range(0, len(long), max(window, 1)):
        rows = order[start : start + window]
        rows = rows[np.argsort(-long[rows], kind="stable")]
        batches += [rows[first : first + size] for first in range(0, len(rows), size)]
    if generator is None:
        return batches
    return [batches[place] for place in shuffled(len(batches))]
