"""UniSRec without sequences: what AlphaRec's paper compares zero-shot with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.model.alpharec import AlphaRec


class UniSRec(AlphaRec):
    """Hou, Mu, Zhao, Li, Ding, Wen, "Towards Universal Sequence Representation Learning for Recommender Systems", KDD
    2022, in the form of AlphaRec's appendix C.3.2: its item encoder, trained as collaborative filtering.

    v_i = Σ_g gate_g(x_i) (x_i - b_g) W_g: `n_experts` parametric whitenings, mixed by softmax(x W + noise), the noise
    being normal with deviation softplus(x W') while training. A user is the mean of its items.

    Deviations: no Transformer over the sequence and no sequence-to-sequence contrast, as there; loss, negatives and cosine
    are AlphaRec's, since its paper says no more than "the training paradigm of CF".
    """

    def mapping(self, config: Any, wide: int) -> nn.Module:
        """The adaptor: [.., wide] -> [.., embedding_size]."""
        return Experts(wide, config["embedding_size"], config["n_experts"], config["dropout_prob"])


class Experts(nn.Module):
    """A noisy mixture of parametric whitenings."""

    def __init__(self, wide: int, size: int, n_experts: int, dropout: float) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(wide, n_experts, 1))
        self.weight = nn.Parameter(torch.empty(wide, n_experts, size).normal_(0.0, 0.02))
        self.gate = nn.Linear(wide, n_experts, bias=False)
        self.noise = nn.Linear(wide, n_experts, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """[n, wide] -> [n, size]."""
        gates = self.gate(text)
        if self.training:
            gates = gates + torch.randn_like(gates) * (functional.softplus(self.noise(text)) + 0.01)
        # (x - b) W = xW - bW: one product for all experts, and nothing of experts x n x wide.
        whitened = (self.dropout(text) @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])
        whitened = whitened - (self.shift * self.weight).sum(0)  # (n, experts, size)
        mixed: torch.Tensor = (gates.softmax(1)[:, :, None] * whitened).sum(1)
        return mixed
