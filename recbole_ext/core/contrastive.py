"""What graph and language models contrast: scores of sampled negatives, InfoNCE over them, and InfoNCE between two views."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbole_ext.core.sparse import by_rows, times

_CELLS = 1 << 19, 1 << 26
"""Products held at a time, on a CPU and on a GPU: two megabytes stay in the cache of one core, 256 keep a GPU busy."""


def picked_scores(users: torch.Tensor, items: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
    """[B, s] inner products of users [B, d] with the items [n, d] named by picked [B, s]."""
    if picked.shape[1] > len(items):  # all of them are fewer
        return (users @ items.T).gather(1, picked)
    if users.is_cuda:
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
        return times(by_user, items), times(by_item, users), None


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


def of_picked(
    one: torch.Tensor, two: torch.Tensor, picked: torch.Tensor, tau: float, others: torch.Tensor
) -> torch.Tensor:
    """`among` of rows that are named with repetitions, each of which is read once.

    Args:
        one: [n, d] a.
        two: [n, d] b.
        picked: [B] rows of both.
        tau: temperature.
        others: [m, d] c.
    """
    once, counts = torch.unique(picked, return_counts=True)
    return among(one[once], two[once], tau, others, counts)


def among(
    one: torch.Tensor,
    two: torch.Tensor,
    tau: float,
    others: torch.Tensor | None = None,
    counts: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over the rows of -cos(a, b)/τ + log Σ_{c in others} e^(cos(a, c)/τ): InfoNCE between views.

    With two views of the same nodes alone it is Eq. 2 of SimGCL (SIGIR 2022); with others that are more, that of the code of RLMRec (WWW 2024).

    Args:
        one: [B, d] a.
        two: [B, d] b, one for each a.
        tau: temperature.
        others: [n, d] c, b itself among them; None for the batch's b. All three are normalised here.
        counts: [B] how often each row stands there, and where there are no others each b too; None for once each.
    """
    one, two = functional.normalize(one, dim=1), functional.normalize(two, dim=1)
    rows, columns = one / tau, two if others is None else functional.normalize(others, dim=1)
    weights = None if counts is None else counts.to(one.dtype) / counts.sum()
    if counts is not None and others is None:
        # n e^x is e^(x + log n), and a sum in the exponent is one more number of both vectors.
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)  # (B, d + 1)
        columns = torch.cat([columns, counts.to(one.dtype).log()[:, None]], 1)  # (B, d + 1)
    own = (one * two).sum(1)
    mean = own.mean() if weights is None else (own * weights).sum()
    return mean_log_sum_exp(rows, columns, weights=weights) - mean / tau


def mean_log_sum_exp(
    rows: torch.Tensor,
    columns: torch.Tensor,
    own: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over the rows of log Σ_j e^(r·c_j), forth and back without B x n numbers. Of no rows it is NaN, as torch's mean is.

    Blocks of rows whose products stay in the cache are made once: being a mean, what it asks of rows and columns is known as soon as a block
    is, but for one factor. In torch's own steps each of six passes reads and writes B x n numbers.

    Args:
        rows: [B, d] r.
        columns: [n, d] c; at least B of them where `own` is given.
        own: [B] what stands in place of the product of row i with column i; None for that product.
        weights: [B] of the mean, together 1, which get no gradient; None for equal ones.
    """
    found: torch.Tensor = _MeanLogSumExp.apply(rows, columns, own, weights)  # type: ignore[no-untyped-call]
    return found


class _MeanLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        columns: torch.Tensor,
        own: torch.Tensor | None,
        weights: torch.Tensor | None,
    ) -> torch.Tensor:
        wanted = ctx.needs_input_grad
        to_rows = torch.empty_like(rows) if wanted[0] else None
        to_columns = torch.zeros_like(columns) if wanted[1] else None
        to_own = torch.empty_like(own) if own is not None and wanted[2] else None
        found = rows.new_empty(len(rows))
        step = max(1, _CELLS[rows.device.type == "cuda"] // max(1, len(columns)))
        held = rows.new_empty(min(step, len(rows)), len(columns))
        for first in range(0, len(rows), step):
            part = slice(first, min(first + step, len(rows)))
            # (b, n), overwritten by the next
            products = torch.mm(rows[part], columns.T, out=held[: part.stop - first])
            if own is not None:
                products.diagonal(first).copy_(own[part])
            top = products.amax(1, keepdim=True)  # (b, 1)
            sums = products.sub_(top).exp_().sum(1, keepdim=True)  # (b, 1)
            found[part] = (top + sums.log())[:, 0]
            # A product's share in its row's sum is itself times this; in the mean, but for one factor.
            scale = sums.reciprocal_() if weights is None else weights[part, None] / sums
            if own is not None:
                if to_own is not None:
                    to_own[part] = products.diagonal(first) * scale[:, 0]
                products.diagonal(first).zero_()
            if to_rows is not None:
                torch.mm(products, columns, out=to_rows[part]).mul_(scale)
            if to_columns is not None:
                to_columns.addmm_(products.T, rows[part] * scale)
        ctx.save_for_backward(to_rows, to_columns, to_own)
        ctx.many = len(rows) if weights is None else 1
        return found.mean() if weights is None else (found * weights).sum()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        factor = grad / max(1, ctx.many)
        return *(None if to is None else to * factor for to in ctx.saved_tensors), None
