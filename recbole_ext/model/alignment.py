"""What ties vectors of a collaborative model to those of a language model: the alignment loss, and the projections between them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

SHARE, POWER = 0.1, 0.01
"""Of the power form: the factor before its denominators, and its exponent q (SeLLa's code)."""


def align_loss(
    projected: torch.Tensor,
    semantic: torch.Tensor,
    own: torch.Tensor,
    *,
    form: str = "infonce",
    anchor: str = "collab",
    tau: float = 0.2,
    power: float = POWER,
) -> torch.Tensor:
    """L_align of SeLLa-Rec (section 4.2, eq. 8): each anchor's cosine with its own counterpart against those with all candidates.

    With s_ij = exp(cos(a_i, c_j) / tau), `own` the candidate o(i) of anchor i, the mean over the A anchors of

        infonce   -log(s_io / sum_j s_ij)                              eq. 8, with the logarithm that it lacks and one index mended
        power     ((0.1 (s_io + sum_j s_ij))^q - s_io^q) / q           the authors' code, q = 0.01

    For q to 0 the power form is infonce with the positive counted twice, and log 0.1 added.

    Args:
        projected: [C, d_L] or [A, d_L] collaborative vectors after the projection.
        semantic: [C, d_L] or [A, d_L] item vectors of the language model. The anchors' side may have A rows, the other has C.
        own: [A] for each anchor the row of its counterpart among the candidates.
        form: `infonce` or `power`.
        anchor: whose rows are the anchors: `collab` (the paper's) takes `projected`, `llm` (the code's) `semantic`.
        tau: temperature.
        power: q.
    """
    anchors, candidates = (projected, semantic) if anchor == "collab" else (semantic, projected)
    cosine = functional.normalize(anchors, dim=1) @ functional.normalize(candidates, dim=1).T
    logits = cosine / tau  # (A, C) log s_ij
    positive = logits.gather(1, own[:, None])  # (A, 1)
    if form == "infonce":
        return (torch.logsumexp(logits, 1) - positive[:, 0]).mean()
    twice = torch.logsumexp(torch.cat([logits, positive], 1), 1)  # log(s_io + sum_j s_ij)
    # (x^q - y^q) / q by expm1: the difference of two numbers near 1 / q would lose digits for a small q.
    scaled = torch.log(torch.as_tensor(SHARE, dtype=logits.dtype, device=logits.device)) + twice
    return ((torch.expm1(power * scaled) - torch.expm1(power * positive[:, 0])) / power).mean()


def contrasted(
    item: torch.Tensor, n_items: int, among: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(Anchors [A], candidates [C], each anchor's place among the candidates [A]) of a batch of items [B] in RecBole's ids.

    Args:
        item: [B].
        n_items: with the padding item 0, which is never a candidate.
        among: `batch` (the paper as we read it: the batch's items, each once), `batch_all` (the code: an item that stands in several
            rows stands there several times, beside itself as a negative) or `all` (eq. 8 to the letter: every item).
    """
    if among == "batch_all":
        return item, item, torch.arange(len(item), device=item.device)
    once = torch.unique(item)
    if among == "batch":
        return once, once, torch.arange(len(once), device=item.device)
    return once, torch.arange(1, n_items, device=item.device), once - 1


def sella_projection(narrow: int, hidden: int, wide: int) -> nn.Sequential:
    """W2 GELU(W1 e + b1) + b2 (SeLLa-Rec eq. 7): [.., narrow] -> [.., wide]."""
    return nn.Sequential(nn.Linear(narrow, hidden), nn.GELU(), nn.Linear(hidden, wide))


def collm_projection(narrow: int, times: int, wide: int) -> nn.Sequential:
    """CoLLM's MLP with `times` as many hidden units as inputs, and ReLU: [.., narrow] -> [.., wide]."""
    return nn.Sequential(
        nn.Linear(narrow, times * narrow), nn.ReLU(), nn.Linear(times * narrow, wide)
    )
