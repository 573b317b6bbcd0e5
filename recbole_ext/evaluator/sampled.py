"""The expected uniform-sampled metric in closed form.

With `a` of a positive's N negatives above it, the number of sampled negatives above it among m drawn without
replacement is hypergeometric, so the mean over all draws needs no draw (Krichene and Rendle, KDD 2020, Sec. 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.metrics import PER_POSITIVE, names
from recbole_ext.evaluator.protocols import at_most
from recbole_ext.evaluator.ranks import RankTable


def expected_metrics(table: RankTable, m: int, ks: Sequence[int]) -> dict[str, Floats]:
    """Per-positive metrics among m uniform negatives, at their expectation over draws and over ties.

    A positive that ties with t negatives stands, in a random order, below a + 0..a + t of them with equal
    probability; sampling first and breaking ties afterwards gives the same law.

    Args:
        table: P positives.
        m: sampled negatives, at most the smallest `table.negatives`.
        ks: cut-offs.

    Returns:
        `hit_pp@k`, `ndcg_pp@k` for each k and `mrr_pp`, each [P].
    """
    check_sample_size(m, table.negatives)
    out = {name: np.empty(len(table)) for name in per_positive_names(ks)}
    log_factorial = _log_factorial(int(table.negatives.max(initial=0)) + 1)
    wide = (table.tied + 1) * (m + 1) > table.negatives
    _fill_wide(out, np.flatnonzero(wide), table, m, ks, log_factorial)
    for population in np.unique(table.negatives[~wide]):
        chosen = np.flatnonzero(~wide & (table.negatives == population))
        above, tied = table.above[chosen], table.tied[chosen]
        # Only ranks that occur are computed: a difference array marks the ranges above..above + tied.
        mark = np.zeros(int(population) + 2, dtype=np.int64)
        np.add.at(mark, above, 1)
        np.add.at(mark, above + tied + 1, -1)
        needed = np.flatnonzero(np.cumsum(mark) > 0)
        by_rank = _by_rank(needed, int(population), m, ks, log_factorial)
        for name, values in by_rank.items():
            prefix = np.concatenate([[0.0], np.cumsum(values)])
            low = np.searchsorted(needed, above)
            out[name][chosen] = (prefix[low + tied + 1] - prefix[low]) / (tied + 1)
    return out


def per_positive_names(ks: Sequence[int]) -> list[str]:
    """The per-positive metrics at their cut-offs."""
    return [name for metric in PER_POSITIVE.values() for name in names(metric, ks)]


def check_sample_size(m: int, negatives: Ints) -> None:
    """Refuse m outside 1 .. the fewest negatives of a test user."""
    most = int(negatives.min()) if len(negatives) else m
    if not 1 <= m <= most:
        raise HarnessError(
            f"expected@{m} needs {m} negatives, but some test user has {most}; choose m up to "
            f"that{at_most('expected@', most)}, or --protocols=full"
        )


def _by_rank(
    above: Ints, population: int, m: int, ks: Sequence[int], log_factorial: Floats
) -> dict[str, Floats]:
    """Expected metrics of a positive with exactly `above` [R] of `population` negatives above it."""
    out = {name: np.zeros(len(above)) for name in per_positive_names(ks)}
    gains = {key: metric.gain(np.arange(1, m + 2)) for key, metric in PER_POSITIVE.items()}
    for x in range(m + 1):
        chance = _pmf(x, above, population, m, log_factorial)
        for key, metric in PER_POSITIVE.items():
            for name, k in names(metric, ks).items():
                if k is None or x < k:
                    out[name] += chance * gains[key][x]
    return out


def _fill_wide(
    out: dict[str, Floats],
    places: Ints,
    table: RankTable,
    m: int,
    ks: Sequence[int],
    log_factorial: Floats,
) -> None:
    """Expected metrics of positives that tie with many, at a cost that does not grow with how many these are.

    The sum of C(j, r) C(N - j, m - r) over j < A counts the sets of m + 1 out of N + 1 whose element in place r + 1 is among the first
    A: C(N + 1, m + 1) P(at least r + 1 of m + 1 drawn are among A of N + 1). Its difference between A = a + t + 1 and A = a, divided by
    (t + 1) C(N, m), is the chance of r sampled negatives above. The division enlarges the error of a probability by N / (m t): by at most
    1 where this is used, and too much where few are tied.
    """
    gains = {key: metric.gain(np.arange(1, m + 2)) for key, metric in PER_POSITIVE.items()}
    above, tied, population = table.above[places], table.tied[places], table.negatives[places]
    scale = (population + 1) / ((m + 1.0) * (tied + 1))
    reached = np.zeros(len(places))  # P(at least r + 1) among a + t + 1, less the same among a
    sums = {name: np.zeros(len(places)) for name in out}
    for r in range(m, -1, -1):
        for among, sign in ((above + tied + 1, 1.0), (above, -1.0)):
            reached += sign * _pmf(r + 1, among, population + 1, m + 1, log_factorial)
        for key, metric in PER_POSITIVE.items():
            for name, k in names(metric, ks).items():
                if k is None or r < k:
                    sums[name] += scale * reached * gains[key][r]
    for name, values in sums.items():
        out[name][places] = values


def _pmf(x: int, above: Ints, population: int | Ints, m: int, log_factorial: Floats) -> Floats:
    """[R] P(x of m sampled negatives are among the `above` of `population`), without replacement."""
    possible = (x <= above) & (m - x <= population - above)
    a = np.where(possible, above, x)
    rest = np.where(possible, population - above, m - x)
    log = (
        (log_factorial[a] - log_factorial[x] - log_factorial[a - x])
        + (log_factorial[rest] - log_factorial[m - x] - log_factorial[rest - (m - x)])
        - (log_factorial[population] - log_factorial[m] - log_factorial[population - m])
    )
    return np.asarray(np.where(possible, np.exp(log), 0.0), dtype=np.float64)


def hypergeometric(above: Ints, population: int, m: int) -> Floats:
    """[R, m + 1] P(x of m sampled negatives are above) for each number `above` [R] of `population`."""
    log_factorial = _log_factorial(population)
    return np.stack([_pmf(x, above, population, m, log_factorial) for x in range(m + 1)], axis=1)


def _log_factorial(n: int) -> Floats:
    """[n + 1] ln(i!). Summed logs: the error stays below n ulp of the sum, 1e-9 at n = 10^5."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1, dtype=np.float64)))])
