"""One vector for a text out of the hidden states of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import torch

Pooling = Literal["mean", "last"]
POOLINGS: tuple[str, ...] = get_args(Pooling)


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """Reduce each row of a batch to one vector, whether it is padded on the left or on the right.

    Args:
        hidden: [B, T, d] hidden states, any floating type. What stands at padding is never read,
            NaN included.
        mask: [B, T], nonzero where there is a token.
        how: "mean" over the tokens, or "last", the last token, the only one that a causal model
            lets see all others.

    Returns:
        [B, d] float32, on the device of `hidden`; sums are accumulated in float32. A row that is
        all padding is zero.

    Raises:
        ValueError: `how` is neither, or the shapes do not fit.
    """
    if hidden.ndim != 3 or mask.shape != hidden.shape[:2]:
        raise ValueError(f"hidden {tuple(hidden.shape)} and mask {tuple(mask.shape)} do not fit")
    token = mask != 0
    count = token.sum(dim=1)
    if how == "mean":
        # masked_fill, not a product: attention over nothing gives NaN, and NaN times zero is NaN.
        total = hidden.float().masked_fill(~token.unsqueeze(-1), 0.0).sum(dim=1)
        return total / count.clamp(min=1).unsqueeze(-1)
    if how == "last":
        if hidden.shape[1] == 0:
            return hidden.float().sum(dim=1)
        # The running count of tokens peaks first at the last token, on whichever side padding is.
        position = token.long().cumsum(dim=1).argmax(dim=1)
        picked = hidden.gather(1, position.view(-1, 1, 1).expand(-1, 1, hidden.shape[2]))
        return picked.squeeze(1).float().masked_fill((count == 0).unsqueeze(-1), 0.0)
    raise ValueError(f"pooling is one of {', '.join(POOLINGS)}, not {how!r}")
