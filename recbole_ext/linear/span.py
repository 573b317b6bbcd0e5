"""Polynomials of P̃ as weighted sums of a few, so that what many have in common is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recbole_ext.linear.filters import Coefficients


@dataclass(frozen=True)
class Span:
    """Polynomials of which each of some others is a weighted sum."""

    members: tuple[Coefficients, ...]
    """Ascending in degree."""

    @classmethod
    def of(cls, polynomials: Sequence[Coefficients]) -> Span:
        """Those that are no multiples of each other, or, where they are fewer, the T_j that are in them."""
        shapes = {_shape(p): p for p in polynomials if any(p)}
        powers = sorted({j for p in shapes.values() for j, c in enumerate(p) if c})
        if len(shapes) <= len(powers):
            return cls(tuple(sorted(shapes.values(), key=degree)))
        return cls(tuple((0.0,) * j + (1.0,) for j in powers))

    @property
    def degree(self) -> int:
        return max(map(degree, self.members), default=0)

    def weights(self, polynomial: Coefficients) -> list[float]:
        """[members] of one of the polynomials."""
        found = [0.0] * len(self.members)
        if not any(polynomial):
            return found
        for m, member in enumerate(self.members):
            if _shape(member) == _shape(polynomial):
                found[m] = _largest(polynomial) / _largest(member)
                return found
        for m, member in enumerate(self.members):
            j = degree(member)
            found[m] = polynomial[j] if j < len(polynomial) else 0.0
        return found


def _largest(polynomial: Coefficients) -> float:
    """The coefficient that is largest in size."""
    return max(polynomial, key=abs)


def _shape(polynomial: Coefficients) -> Coefficients:
    """The multiple whose largest coefficient is 1, with as many digits as a factor leaves of it; without zeros in the end."""
    by = _largest(polynomial)
    cut = polynomial[: degree(polynomial) + 1]
    return tuple(float(f"{c / by:.10g}") for c in cut)


def degree(polynomial: Coefficients) -> int:
    return max((j for j, c in enumerate(polynomial) if c), default=0)
