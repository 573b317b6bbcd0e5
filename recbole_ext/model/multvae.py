"""MultVAE: a variational autoencoder with a multinomial likelihood."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.model.collaborative_autoencoder import CollaborativeAutoencoder

_WIDER = 3
"""Times d: the hidden layer."""
_DROPPED = 0.5


class MultVAE(CollaborativeAutoencoder):
    """Liang, Krishnan, Hoffman, Jebara, "Variational Autoencoders for Collaborative Filtering", WWW 2018, in the form of the authors
    of "From Knots to Knobs" (arXiv 2601.11182, published code).

    encoder: x [B, n], half of it dropped, not normalised -> tanh, 3d -> μ and log σ² [B, d]; decoder: z -> tanh, 3d -> logits [B, n].
    The loss is -Σ_i x_i log softmax(logits)_i / n + β · KL(N(μ, σ²) ‖ N(0, 1)) / d, means over the batch; β grows by `annealing`
    a step up to `beta`. Scores are the logits of z = μ.

    Deviations: the stage stops by the likelihood alone (our choice). The paper of 2018 normalises x, sums both terms, and takes 600 hidden and 200 latent units:
    that is RecBole's `MultiVAE`.
    """

    trainable = ("encoder", "decoder", "steps")
    own_keys = ("beta", "annealing")
    cfae = "MultVAE"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        n, d = self.n_items - 1, int(config["embedding_size"])
        hidden = _WIDER * d
        self.beta, self.annealing = float(config["beta"]), float(config["annealing"])
        self.encoder = nn.Sequential(nn.Linear(n, hidden), nn.Tanh(), nn.Linear(hidden, 2 * d))
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.Tanh(), nn.Linear(hidden, n))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        """Of training, which β follows."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """μ [B, d] of x [B, n]."""
        mean: torch.Tensor = self.encoder(x).chunk(2, dim=1)[0]
        return mean

    def decode(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Logits [B, n] of z [B, d]."""
        logits: torch.Tensor = self.decoder(z)
        return logits

    def training_loss(self, x: torch.Tensor) -> torch.Tensor:
        """The whole loss, mean over rows x [B, n], with dropout and a drawn z."""
        self.steps += 1
        mean, log_variance = self.encoder(functional.dropout(x, _DROPPED)).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
        beta = torch.clamp(self.steps * self.annealing, max=self.beta)
        bound: torch.Tensor = self._unlikelihood(z, x) + beta * divergence
        return bound

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """The likelihood's part for z = μ: β, which grows, would make epochs incomparable."""
        return self._unlikelihood(self.encode(x), x)

    def _unlikelihood(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return -(x * functional.log_softmax(self.decoder(z), dim=1)).mean()
