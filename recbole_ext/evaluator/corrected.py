"""From sampled ranks back to full ranking: estimators of a full per-positive metric, and what cannot be known.

A positive stands below `a` of its N negatives; of m negatives drawn without replacement, x ~ Hypergeom(N, a, m) stand
above it. Given the x of many positives, each estimator guesses the mean of a metric of 1 + a. Popularity-sampled lists
have no such law, and none of this applies to them.

References: Krichene and Rendle, KDD 2020 (rank plug-in, BV); Jin, Li, Gao, Liu, Liu, AAAI 2021 (MLE by EM); Li, Jin,
Gao, Liu, AAAI 2023 (a learned prior in BV); Li, Jin, Gao, Liu, KDD 2020 (the effective cut-off).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.evaluator.findings import Corrected
from recbole_ext.evaluator.metrics import PER_POSITIVE
from recbole_ext.evaluator.sampled import hypergeometric

EM_STEPS = 100
"""Fixed: the number of steps is the regulariser (at 10,000 the mass at the top vanishes)."""
GAMMA = 0.1
_EXACT = 200
"""Ranks up to here stand for themselves, deeper ones for geometrically growing ranges."""
_GROWTH = 1.02
_BIN = 1.02
"""Users whose numbers of negatives differ by less than this factor share a table, made for the median of them."""


@dataclass(frozen=True)
class SampledRanks:
    """How often each user's positives were seen at a sampled rank."""

    m: int
    negatives: Ints
    """[B] N of each bin of users."""
    bin: Ints
    """[U] which bin a user is in; users ascending."""
    share: Floats
    """[U, m + 1] shares of x = 0..m among a user's positives and draws; a row sums to 1."""
    effective: float
    """Number of equally weighted positives that would have the same sampling error."""

    @property
    def weight(self) -> Floats:
        """[B, m + 1] share of each bin and each x among all users; sums to 1."""
        return np.asarray(self.weights(np.ones((1, len(self.bin))))[0])

    def weights(self, multiplicities: Floats) -> Floats:
        """[R, B, m + 1] the same for users counted `multiplicities` [R, U] times: a bootstrap's resamples."""
        out = np.empty((len(multiplicities), len(self.negatives), self.m + 1))
        for b in range(len(self.negatives)):
            inside = self.bin == b
            out[:, b] = multiplicities[:, inside] @ self.share[inside]
        return np.asarray(out / multiplicities.sum(axis=1)[:, None, None])


def sampled_ranks(above: Ints, tied: Ints, user: Ints, negatives: Ints, m: int) -> SampledRanks:
    """Count sampled ranks; ties are spread evenly over the places that they may take.

    Args:
        above: [P, draws] negatives of the list above the positive.
        tied: [P, draws] those of the same score.
        user: [P] users of the positives; each positive weighs 1 over the number of its user's.
        negatives: [P] N, the same for all positives of a user.
        m: length of a list.
    """
    users, first, place, counts = np.unique(
        user, return_index=True, return_inverse=True, return_counts=True
    )
    of_user = negatives[first]
    label = np.round(np.log(of_user) / np.log(_BIN)).astype(np.int64)
    labels, which = np.unique(label, return_inverse=True)
    middle = np.array([int(np.median(of_user[which == b])) for b in range(len(labels))])
    draws = above.shape[1]
    # A difference array over x: + at the first place that a tie allows, - behind the last.
    part = 1.0 / ((counts[place] * draws)[:, None] * (tied + 1))
    edges = np.zeros((len(users), m + 2))
    rows = np.repeat(place[:, None], draws, axis=1)
    np.add.at(edges, (rows, above), part)
    np.add.at(edges, (rows, above + tied + 1), -part)
    share = np.maximum(np.cumsum(edges, axis=1)[:, :-1], 0.0)  # 1e-16 below 0 is rounding
    effective = len(users) ** 2 / float((1.0 / counts).sum())
    return SampledRanks(m, middle, which, share, effective)


