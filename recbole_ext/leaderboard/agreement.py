"""How far the order by a sampled protocol, or by an estimate from one, is the order by full ranking."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from recbole_ext.evaluator.findings import Paired, holm, kendall_tau_b
from recbole_ext.leaderboard.analysis import LEVEL, Analysis, pair_key, row_ids, rows_key, swapped
from recbole_ext.leaderboard.rows import DECIMALS, Row, Section

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
    full: tuple[Paired, float] | None
    """Under full ranking: the comparison, and its p after Holm over all pairs. None where runs were not compared."""
    here: tuple[Paired, float] | None
    """The same under the protocol; None for an estimate, which has no value per user."""

    @property
    def significant(self) -> bool:
        """Whether full ranking tells the two apart."""
        return self.full is not None and self.full[1] < LEVEL


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
    def order(self) -> str:
        """As it is stored: `uni19`, or `uni19 mle`."""
        return self.protocol if self.estimator == "naive" else f"{self.protocol} {self.estimator}"

    @property
    def heading(self) -> str:
        """As it is printed: `uni19`, or `uni19, MLE`."""
        if self.estimator == "naive":
            return self.protocol
        return f"{self.protocol}, {ESTIMATORS[self.estimator]}"


Values = Mapping[str, float]
"""Label -> value of a row, rounded as it is compared."""


def estimates(
    section: Section, known: Analysis, protocol: str, metric: str
) -> dict[str, dict[str, float]]:
    """`full` and each estimator -> label -> value, of the rows that have all of them."""
    out: dict[str, dict[str, float]] = {name: {} for name in ("full", *ESTIMATORS)}
    for row in section.rows:
        cell = row.cell("full", metric)
        found = known.corrected.get((row_ids(row), protocol, metric))
        if cell is None or found is None:
            continue
        out["full"][row.label] = cell.compared
        for name in ESTIMATORS:
            out[name][row.label] = round(getattr(found, name), DECIMALS)
    return out


def agreements(section: Section, known: Analysis, metric: str) -> list[Agreement]:
    """Every order of the section's rows by a metric, beside that of full ranking; none for fewer than two rows."""
    full_tests = _tests(section, known, "full", metric)
    found = []
    for protocol in section.sampled:
        if not section.comparable(protocol):
            continue
        naive = _cells(section, protocol, metric)
        tests = _tests(section, known, protocol, metric)
        found.append(
            _agreement(section, known, (protocol, "naive", metric), naive, full_tests, tests)
        )
        if protocol.startswith("uni"):
            for name, values in estimates(section, known, protocol, metric).items():
                if name not in ("full", "naive"):
                    order = (protocol, name, metric)
                    found.append(_agreement(section, known, order, values, full_tests, {}))
    return [agreement for agreement in found if agreement.rows > 1]


def _cells(section: Section, protocol: str, metric: str) -> Values:
    cells = {row.label: row.cell(protocol, metric) for row in section.rows}
    return {label: cell.compared for label, cell in cells.items() if cell is not None}


Tests = Mapping[tuple[str, str], tuple[Paired, float]]
"""(label, label) -> how the first differs from the second, and p after Holm over all pairs of the section."""


def _tests(section: Section, known: Analysis, protocol: str, metric: str) -> Tests:
    made: list[tuple[Row, Row, Paired]] = []
    for one, two in itertools.combinations(section.rows, 2):
        key, other_way = pair_key(one, two, protocol, metric)
        if key in known.pairs:
            paired = known.pairs[key]
            made.append((one, two, swapped(paired) if other_way else paired))
    out: dict[tuple[str, str], tuple[Paired, float]] = {}
    for (one, two, paired), p in zip(made, holm([m[2].p for m in made]), strict=True):
        out[one.label, two.label] = paired, p
        out[two.label, one.label] = swapped(paired), p
    return out


def _agreement(
    section: Section,
    known: Analysis,
    order: tuple[str, str, str],
    values: Values,
    full_tests: Tests,
    tests: Tests,
) -> Agreement:
    protocol, estimator, metric = order
    full = _cells(section, "full", metric)
    labels = [row.label for row in section.rows if row.label in full and row.label in values]
    flips, pairs = [], 0
    for a, b in itertools.combinations(labels, 2):
        before, after = full[a] - full[b], values[a] - values[b]
        pairs += before != 0 and after != 0
        if before * after < 0:
            pair = (a, b) if before > 0 else (b, a)
            flips.append(Flip(*pair, full_tests.get(pair), tests.get(pair)))
    name = protocol if estimator == "naive" else f"{protocol} {estimator}"
    first = max(labels, key=lambda label: full[label], default="")
    return Agreement(
        protocol=protocol,
        estimator=estimator,
        rows=len(labels),
        tau=kendall_tau_b([full[x] for x in labels], [values[x] for x in labels]),
        ends=known.taus.get((rows_key(section), name, metric)),
        first=first,
        first_kept=bool(labels) and values[first] == max(values[x] for x in labels),
        pairs=pairs,
        flips=tuple(flips),
        resolution=resolution(tests),
    )


def resolution(tests: Tests) -> float | None:
    """Share of the pairs that are told apart."""
    return sum(p < LEVEL for _, p in tests.values()) / len(tests) if tests else None


def full_resolution(section: Section, known: Analysis, metric: str) -> float | None:
    """Share of the pairs that full ranking tells apart."""
    return resolution(_tests(section, known, "full", metric))
