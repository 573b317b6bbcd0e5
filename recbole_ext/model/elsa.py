"""ELSA: a linear autoencoder of low rank, whose memory is linear in the items."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.model.collaborative_autoencoder import CollaborativeAutoencoder


class ELSA(CollaborativeAutoencoder):
    """Vančura, Alves, Kasalický, Kordík, "Scalable Linear Shallow Autoencoder for Collaborative Filtering", RecSys 2022, in the form
    of the authors of "From Knots to Knobs" (arXiv 2601.11182, published code).

    With A [n, d], rows of length 1, and binary rows x [B, n]: z = x A, ŷ = ReLU(x A Aᵀ - x), which has no diagonal, since that of
    A Aᵀ is 1. The loss of a user is ‖ŷ/‖ŷ‖ - x/‖x‖‖² = 2 - 2 cos(ŷ, x). What is radial in the gradient of a row of A is removed
    before each step of Adam.

    Deviations: rows of A are brought back to length 1 after each step and not before it. The paper of 2022 has no ReLU
    (`relu: false`), normalises in the forward pass and trains by NAdam at .1. The authors hide a user's items by a score of 0, which
    ties with every negative score; here they are no candidates. A learning rate of 3e-4 and 25 epochs are theirs for 130,000
    training users; ours are chosen for few.
    """

    trainable = ("items",)
    unit_rows = ("items",)
    betas = (0.9, 0.99)
    own_keys = ("relu",)
    cfae = "ELSA"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.relu = bool(config["relu"])
        start = nn.init.kaiming_uniform_(torch.empty(self.n_items - 1, config["embedding_size"]))
        self.items = nn.Parameter(functional.normalize(start, dim=1))
        """A [n, d]."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """z [B, d] of x [B, n]."""
        return x @ self.items

    def decode(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """ŷ [B, n] of z [B, d]."""
        scores = z @ self.items.T - x
        return functional.relu(scores) if self.relu else scores

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """2 - 2 cos(ŷ, x), mean over rows x [B, n]."""
        made = self.decode(self.encode(x), x)
        return (2 - 2 * functional.cosine_similarity(made, x, dim=1)).mean()

    training_loss = loss
