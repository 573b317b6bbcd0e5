"""What graph and language models contrast: scores of sampled negatives, InfoNCE over them, and InfoNCE between two views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbole_ext.core.sparse import by_rows

_CELLS = 1 << 19, 1 << 26
"""Products held at a time, on a CPU and on a GPU: two megabytes stay in the cache of one core, 256 keep a GPU busy."""


def picked_scores(users: torch.Tensor, items: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
    """[B, s] inner products of users [B, d] with the items [n, d] named by picked [B, s]."""
    # A sparse matrix has no more values than places.
    if users.is_cuda or picked.shape[1] > len(items):
        return torch.bmm(functional.embedding(picked, items), users[:, :, None]).squeeze(2)
    scores: torch.Tensor = _Picked.apply(users, items, picked)  # type: ignore[no-untyped-call]
    return scores


class _Picked(torch.autograd.Function):
    """A product of two matrices at the places of a sparse one, whose gradients are products with that one.

    Neither the scores of all items nor the vectors of all picked ones are ever there: on a CPU a tenth of the time of
    either for 4,096 users, 256 of 12,000 items and vectors of 64, forth and back.
    """

    @staticmethod
    def forward(
        ctx: Any, users: torch.Tensor, items: torch.Tensor, picked: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(users, items, picked)
        places = _placed(picked, users.new_zeros(picked.shape), len(items))
        scores: torch.Tensor = torch.sparse.sampled_addmm(
            by_rows(places, users.dtype), users, items.T
        )
        return scores.values().view(picked.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[torch.Tensor, torch.Tensor, None]:
        users, items, picked = ctx.saved_tensors
        places = _placed(picked, grads[0], len(items))
        by_user, by_item = (by_rows(x, users.dtype) for x in (places, places.T.tocsr()))
        return torch.sparse.mm(by_user, items), torch.sparse.mm(by_item, users), None


def _placed(picked: torch.Tensor, values: torch.Tensor, n_items: int) -> sp.csr_matrix:
    """[B, n_items] with values [B, s] at the items picked [B, s]; an item that is picked twice is there twice."""
    rows, each = picked.shape
    starts = np.arange(0, rows * each + 1, each)
    cells = (values.reshape(-1).numpy(), picked.reshape(-1).numpy(), starts)
    return sp.csr_matrix(cells, shape=(rows, n_items))


def info_nce(positive: torch.Tensor, negative: torch.Tensor, tau: float) -> torch.Tensor:
    """Mean of -log(e^(p/τ) / (e^(p/τ) + Σ_j e^(n_j/τ))), the loss of AlphaRec (ICLR 2025).

    Args:
        positive: [B] similarities.
        negative: [B, s] similarities.
        tau: temperature.
    """
    logits = torch.cat([positive[:, None], negative], 1) / tau  # (B, 1 + s)
    return (torch.logsumexp(logits, 1) - logits[:, 0]).mean()  # Eq. 4 of AlphaRec


def among(
    one: torch.Tensor, two: torch.Tensor, tau: float, others: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over the rows of -cos(a, b)/τ + log Σ_{c in others} e^(cos(a, c)/τ): InfoNCE between views.

    With two views of the same nodes alone it is Eq. 2 of SimGCL (SIGIR 2022); with others that are more, that of the code of RLMRec (WWW 2024).

    Args:
        one: [B, d] a.
        two: [B, d] b, one for each a.
        tau: temperature.
        others: [n, d] c, b itself among them; None for the batch's b. All three are normalised here.
    """
    one, two = functional.normalize(one, dim=1), functional.normalize(two, dim=1)
    others = two if others is None else functional.normalize(others, dim=1)
    every = log_sum_exp(one / tau, others)  # (B,)
    return (every - (one * two).sum(1) / tau).mean()


def log_sum_exp(rows: torch.Tensor, columns: torch.Tensor, but_own: bool = False) -> torch.Tensor:
    """[B] log Σ_j e^(r·c_j) of rows [B, d] over all columns c [n, d], forth and back without B x n numbers.

    `but_own`: over all but the i-th for row i; where nothing is left, the least number that can be told.

    Blocks of rows whose products stay in the cache are made, and made again for the gradient: one product more than with all of them held,
    and none of the passes over memory. In torch's own steps each of six passes reads and writes B x n numbers.
    """
    found: torch.Tensor = _LogSumExp.apply(rows, columns, but_own)  # type: ignore[no-untyped-call]
    return found


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, columns: torch.Tensor, but_own: bool) -> torch.Tensor:
        found = rows.new_empty(len(rows))
        for part, products in _products(rows, columns, but_own):
            torch.logsumexp(products, 1, out=found[part])
        ctx.save_for_backward(rows, columns, found)
        ctx.but_own = but_own
        return found

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(
        ctx: Any, grads: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        rows, columns, found = ctx.saved_tensors
        to_rows = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        to_columns = torch.zeros_like(columns) if ctx.needs_input_grad[1] else None
        for part, products in _products(rows, columns, ctx.but_own):
            share = products.sub_(found[part, None]).exp_()  # of each column in its row's sum
            if to_rows is not None:
                torch.mm(share, columns, out=to_rows[part]).mul_(grads[part, None])
            if to_columns is not None:
                to_columns.addmm_(share.T, grads[part, None] * rows[part])
        return to_rows, to_columns, None


def _products(
    rows: torch.Tensor, columns: torch.Tensor, but_own: bool
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Blocks of rows and their products [b, n] with all columns, which are overwritten by the next."""
    step = max(1, _CELLS[rows.device.type == "cuda"] // max(1, len(columns)))
    held = rows.new_empty(min(step, len(rows)), len(columns))
    for first in range(0, len(rows), step):
        part = slice(first, min(first + step, len(rows)))
        found = torch.mm(rows[part], columns.T, out=held[: part.stop - first])
        if but_own:  # finite: of -∞ alone there is no share
            found.diagonal(first).fill_(torch.finfo(found.dtype).min)
        yield part, found
