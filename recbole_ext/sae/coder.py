"""A sparse autoencoder of dense vectors: a wide code of few non-zero numbers, from which each vector is put together again."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

KINDS = ("basic", "topk", "batchtopk")
_EPS = 1e-7
_SLOW = 0.99
"""Of the running mean of BatchTopK's threshold."""
_SILENT = 5
"""Batches without it firing, after which a latent counts as dead."""
_REVIVED = 512
"""Dead latents that are helped at once."""


class SparseCoder(nn.Module):
    """Spišák, Škoda, Vančura, Alves, Peška, "From Knots to Knobs: Towards Steerable Collaborative Filtering Using Sparse
    Autoencoders", arXiv 2601.11182; the authors' published code says what the abstract leaves open.

    With z [B, d] and the mean μ and deviation σ of each vector over its own d coordinates, z̃ = (z - μ) / (σ + 1e-7)::

        e = sparsify(ReLU((z̃ - b_dec) W_enc + b_enc))      [B, h]
        ẑ = μ + σ (e W_dec + b_dec)                         [B, d]

    The rows of W_dec [h, d] are of length 1. `basic` keeps every e, `topk` each vector's k largest (fewer where fewer are above 0),
    `batchtopk` the k·B largest of a batch; when it scores, those above the running mean of the smallest that it kept.

    Deviations: the authors' standardisation overwrites its argument, so that their loss compares the output with z̃ and not with
    z: here `target="standardised"`. `batchtopk`, the help for dead latents (`auxiliary`) and `rescale` are not the paper's.
    """

    threshold: torch.Tensor
    silent: torch.Tensor

    def __init__(self, width: int, latents: int, kind: str, k: int, rescale: bool = False) -> None:
        """Args:
        width: d.
        latents: h.
        kind: one of KINDS.
        k: of topk and batchtopk.
        rescale: whether an output is brought to the length of its input; not in the loss.
        """
        super().__init__()
        self.kind, self.k, self.rescale = kind, k, rescale
        self.encoder = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(width, latents)))
        self.encoder_bias = nn.Parameter(torch.zeros(latents))
        self.decoder = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(latents, width)))
        self.decoder_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("silent", torch.zeros(latents, dtype=torch.int32))
        with torch.no_grad():
            self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))

    def standardised(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(z̃ [B, d], μ [B, 1], σ [B, 1]); z stays as it is."""
        mean = z.mean(1, keepdim=True)
        deviation = z.std(1, keepdim=True)
        return (z - mean) / (deviation + _EPS), mean, deviation

    def before_sparsity(self, standard: torch.Tensor) -> torch.Tensor:
        """[B, h] of z̃ [B, d]."""
        return functional.relu((standard - self.decoder_bias) @ self.encoder + self.encoder_bias)

    def code(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(e [B, h], μ [B, 1], σ [B, 1]) of z [B, d]; a row does not depend on the others of its batch."""
        standard, mean, deviation = self.standardised(z)
        return self._sparsified(self.before_sparsity(standard)), mean, deviation

    def decoded(
        self, code: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor
    ) -> torch.Tensor:
        """ẑ [B, d] of codes [B, h]."""
        return mean + deviation * (code @ self.decoder + self.decoder_bias)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """ẑ [B, d] of z [B, d]."""
        return self.remade(self.code(z)[0], z)

    def remade(self, code: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """ẑ [B, d] of codes [B, h], its own or others, in the place of z [B, d]; one row of z may have many codes."""
        _, mean, deviation = self.standardised(z)
        made = self.decoded(code, mean, deviation)
        return self.resized(made, z) if self.rescale else made

    def resized(self, made: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """[B, d] as long as the rows of z [B, d]."""
        length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        return torch.mul(functional.normalize(made, dim=1, eps=_EPS), length)

    def _sparsified(self, code: torch.Tensor) -> torch.Tensor:
        if self.kind == "topk":
            return _largest(code, self.k)
        if self.kind == "batchtopk":
            return code * (code > self.threshold)
        return code

    def loss(
        self, z: torch.Tensor, reconstruction: str, target: str, l1: float, auxiliary: float = 0.0
    ) -> torch.Tensor:
        """Rec(ẑ, z) + l1 · ‖e‖₁, means over the batch.

        Args:
            z: [B, d].
            reconstruction: `cosine`, 1 - cos; or `l2`, the square of the difference, averaged over coordinates too.
            target: `input`, z; or `standardised`, z̃, though the output is in the scale of z.
            l1: weight of the codes' sum.
            auxiliary: weight of what dead latents make of the rest; 0 where it is not trained.
        """
        standard, mean, deviation = self.standardised(z)
        dense = self.before_sparsity(standard)
        code = self._in_training(dense) if self.training else self._sparsified(dense)
        made = self.decoded(code, mean, deviation)
        wanted = z if target == "input" else standard
        found = _difference(made, wanted, reconstruction) + l1 * code.sum(1).mean()
        if self.training:
            fired = (code.detach() > 0).any(0)
            self.silent = torch.where(fired, 0, self.silent + 1)
            if auxiliary:
                found = found + auxiliary * self._of_the_dead(dense, standard, code)
        return found

    def _in_training(self, code: torch.Tensor) -> torch.Tensor:
        if self.kind != "batchtopk":
            return self._sparsified(code)
        flat = _largest(code.view(1, -1), self.k * len(code)).view_as(code)
        with torch.no_grad():
            kept = flat[flat > 0]
            if len(kept):
                # The first batch says it all, later ones a hundredth.
                slow = _SLOW if float(self.threshold) > 0 else 0.0
                self.threshold.mul_(slow).add_((1 - slow) * kept.min())
        return flat

    def _of_the_dead(
        self, dense: torch.Tensor, standard: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        """How far the dead latents are from making what the others leave."""
        dead = self.silent > _SILENT
        if not bool(dead.any()):
            return dense.new_zeros(())
        left = (standard - code @ self.decoder - self.decoder_bias).detach()
        helping = _largest(dense * dead, _REVIVED)
        return (helping @ self.decoder - left).square().mean()


def _largest(code: torch.Tensor, k: int) -> torch.Tensor:
    """Each row's k largest, the others 0."""
    if k >= code.shape[1]:
        return code
    values, places = code.topk(k, dim=1)
    return torch.zeros_like(code).scatter(1, places, values)


def _difference(made: torch.Tensor, wanted: torch.Tensor, how: str) -> torch.Tensor:
    if how == "cosine":
        return (1 - functional.cosine_similarity(made, wanted, dim=1, eps=_EPS)).mean()
    return (made - wanted).square().mean()
