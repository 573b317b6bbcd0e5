"""A tied coder of item vectors by itself, outside a run: for vectors that no model here puts a coder on."""

from __future__ import annotations

import math

import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.progress import progress
from recbole_ext.sae.tied import TiedCoder


def fitted(
    coder: TiedCoder,
    x: torch.Tensor,
    beta: float,
    epochs: int = 200,
    size: int = 1024,
    rate: float = 0.001,
    seed: int = 0,
) -> TiedCoder:
    """Train a coder as the stage `sae` does, by Adam, its last epoch kept.

    Args:
        coder: trained in place, and given back.
        x: [n, d] vectors.
        beta: weight of the uniformity loss.
        epochs: over all vectors, each time in another order.
        size: vectors of a batch.
        rate: of Adam.
        seed: of the orders.

    Raises:
        HarnessError: the loss is no number.
    """
    optimiser = torch.optim.Adam(coder.parameters(), lr=rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    x = x.detach()
    coder.train()
    with progress("coder", epochs) as advance:
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=generator).to(x.device)
            for first in range(0, len(x), size):
                loss = coder.loss(x[order[first : first + size]], beta)
                if not math.isfinite(float(loss.detach())):
                    raise HarnessError(
                        "the coder's loss is not finite: lower its rate, or look at the vectors"
                    )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            advance(1)
    return coder.eval().requires_grad_(False)
