"""Leading eigenpairs of a symmetric matrix that is known by its products only: block Lanczos, on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch

TOLERANCE = 1e-8
"""Largest ‖Av - λv‖ of a pair that is given back, of a matrix whose eigenvalues are at most about 1 (ours)."""
_NULL = 1e-10
"""Eigenvalues up to this share of the largest are rounding: their vectors are anybody's."""
_LEAST_BLOCK = 16
_SEED = 0
"""Of the first block; what converges does not depend on it, so that it is no key."""

Apply = Callable[[torch.Tensor], torch.Tensor]


class _Basis:
    """Orthonormal Q [n, size] and H = QᵀAQ, grown by blocks; both in memory that is taken once."""

    def __init__(self, apply: Apply, n: int, limit: int, device: torch.device | str) -> None:
        self.apply = apply
        self.q = torch.zeros(n, limit, dtype=torch.float64, device=device)
        self.h = torch.zeros(limit, limit, dtype=torch.float64, device=device)
        self.size = 0
        # On the CPU, so that every device begins with the same block.
        self._generator = torch.Generator().manual_seed(_SEED)

    def random(self, width: int) -> torch.Tensor:
        """[n, width] orthonormal, orthogonal to the basis."""
        n = len(self.q)
        drawn = torch.randn(n, width, dtype=torch.float64, generator=self._generator)
        return self._cleaned(drawn.to(self.q.device), passes=2)

    def extend(self, block: torch.Tensor) -> torch.Tensor:
        """Takes a block [n, w] in; what A makes of it that is new [n, at most w], without columns where nothing is."""
        first, last = self.size, self.size + block.shape[1]
        self.q[:, first:last] = block
        self.size, basis = last, self.q[:, :last]
        w = self.apply(block)
        h = basis.T @ w
        w = w - basis @ h
        self.h[:last, first:last] = h
        self.h[first:last, :last] = h.T
        q, r = torch.linalg.qr(w)
        left, sizes, _ = torch.linalg.svd(r)
        new = q @ left[:, sizes > _NULL]
        return self._cleaned(new[:, : len(self.q) - last])

    def ritz(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The k best eigenpairs within the basis: [k] descending, [n, k]."""
        values, vectors = torch.linalg.eigh(self.h[: self.size, : self.size])
        best = torch.flip(vectors[:, -k:], (1,))
        return torch.flip(values[-k:], (0,)), self.q[:, : self.size] @ best

    def restart(self, keep: int) -> None:
        """The best `keep` pairs become the basis."""
        values, vectors = self.ritz(keep)
        self.size = len(values)
        self.q[:, : self.size] = vectors
        self.h.zero_()
        self.h[: self.size, : self.size] = torch.diag(values)

    def _cleaned(self, block: torch.Tensor, passes: int = 1) -> torch.Tensor:
        """Orthogonal to the basis, and orthonormal, to rounding: in floating point it takes two passes, one of which may be made."""
        basis = self.q[:, : self.size]
        for _ in range(passes):
            block = torch.linalg.qr(block - basis @ (basis.T @ block))[0]
        return block


def planned_columns(n: int, k: int) -> int:
    """Vectors [n] of float64 that `leading` holds at its peak: the basis, and the pairs with what A makes of them."""
    return _limit(n, k) + 3 * min(n, k)


def leading(
    apply: Apply, n: int, k: int, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest eigenvalues of a positive semidefinite A [n, n], and their vectors.

    Lanczos by blocks with all of the basis kept orthogonal, restarted from the best pairs where it grows too large (Golub,
    Underwood 1977; Wu, Simon 2000). A Krylov space holds of an eigenvalue no more vectors than its first block is
    wide, and a graph has the largest eigenvalue once for each of its parts: what has converged is therefore asked again
    with a fresh block of random vectors, until that brings nothing (ours). Each vector's largest entry is positive.

    Args:
        apply: [n, w] -> A [n, n] times that, float64.
        n: size.
        k: how many; fewer come back where the rank is smaller.
        device: where the vectors live.

    Returns:
        [r] descending, [n, r] float64, r <= k.
    """
    k = min(k, n)
    if k == 0:
        return torch.zeros(0, dtype=torch.float64, device=device), torch.zeros(
            n, 0, dtype=torch.float64, device=device
        )
    width, limit = min(n, _width(k)), _limit(n, k)
    basis = _Basis(apply, n, limit, device)
    block, check = basis.random(width), min(limit, 2 * k)
    confirmed: torch.Tensor | None = None
    while True:
        block = basis.extend(block)
        if basis.size == n:
            return _kept(*basis.ritz(k))
        if not block.shape[1]:  # all of a part of the space is known: go on elsewhere
            block = basis.random(min(width, n - basis.size))
        if basis.size >= check or basis.size + block.shape[1] > limit:
            values, vectors = basis.ritz(k)
            off = float((apply(vectors) - vectors * values).norm(dim=0).max())
            if len(values) == k and off <= TOLERANCE:
                # A rounding apart, or a vector that was missed.
                if confirmed is not None and float((values - confirmed).abs().max()) <= TOLERANCE:
                    return _kept(values, vectors)
                confirmed = values
                block = basis.random(min(width, n - basis.size))
            else:
                confirmed = None
            check = basis.size + 4 * width
        if basis.size + block.shape[1] > limit:
            basis.restart(min(k + width, basis.size - block.shape[1]))
            check = basis.size + 4 * width


def _width(k: int) -> int:
    return max(_LEAST_BLOCK, -(-k // 8))


def _limit(n: int, k: int) -> int:
    """Largest basis: three times what is asked for, or eight blocks above it."""
    return min(n, max(3 * k, k + 8 * _width(k)))


def _kept(values: torch.Tensor, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Without what is rounding, signs settled."""
    kept = values > _NULL * values[0].clamp_min(torch.finfo(torch.float64).tiny)
    values, vectors = values[kept], vectors[:, kept]
    largest = vectors.abs().argmax(0, keepdim=True)
    return values, vectors * vectors.gather(0, largest).sign()
