"""What graph and language models contrast: scores of sampled negatives, InfoNCE over them, and InfoNCE between two views."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn import functional

from recbole_ext.core.sparse import by_rows


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


def among(one: torch.Tensor, two: torch.Tensor, others: torch.Tensor, tau: float) -> torch.Tensor:
    """Mean over the rows of -cos(a, b)/τ + log Σ_{c in others} e^(cos(a, c)/τ), as in the code of RLMRec (WWW 2024).

    Args:
        one: [B, d] a.
        two: [B, d] b, one for each a.
        others: [n, d] c, b itself among them; all three are normalised here.
        tau: temperature.
    """
    one, two, others = (functional.normalize(x, dim=1) for x in (one, two, others))
    every = torch.logsumexp(one @ others.T / tau, 1)  # (B,) of (B, n)
    return (every - (one * two).sum(1) / tau).mean()


def between_views(one: torch.Tensor, two: torch.Tensor, tau: float) -> torch.Tensor:
    """InfoNCE between two views of the same B nodes, the others of the batch being the negatives, as in SimGCL (SIGIR 2022).

    Args:
        one: [B, d].
        two: [B, d]; both are normalised here.
        tau: temperature.
    """
    logits = functional.normalize(one, dim=1) @ functional.normalize(two, dim=1).T / tau  # (B, B)
    return (torch.logsumexp(logits, 1) - logits.diagonal()).mean()  # Eq. 2 of SimGCL
