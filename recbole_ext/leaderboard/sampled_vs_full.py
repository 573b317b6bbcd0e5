"""sampled-vs-full.md: does sampling rank models as full ranking does, and do corrections help? From the records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from recbole_ext.evaluator.metrics import heading_of
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.agreement import Agreement, agreements, full_resolution
from recbole_ext.leaderboard.analysis import Analysis
from recbole_ext.leaderboard.blocks import Block, fitting, page
from recbole_ext.leaderboard.columns import Column, agreement_columns, every_row_columns
from recbole_ext.leaderboard.groups import Group
from recbole_ext.leaderboard.labels import listed
from recbole_ext.leaderboard.notes import facts
from recbole_ext.leaderboard.rows import Section
from recbole_ext.leaderboard.standings import COMPARED

MOST_LINES = 150
_SHOWN = 3
FEWEST = 4
"""Models of a dataset that has an order worth comparing."""

_HEAD = """\
# Does a sampled evaluation rank models as full ranking does?

Written by `python run_bench.py board --publish` from the records in `leaderboard/records`; do not edit.

Papers that score a positive among M drawn negatives and papers that rank the whole catalogue print numbers that are
not comparable. Do they at least order models alike? Each dataset below was ranked once, by one pass over each model's scores, and read
under every protocol; only the candidates differ. Terms and formulas: [protocols.md](protocols.md); every number behind this
page: [the leaderboard](../leaderboard/LEADERBOARD.md).

τ-b is Kendall's rank correlation with the order of full ranking, in brackets its 95% bootstrap interval over users; a *swap*
is a pair of models that stands the other way round than under full ranking, a *significant* one is a pair that full
ranking tells apart (paired randomisation test, p < 0.05 after Holm over all pairs). A model stands once, by its best tuned row;
what ablations and other rows do is in `leaderboard.parquet`, with every pair. Tables are of NDCG@10 per positive."""


@dataclass(frozen=True)
class _Sum:
    """One kind of order over all datasets and metrics."""

    heading: str
    cases: Sequence[Agreement]

    @property
    def kept(self) -> str:
        return f"{sum(case.first_kept for case in self.cases)} of {len(self.cases)}"

    @property
    def swaps(self) -> str:
        return f"{sum(len(c.flips) for c in self.cases)} of {sum(c.pairs for c in self.cases)}"

    @property
    def significant(self) -> int:
        return sum(flip.significant for case in self.cases for flip in case.flips)

    @property
    def tau(self) -> float:
        return fmean(case.tau for case in self.cases if case.tau is not None)


def render_answer(groups: Sequence[Group], known: Analysis) -> str:
    """The page, at most `MOST_LINES` long: where datasets are many, the tables of the last ones are on their own pages only."""
    told = []
    for group in groups:
        main = group.main
        if main is None or len(main.rows) < FEWEST:
            continue
        found = {metric: _drawn(agreements(main, known, metric)) for metric in COMPARED}
        if any(found.values()):
            told.append((group, main, found))
    if not told:
        return f"{_HEAD}\n\nNo dataset has {FEWEST} models that were ranked both ways yet.\n"
    cases = [case for *_, found in told for of in found.values() for case in of]
    blocks = [Block(_HEAD), *map(Block, _overall(cases))]
    for number, (group, main, found) in enumerate(told, 1):
        blocks += _dataset(group, main, known, found, number)
    kept, _ = fitting(blocks, MOST_LINES)
    return page((block.text for block in kept), linked=False)


def _drawn(found: Sequence[Agreement]) -> list[Agreement]:
    """Without the closed forms, which say what their drawn twins say."""
    return [case for case in found if not protocol_of(case.protocol).closed]


def _overall(cases: Sequence[Agreement]) -> list[str]:
    by_heading: dict[str, list[Agreement]] = {}
    for case in cases:
        by_heading.setdefault(case.heading, []).append(case)
    columns: list[Column[_Sum]] = [
        Column("order", "Order by", lambda s: s.heading, numeric=False),
        Column("tau", "Mean τ-b", lambda s: s.tau, lambda tau: (f"{tau:+.2f}",)),
        Column("kept", "Best model kept", lambda s: s.kept),
        Column("swaps", "Swaps", lambda s: s.swaps),
        Column("significant", "Significant swaps", lambda s: s.significant),
    ]
    sums = [_Sum(heading, of) for heading, of in by_heading.items()]
    return [
        "## Over all datasets",
        "\n".join(table.markdown(columns, sums, link=False)),
        "* Over NDCG@10 and Hit@10 per positive on each dataset below. `naive` is what the protocol itself prints.",
    ]


def _dataset(
    group: Group, main: Section, known: Analysis, found: dict[str, list[Agreement]], number: int
) -> Iterator[Block]:
    """Its sentences, which stay, and its tables, of which those of the last datasets go first."""
    name = f"[{table.escaped(group.title)}](../leaderboard/{group.page}-protocols.md)"
    lines = [table.escaped(facts(main)[0])]
    for metric, cases in found.items():
        lines += [f"{heading_of(metric)}: {table.escaped(line)}" for line in _sentences(cases)]
    yield Block(f"## {name}\n\n" + "\n".join(f"* {line}" for line in lines))
    metric = COMPARED[0]
    if cases := found[metric]:
        full = full_resolution(main, known, metric)
        every = every_row_columns(agreements(group.reference, known, metric), cases)
        columns = [*agreement_columns(full), *every]
        yield Block("\n".join(table.markdown(columns, cases, link=False)), number)


def _few(pairs: Sequence[str]) -> str:
    """Some of them: the rest is in the data."""
    more = len(pairs) - _SHOWN
    return listed([*pairs[:_SHOWN], *([f"{more} more"] if more > 0 else [])])


def _sentences(cases: Sequence[Agreement]) -> list[str]:
    """What each drawn protocol does to the order, and which of its estimates does best."""
    lines = []
    for naive in cases:
        if naive.estimator != "naive":
            continue
        wrong = [f"{f.first} under {f.second}" for f in naive.flips if f.significant]
        start = f"{naive.protocol} " + (
            f"keeps {naive.first} first"
            if naive.first_kept
            else f"puts another model before {naive.first}"
        )
        what = f"{start} and swaps {len(naive.flips)} of {naive.pairs} pairs"
        what += f", against a significant difference: {_few(wrong)}" if wrong else ""
        fixed = [
            c
            for c in cases
            if c.protocol == naive.protocol and c.estimator != "naive" and c.tau is not None
        ]
        if fixed:
            best = max(c.tau for c in fixed if c.tau is not None)
            names = [c.heading.partition(", ")[2] for c in fixed if c.tau == best]
            what += f". Of its corrections {listed(names)} come{'s' if len(names) == 1 else ''} closest (τ-b {best:+.2f})"
        lines.append(f"{what}.")
    return lines