@dataclass(frozen=True)
class _Grid:
    """Depths shared by all bins of users: depth g is `place[g]` of the way down, and stands for `width[g]` ranks."""

    place: Floats
    width: Floats

    def above(self, negatives: int) -> Ints:
        """[G] negatives above at each depth, for a user with that many."""
        return np.minimum(np.round(self.place * negatives), negatives).astype(np.int64)


def _grid(largest: int) -> _Grid:
    edges = list(range(min(_EXACT, largest + 1) + 1))
    while edges[-1] < largest + 1:
        edges.append(min(largest + 1, max(edges[-1] + 1, int(edges[-1] * _GROWTH))))
    low, high = np.array(edges[:-1]), np.array(edges[1:])
    return _Grid((low + high - 1) / 2 / largest, (high - low).astype(np.float64))


def metric_at(name: str, above: Ints) -> Floats:
    """`hit_pp@k`, `ndcg_pp@k` or `mrr_pp` of a positive with `above` negatives above it."""
    key, cut, k = name.partition("@")
    gain = PER_POSITIVE[key].gain(above + 1)
    return np.asarray(np.where(above < int(k), gain, 0.0) if cut else gain, dtype=np.float64)


def corrected(
    seen: SampledRanks, names: Sequence[str], multiplicities: Floats | None = None
) -> dict[str, Corrected]:
    """Every estimator of every metric in `names` (`hit_pp@k`, `ndcg_pp@k`, `mrr_pp`).

    Args:
        seen: the sampled ranks.
        names: metrics.
        multiplicities: [R, U] how often each user stands in a resample; with it each estimate has its 95% percentile
            interval.
    """
    correction = Correction(seen)
    points = correction.estimates(seen.weight[None], names)
    drawn = (
        correction.estimates(seen.weights(multiplicities), names)
        if multiplicities is not None
        else {}
    )
    return {name: correction.result(name, points[name], drawn.get(name, {})) for name in names}


