"""From sampled ranks back to full ranking: estimators of a full per-positive metric, and what cannot be known.

A positive stands below `a` of its N negatives; of m negatives drawn without replacement, x ~ Hypergeom(N, a, m) stand
above it. Given the x of many positives, each estimator guesses the mean of a metric of 1 + a. Popularity-sampled lists
have no such law, and none of this applies to them.

References: Krichene and Rendle, KDD 2020 (rank plug-in, BV); Jin, Li, Gao, Liu, Liu, AAAI 2021 (MLE by EM); Li, Jin,
Gao, Liu, AAAI 2023 (a learned prior in BV); Li, Jin, Gao, Liu, KDD 2020 (the effective cut-off).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from recbole_ext.evaluator.findings import Corrected
from recbole_ext.evaluator.metrics import Floats
from recbole_ext.evaluator.ranks import Ints
from recbole_ext.evaluator.sampled import hypergeometric

EM_STEPS = 100
"""Fixed: the number of steps is the regulariser (at 10,000 the mass at the top vanishes)."""
GAMMA = 0.1
_EXACT = 1000
"""Ranks up to here stand for themselves, deeper ones for geometrically growing ranges."""
_GROWTH = 1.02
_BIN = 1.01
"""Users whose numbers of negatives differ by less than this factor share a table."""


@dataclass(frozen=True)
class SampledRanks:
    """How often a sampled rank was seen, by the number of negatives that it was drawn from."""

    m: int
    negatives: Ints
    """[B] N of each bin of users."""
    weight: Floats
    """[B, m + 1] share of each bin and each x = 0..m; sums to 1."""
    effective: float
    """Number of equally weighted positives that would have the same sampling error."""


def sampled_ranks(above: Ints, tied: Ints, user: Ints, negatives: Ints, m: int) -> SampledRanks:
    """Count sampled ranks; ties are spread evenly over the places that they may take.

    Args:
        above: [P, draws] negatives of the list above the positive.
        tied: [P, draws] those of the same score.
        user: [P] users of the positives; each positive weighs 1 over the number of its user's.
        negatives: [P] N.
        m: length of a list.
    """
    _, place, counts = np.unique(user, return_inverse=True, return_counts=True)
    weight = 1.0 / counts[place] / len(counts)
    label = np.round(np.log(negatives) / np.log(_BIN)).astype(np.int64)
    labels, which = np.unique(label, return_inverse=True)
    middle = np.array([int(np.median(negatives[which == b])) for b in range(len(labels))])
    draws = above.shape[1]
    # A difference array over x: + at the first place that a tie allows, - behind the last.
    share = np.repeat((weight / draws)[:, None], draws, axis=1) / (tied + 1)
    edges = np.zeros((len(labels), m + 2))
    bins = np.repeat(which[:, None], draws, axis=1)
    np.add.at(edges, (bins, above), share)
    np.add.at(edges, (bins, above + tied + 1), -share)
    shares = np.maximum(np.cumsum(edges, axis=1)[:, :-1], 0.0)  # 1e-16 below 0 is rounding
    return SampledRanks(m, middle, shares, float(1.0 / (weight**2).sum()))


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
    if name == "mrr_pp":
        return np.asarray(1.0 / (above + 1.0), dtype=np.float64)
    kind, _, k = name.partition("@")
    inside = above < int(k)
    gain = np.ones(len(above)) if kind == "hit_pp" else 1.0 / np.log2(above + 2.0)
    return np.asarray(np.where(inside, gain, 0.0), dtype=np.float64)


def corrected(seen: SampledRanks, names: Sequence[str]) -> dict[str, Corrected]:
    """Every estimator of every metric in `names` (`hit_pp@k`, `ndcg_pp@k`, `mrr_pp`)."""
    return Correction(seen).all(names)


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

    def all(self, names: Sequence[str]) -> dict[str, Corrected]:
        prior = self.mle(self.seen.weight[None])[0]
        found = {}
        for name in names:
            low, high = self.identified(name)
            found[name] = Corrected(
                naive=float(self.seen.weight.sum(0) @ metric_at(name, np.arange(self.seen.m + 1))),
                plug_in=self.mean_of(self.plug_in(name)),
                bv=self.mean_of(self.bv(name, self.uniform)),
                mle=self.under(prior, name),
                bv_mle=self.mean_of(self.bv(name, prior)),
                low=low,
                high=high,
            )
        return found

    def mean_of(self, values: Floats) -> float:
        """Mean of a per-positive estimate f [B, m + 1] over the positives seen."""
        return float((self.seen.weight * values).sum())

    def under(self, prior: Floats, name: str) -> float:
        """Mean of a metric under a distribution [G] of depths, bins as they were seen."""
        shares = self.seen.weight.sum(1)
        return float(
            sum(s * (prior @ metric_at(name, a)) for s, a in zip(shares, self.above, strict=True))
        )

    def plug_in(self, name: str) -> Floats:
        """f(x) = M at the floor of the unbiased rank 1 + N x / m. With k <= N / m only x = 0 scores."""
        x = np.arange(self.seen.m + 1)
        return np.array([metric_at(name, (n * x) // self.seen.m) for n in self.seen.negatives])

    def bv(self, name: str, prior: Floats, gamma: float = GAMMA) -> Floats:
        """f that minimises the mean over `prior` of (E f - M)² + γ Var f; γ = 1 is the conditional mean of M."""
        out = []
        for above, table in zip(self.above, self.tables, strict=True):
            a = np.sqrt(prior)[:, None] * table
            normal = (1 - gamma) * a.T @ a + gamma * np.diag(prior @ table)
            right = a.T @ (np.sqrt(prior) * metric_at(name, above))
            out.append(np.linalg.lstsq(normal, right, rcond=1e-12)[0])
        return np.array(out)

    def mle(self, weights: Floats, steps: int = EM_STEPS) -> Floats:
        """EM for the distribution of depths from `weights` [R, B, m + 1], one row per resample; uniform at the start."""
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

    def identified(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """The metric's smallest and largest value over rank distributions that explain what was seen.

        Depth and number of negatives are taken as independent. Each frequency may be off by its own simultaneous
        normal error; a linear program over the grid of depths finds the ends.
        """
        shares = self.seen.weight.sum(1)
        law = sum(s * t for s, t in zip(shares, self.tables, strict=True))
        value = sum(s * metric_at(name, a) for s, a in zip(shares, self.above, strict=True))
        frequency = self.seen.weight.sum(0)
        z = float(stats.norm.ppf(1 - (1 - level) / 2 / (self.seen.m + 1)))
        smoothed = (frequency * self.seen.effective + 1) / (self.seen.effective + self.seen.m + 1)
        error = z * np.sqrt(smoothed * (1 - smoothed) / self.seen.effective)
        bounds = np.concatenate([frequency + error, error - frequency])
        ends = []
        for sign in (1.0, -1.0):
            done = optimize.linprog(
                sign * np.asarray(value), A_ub=np.vstack([law.T, -law.T]), b_ub=bounds,
                A_eq=np.ones((1, len(self.uniform))), b_eq=[1.0], bounds=(0, None), method="highs",
            )  # fmt: skip
            ends.append(sign * float(done.fun or 0.0) if done.success else float("nan"))
        return ends[0], ends[1]
