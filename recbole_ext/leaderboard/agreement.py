"""How far the order by a sampled protocol, or by an estimate from one, is the order by full ranking."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_ext.evaluator.findings import kendall_tau_b
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.analysis import (
    LEVEL,
    Analysis,
    Tested,
    Verdicts,
    order_name,
    rows_key,
    verdicts,
)
from recbole_ext.leaderboard.rows import DECIMALS, Section
from recbole_ext.leaderboard.standings import Values, pairs, values_of

ESTIMATORS = {
    "naive": "naive",
    "plug_in": "plug-in",
    "bv": "BV(0.1)",
    "mle": "MLE",
    "bv_mle": "BV-MLE",
}
"""Field of `Corrected` -> heading, from what a sampled paper prints to what knows most."""


@dataclass(frozen=True)
class Flip:
    """A pair that full ranking has the other way round."""

    first: str
    second: str
    """Labels of the better and the worse under full ranking."""
    full: Tested | None
    """Under full ranking, with p after Holm over all pairs. None where runs were not compared."""
    here: Tested | None
    """The same under the protocol; None for an estimate, which has no value per user."""

    @property
    def significant(self) -> bool:
        """Whether full ranking tells the two apart."""
        return self.full is not None and self.full.p < LEVEL


@dataclass(frozen=True)
class Agreement:
    """One order beside full ranking's."""

    protocol: str
    estimator: str
    """`naive` for the protocol's own numbers."""
    rows: int
    tau: float | None
    """Kendall's τ-b."""
    ends: tuple[float, float] | None
    """Its 95% bootstrap interval over users."""
    first: str
    """Label of full ranking's best row."""
    first_kept: bool
    pairs: int
    """Pairs with an order under both."""
    flips: tuple[Flip, ...]
    resolution: float | None
    """Share of pairs that the protocol tells apart (p < 0.05 after Holm); None where nothing was tested."""

    @property
    def heading(self) -> str:
        """As it is printed: `uni19`, or `uni19, MLE`."""
        if self.estimator == "naive":
            return self.protocol
        return f"{self.protocol}, {ESTIMATORS[self.estimator]}"


def estimates(
    section: Section, known: Analysis, protocol: str, metric: str
) -> dict[str, dict[str, float]]:
    """`full` and each estimator -> label -> value, of the rows that have all of them."""
    out: dict[str, dict[str, float]] = {name: {} for name in ("full", *ESTIMATORS)}
    for row in section.rows:
        cell = row.cell("full", metric)
        found = known.corrected.get((row.ids, protocol, metric))
        if cell is None or found is None:
            continue
        out["full"][row.label] = cell.compared
        for name in ESTIMATORS:
            out[name][row.label] = round(getattr(found, name), DECIMALS)
    return out


def agreements(section: Section, known: Analysis, metric: str) -> list[Agreement]:
    """Every order of the section's rows by a metric, beside that of full ranking; none for fewer than two rows."""
    full_tests = verdicts(section, known, "full", (metric,))
    found = []
    for protocol in section.sampled:
        if not section.comparable(protocol):
            continue
        naive = values_of(section, protocol, metric)
        tests = verdicts(section, known, protocol, (metric,))
        found.append(
            _agreement(section, known, (protocol, "naive", metric), naive, full_tests, tests)
        )
        if protocol_of(protocol).corrects:
            for name, values in estimates(section, known, protocol, metric).items():
                if name not in ("full", "naive"):
                    order = (protocol, name, metric)
                    found.append(_agreement(section, known, order, values, full_tests, {}))
    return [agreement for agreement in found if agreement.rows > 1]


def _agreement(
    section: Section,
    known: Analysis,
    order: tuple[str, str, str],
    values: Values,
    full_tests: Verdicts,
    tests: Verdicts,
) -> Agreement:
    protocol, estimator, metric = order
    full = values_of(section, "full", metric)
    labels = [row.label for row in section.rows if row.label in full and row.label in values]
    ordered = pairs(full, values)
    flips = [
        Flip(a, b, *(of.get((a, metric), {}).get(b) for of in (full_tests, tests)))
        for a, b, turned in ordered
        if turned
    ]
    first = max(labels, key=lambda label: full[label], default="")
    return Agreement(
        protocol=protocol,
        estimator=estimator,
        rows=len(labels),
        tau=kendall_tau_b([full[x] for x in labels], [values[x] for x in labels]),
        ends=known.taus.get((rows_key(section), order_name(protocol, estimator), metric)),
        first=first,
        first_kept=bool(labels) and values[first] == max(values[x] for x in labels),
        pairs=len(ordered),
        flips=tuple(flips),
        resolution=_resolution(tests),
    )


def _resolution(tests: Verdicts) -> float | None:
    """Share of the pairs that are told apart."""
    every = [result.p < LEVEL for others in tests.values() for result in others.values()]
    return sum(every) / len(every) if every else None


def full_resolution(section: Section, known: Analysis, metric: str) -> float | None:
    """Share of the pairs that full ranking tells apart."""
    return _resolution(verdicts(section, known, "full", (metric,)))
