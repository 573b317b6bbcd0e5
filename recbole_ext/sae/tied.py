"""A tied sparse autoencoder of item vectors, whose codes are spread out by a uniformity loss.

A file of its own beside `coder.py`: there latents are rectified, the decoder is free with rows of length 1, biases of encoder and decoder
are two, sums are means over coordinates, and dead latents are helped by a loss; here nothing of that holds.
"""

from __future__ import annotations

import torch
from torch import nn

_EPS = 1e-7
"""Added to deviations and least of norms, so that a constant vector and an empty code are no division by 0 (ours)."""
_SHARPNESS = 2.0
"""Of the kernel of the uniformity loss, t in exp(-t ‖a - b‖²)."""
_DEARER = 1500
"""A pair of values at one latent costs as much as so many products of a dense matrix (measured, forth and back, one thread)."""


class TiedCoder(nn.Module):
    """SAULREC (CIKM 2025), eq. 5-8. With μ and σ the mean and the sample deviation of a vector x over its own d coordinates::

        x̃ = (x - μ) / σ
        h = TopK((x̃ - b_pre) W + b_enc)           [B, h], the k largest values, signed: no ReLU is stated
        x̂ = μ + σ (h W' + b_pre)                  W' = Wᵀ where tied

    Loss: mean over the batch of ‖x - x̂‖², the sum over coordinates, plus beta times `uniformity`. No loss helps dead latents.

    Ours: eq. 5 overwrites x, so that eq. 7 read literally compares x̃ with x̂; here both are raw. The deviation is that of a sample, one bias is
    shared by both sides, W starts from Kaiming's uniform, and an untied W' starts from Wᵀ.
    """

    def __init__(self, width: int, latents: int, k: int, tied: bool, standardise: bool) -> None:
        """Args:
        width: d.
        latents: h.
        k: latents of a vector that are not 0.
        tied: whether the decoder is the encoder's transpose throughout.
        standardise: False takes x for x̃, with μ 0 and σ 1.
        """
        super().__init__()
        self.k, self.standardise = k, standardise
        self.encoder = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(latents, width)))
        """Wᵀ [h, d]."""
        self.encoder_bias = nn.Parameter(torch.zeros(latents))
        self.bias = nn.Parameter(torch.zeros(width))
        self.decoder = None if tied else nn.Parameter(self.encoder.detach().clone())
        """W' [h, d]; None where it is `encoder`."""

    def standardised(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(x̃ [B, d], μ [B, 1], σ [B, 1])."""
        if not self.standardise:
            return x, x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
        mean, deviation = x.mean(1, keepdim=True), x.std(1, keepdim=True)
        return (x - mean) / (deviation + _EPS), mean, deviation

    def code(self, x: torch.Tensor) -> torch.Tensor:
        """h [B, h] of x [B, d]: k values of each row, the others 0."""
        values, places = self.largest(x)
        return _dense(values, places, len(self.encoder))

    def largest(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """([B, k] values, [B, k] latents) of x [B, d] that are not 0, the largest first."""
        standard, _, _ = self.standardised(x)
        dense = (standard - self.bias) @ self.encoder.T + self.encoder_bias
        values, places = dense.topk(self.k, dim=1)
        return values, places

    def labels(self, x: torch.Tensor) -> torch.Tensor:
        """[B, k] the latents of x [B, d] with the largest values, the largest first."""
        return self.largest(x)[1]

    def decoded(self, code: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """x̂ [B, d] of codes [B, h] in the scale of x [B, d]."""
        _, mean, deviation = self.standardised(x)
        weight = self.encoder if self.decoder is None else self.decoder
        made: torch.Tensor = mean + deviation * (code @ weight + self.bias)
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x̂ [B, d] of x [B, d]."""
        return self.decoded(self.code(x), x)

    def loss(self, x: torch.Tensor, beta: float) -> torch.Tensor:
        """Of a batch x [B, d]."""
        values, places = self.largest(x)
        latents = len(self.encoder)
        made = self.decoded(_dense(values, places, latents), x)
        found = (x - made).square().sum(1).mean()
        return found + beta * uniformity(values, places, latents) if beta else found


def _dense(values: torch.Tensor, places: torch.Tensor, latents: int) -> torch.Tensor:
    """[B, h] rows that have `values` [B, k] at `places` [B, k], the others 0."""
    return values.new_zeros(len(values), latents).scatter(1, places, values)


def uniformity(values: torch.Tensor, places: torch.Tensor, latents: int) -> torch.Tensor:
    """Mean over all ordered pairs of rows, a row with itself too, of exp(-2 ‖a - b‖²), rows brought to length 1.

    SAULREC's L_U (CIKM 2025): no logarithm; the B pairs of a row with itself are a constant. ‖a - b‖² is written as ‖a‖² + ‖b‖² - 2<a, b>, and
    most pairs of rows with few values have no latent in common: what they have is summed value by value, where that costs less than a product
    of dense rows.

    Args:
        values: [B, k] of each row, the others 0.
        places: [B, k] their latents, all different within a row.
        latents: h.
    """
    unit = values / values.norm(dim=1, keepdim=True).clamp_min(_EPS)
    squares = unit.square().sum(1)
    apart = squares[:, None] + squares[None] - 2 * _products(unit, places, latents)
    return torch.exp(-_SHARPNESS * apart).mean()


def _products(unit: torch.Tensor, places: torch.Tensor, latents: int) -> torch.Tensor:
    """[B, B] of all rows that have `unit` [B, k] at `places` [B, k] of h latents."""
    rows, k = places.shape
    counts = torch.bincount(places.flatten(), minlength=latents)
    if int(counts.square().sum()) * _DEARER > rows * rows * latents:
        dense = _dense(unit, places, latents)
        return dense @ dense.T
    # The values of a latent stand side by side: each meets all of them, itself too.
    order = places.flatten().argsort()
    meets = counts.repeat_interleave(counts)  # [B k] how many each meets
    begin = (counts.cumsum(0) - counts).repeat_interleave(counts)  # where those begin
    one = torch.arange(len(order), device=order.device).repeat_interleave(meets)
    step = torch.arange(len(one), device=order.device) - (meets.cumsum(0) - meets)[one]
    one, other = order[one], order[begin[one] + step]
    flat = unit.flatten()
    where = (one // k) * rows + other // k
    found = unit.new_zeros(rows * rows).index_add(0, where, flat[one] * flat[other])
    return found.view(rows, rows)