class Correction:
    """The tables that the estimators share, for one number of negatives m and one set of users."""

    def __init__(self, seen: SampledRanks) -> None:
        self.seen = seen
        self.grid = _grid(int(seen.negatives.max()))
        self.above = [self.grid.above(int(n)) for n in seen.negatives]
        self.tables = [
            hypergeometric(above, int(n), seen.m)
            for above, n in zip(self.above, seen.negatives, strict=True)
        ]
        """One [G, m + 1] law of the sampled rank per bin."""
        self.uniform = self.grid.width / self.grid.width.sum()

    def estimates(self, weights: Floats, names: Sequence[str]) -> dict[str, dict[str, Floats]]:
        """Metric -> estimator -> [R] estimates, from `weights` [R, B, m + 1]."""
        prior = self.mle(weights)
        flat, learned = self.bv(names, self.uniform[None]), self.bv(names, prior)
        shares = weights.sum(axis=2)  # (R, B)
        found = {}
        for name in names:
            at_x = metric_at(name, np.arange(self.seen.m + 1))
            at_depth = np.array([metric_at(name, above) for above in self.above])  # (B, G)
            found[name] = {
                "naive": weights.sum(axis=1) @ at_x,
                "plug_in": np.einsum("rbx,bx->r", weights, self.plug_in(name)),
                "bv": np.einsum("rbx,bx->r", weights, flat[name][0]),
                "mle": ((prior @ at_depth.T) * shares).sum(axis=1),
                "bv_mle": np.einsum("rbx,rbx->r", weights, learned[name]),
            }
        return found

    def result(
        self, name: str, points: Mapping[str, Floats], drawn: Mapping[str, Floats]
    ) -> Corrected:
        """One metric's estimates [1], with the intervals that resampled ones [R] give."""
        low, high, widened = self.identified(name)
        ends = {}
        for kind, values in drawn.items():
            a, b = np.quantile(values, [0.025, 0.975])
            ends[kind] = (float(a), float(b))
        return Corrected(
            **{kind: float(value[0]) for kind, value in points.items()},
            low=low,
            high=high,
            widened=widened,
            ends=ends,
        )

    def plug_in(self, name: str) -> Floats:
        """[B, m + 1] M at the floor of the unbiased rank 1 + N x / m. With k <= N / m only x = 0 scores."""
        x = np.arange(self.seen.m + 1)
        return np.array([metric_at(name, (n * x) // self.seen.m) for n in self.seen.negatives])

    def bv(self, names: Sequence[str], priors: Floats, gamma: float = GAMMA) -> dict[str, Floats]:
        """Metric -> [R, B, m + 1] the f that minimises the mean over a prior [R, G] of (E f - M)² + γ Var f.

        γ = 1 is the conditional mean of M. The normal equations, the same for all metrics, are scaled by the chances of
        the x, after which their eigenvalues lie between γ and 1; an x that the prior makes impossible gets 0.
        """
        out = np.zeros((len(names), len(priors), len(self.tables), self.seen.m + 1))
        for b, (above, table) in enumerate(zip(self.above, self.tables, strict=True)):
            gains = np.stack([metric_at(name, above) for name in names], axis=1)  # (G, metrics)
            for r, prior in enumerate(priors):
                chance = prior @ table
                scale = np.divide(1.0, np.sqrt(chance), out=np.zeros_like(chance), where=chance > 0)
                scaled = table * scale
                normal = (1 - gamma) * (scaled.T * prior) @ scaled
                normal[np.diag_indices_from(normal)] += np.where(chance > 0, gamma, 1.0)
                solved = np.linalg.solve(normal, scaled.T @ (prior[:, None] * gains))
                out[:, r, b] = (scale[:, None] * solved).T
        return dict(zip(names, out, strict=True))

    def mle(self, weights: Floats, steps: int = EM_STEPS) -> Floats:
        """[R, G] EM for the distribution of depths from `weights` [R, B, m + 1]; uniform at the start."""
        found = np.repeat(self.uniform[None], len(weights), axis=0)
        total = weights.sum(axis=(1, 2))[:, None]
        for _ in range(steps):
            update = np.zeros_like(found)
            for b, table in enumerate(self.tables):
                explained = found @ table
                ratio = np.divide(
                    weights[:, b], explained, out=np.zeros_like(explained), where=explained > 0
                )
                update += ratio @ table.T
            found *= update / total
        return found

    def identified(self, name: str, level: float = 0.95) -> tuple[float, float, float]:
        """(low, high, widened): the metric's ends over rank distributions that explain what was seen.

        Depth and number of negatives are taken as independent. Each frequency may be off by its own simultaneous
        normal error; where no distribution comes that close, every error is widened by the smallest factor with which
        one does (1 otherwise). Linear programs over the grid of depths find the factor and the ends.
        """
        weight = self.seen.weight
        shares, frequency = weight.sum(1), weight.sum(0)
        law = sum(s * t for s, t in zip(shares, self.tables, strict=True))
        value = sum(s * metric_at(name, a) for s, a in zip(shares, self.above, strict=True))
        z = float(stats.norm.ppf(1 - (1 - level) / 2 / (self.seen.m + 1)))
        smoothed = (frequency * self.seen.effective + 1) / (self.seen.effective + self.seen.m + 1)
        error = z * np.sqrt(smoothed * (1 - smoothed) / self.seen.effective)

        def solve(goal: Floats, widened: float | None) -> Any:
            """Over (distribution, factor); the factor is free from 1 on, or given."""
            off = np.concatenate([-error, -error])[:, None]
            both = np.hstack([np.vstack([law.T, -law.T]), off])
            total = np.append(np.ones(len(self.uniform)), 0.0)[None]
            factor = (1.0, None) if widened is None else (widened, widened)
            return optimize.linprog(
                goal, A_ub=both, b_ub=np.concatenate([frequency, -frequency]), A_eq=total, b_eq=[1.0],
                bounds=[(0, None)] * len(self.uniform) + [factor], method="highs",
            )  # fmt: skip

        factor_only = np.append(np.zeros(len(self.uniform)), 1.0)
        # A hair more than the smallest factor, so that rounding leaves the ends something to move in.
        widened = max(1.0, float(solve(factor_only, None).fun) * (1 + 1e-6))
        goal = np.append(np.asarray(value), 0.0)
        low, high = (sign * float(solve(sign * goal, widened).fun) for sign in (1.0, -1.0))
        return low, high, round(widened, 3)
