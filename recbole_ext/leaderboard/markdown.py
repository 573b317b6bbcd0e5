"""LEADERBOARD.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from recbole_ext.evaluator.findings import effective_k
from recbole_ext.evaluator.metrics import POINTWISE, heading_of
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.across import OverDatasets, OverSplits, over_datasets, over_splits
from recbole_ext.leaderboard.agreement import Agreement, agreements, estimates, full_resolution
from recbole_ext.leaderboard.analysis import Analysis, Tested
from recbole_ext.leaderboard.analysis import verdicts as verdicts_of
from recbole_ext.leaderboard.columns import (
    MODEL,
    Column,
    Parts,
    agreement_columns,
    beside_full,
    beyond_columns,
    corrected_columns,
    difference_columns,
    main_columns,
    parts_columns,
    pointwise_columns,
    strata_columns,
)
from recbole_ext.leaderboard.labels import first_few, flat, listed
from recbole_ext.leaderboard.links import definitions
from recbole_ext.leaderboard.notes import facts, remarks, warnings
from recbole_ext.leaderboard.papers import PaperTable, fits, paper_tables, tables_of
from recbole_ext.leaderboard.plots import plots_of
from recbole_ext.leaderboard.rows import Row, Section, sections, trailing_number
from recbole_ext.leaderboard.standings import BY_RECBOLE, compared
from recbole_ext.results import ResultRecord

_HEADER = """\
# Leaderboard

Written by `python run_bench.py board --publish` from the records beside it; do not edit.

* `0.1234 ±0.0012`: mean over test users and half its 95% bootstrap interval. With several seeds the mean over seeds
  (seconds and memory too), and in brackets the sample standard deviation over them. `–`: not measured.
* *Tuning* says how many points were tried on validation. An untuned row ran with the defaults, or with what was given to it (perhaps
  the best of another dataset), and is no fair opponent of a tuned one.
* The first table of a section looks at a user's whole list (joint-list metrics). Full and sampled ranking are compared
  on *per-positive* metrics only, where they differ by sampling alone: `uniM` ranks each positive against M frozen
  negatives (mean and ± standard deviation over draws), `expected@M` is its mean over all draws, in closed form.
* `#2` is the place in the column, equal values share it. `+1`: the protocol shows the row one place higher than full
  ranking does, counted among the rows that have both; it flatters the row. `=`: the same place.
* *Estimated from uniM*: full ranking as five estimators see it through M drawn negatives, each with half its bootstrap interval
  over users. *identified* is all that M negatives can say: every value in it belongs to a rank distribution with the same
  sampled ranks (`errors x 1.5`: none fits them before their errors are widened by that factor).
* *The order .. against full ranking's*: Kendall's τ-b and its bootstrap interval over users, whether the best row stays first,
  the pairs that change order and how many of these full ranking tells apart (p < 0.05 after Holm over all pairs), and
  the share of all pairs that the protocol itself tells apart.
* Seconds and memory are of the machine that is named, which may have had other work: read them as orders of magnitude.
* `[1]` is a remark, listed below the table.
* `>b,d-f`: better than rows b and d to f by more than noise: paired randomisation test over users, p < 0.05 after Holm's
  adjustment over every pair and metric of the table. **Bold**: better than every other row. Where runs were not
  compared there are no letters and nothing is bold.
* Headings lead to the formulas in [docs/protocols.md](../docs/protocols.md). What all this says of sampled protocols is in
  [docs/sampled-vs-full.md](../docs/sampled-vs-full.md)."""


def render_markdown(records: Iterable[ResultRecord], known: Analysis | None = None) -> str:
    """The whole page; the same bytes whatever order the records come in."""
    blocks = [_HEADER]
    every = sections(records)
    blocks += _over_datasets(over_datasets(every))
    blocks += _over_splits(over_splits(every, ("recall@20", "ndcg@20")))
    for section in every:
        blocks += _section(section, known or Analysis())
    if len(blocks) == 1:
        blocks.append("No records yet.")
    page = "\n\n".join(blocks) + "\n"
    links = definitions(page)
    return f"{page}\n{links}\n" if links else page


def _over_datasets(standings: Sequence[OverDatasets]) -> list[str]:
    """Mean places, a column per dataset."""
    if not standings:
        return []
    columns: list[Column[OverDatasets]] = [
        Column("model", "Model", lambda s: s.model, numeric=False),
        Column("mean", "Mean place", lambda s: s.mean, lambda v: (f"{v:.2f}",)),
    ]
    for name in standings[0].places:
        columns.append(
            Column(name, name, lambda s, name=name: s.places[name], lambda v: (f"{v:.2f}",))  # type: ignore[misc]
        )
    return [
        "## Over datasets",
        "\n".join(table.markdown(columns, standings)),
        "* Places by NDCG@20 of full ranking among these models, each by its best row, averaged over the splits of a dataset. Of all "
        "tables of models that stand on the same datasets this one has the most places.",
    ]


def _over_splits(groups: Sequence[OverSplits]) -> list[str]:
    blocks = ["## Over random splits"] if groups else []
    for group in groups:
        asked = group.section.first.experiment["dataset"]

        def column(metric: str, heading: str, group: OverSplits = group) -> Column[str]:
            def show(values: list[float]) -> Parts:
                return f"{fmean(values):.4f}", f"(sd {stdev(values):.4f})"

            return Column(metric, heading, lambda model: group.values[model][metric], show)

        columns: list[Column[str]] = [
            Column("model", "Model", str, numeric=False),
            column("recall@20", "Recall@20"),
            column("ndcg@20", "NDCG@20"),
        ]
        blocks += [
            f"### {table.escaped(asked['name'])}, filters {flat(asked['filters'])}",
            "\n".join(table.markdown(columns, list(group.values))),
            f"* Mean and standard deviation over {len(group.seeds)} splits (split_seed {listed([str(s) for s in group.seeds])}), "
            "each model by its best row.",
        ]
    return blocks


def _section(section: Section, known: Analysis) -> list[str]:
    found = verdicts_of(section, known)
    blocks = [
        f"## {table.escaped(section.title)}",
        _bullets(map(table.escaped, facts(section))),
        _bullets(f"**Note:** {table.escaped(text)}" for text in warnings(section)),
        "### Full ranking",
        "\n".join(table.markdown(main_columns(section, found), section.rows)),
        _bullets(map(table.escaped, remarks(section))),
    ]
    if found:
        first, *others = section.rows
        blocks += [
            f"### {table.escaped(first.label)} minus the others, full ranking",
            "\n".join(table.markdown(difference_columns(section, found), others)),
            "* difference, its 95% bootstrap interval over users, effect size d (mean over standard deviation of the "
            "users' differences), p after Holm",
        ]
    blocks += _plots(section)
    for paper in paper_tables(section):
        blocks += _paper(section, paper)
    for heading, columns in (
        ("What the lists are like", beyond_columns(section)),
        ("Recall@20 within parts of the positives", strata_columns(section, "recall@20")),
        ("NDCG@20 within parts of the positives", strata_columns(section, "ndcg@20")),
    ):
        if len(columns) > 1:
            blocks += [f"### {heading}", "\n".join(table.markdown(columns, section.rows))]
    labelled = pointwise_columns(section)
    if len(labelled) > 1:
        blocks += [
            "### Labelled pairs of the test part",
            "\n".join(table.markdown(labelled, section.rows)),
        ]
    for of in POINTWISE.values():
        parts = parts_columns(section, of.key)
        if len(parts) > 1:
            blocks += [
                f"### {of.heading} within parts of the labelled pairs",
                "\n".join(table.markdown(parts, section.rows)),
            ]
    if not section.sampled:
        blocks.append("No sampled protocol was asked for.")
    for metric in (*compared(section), *BY_RECBOLE):
        blocks += _sampled(section, known, metric)
    return [block for block in blocks if block]


def _plots(section: Section) -> list[str]:
    return [f"![{alt}](plots/{name})" for name, alt in plots_of(section).items()]


def _paper(section: Section, paper: PaperTable, link: bool = True) -> list[str]:
    def pair(metric: str) -> list[Column[Row]]:
        heading = heading_of(metric)

        def own(row: Row) -> float | None:
            cell = row.cell("full", metric)
            return None if cell is None else cell.mean

        def show(value: float) -> Parts:
            return (f"{value:.4f}",)

        def theirs(row: Row) -> float | None:
            return paper.value(row, metric)

        return [
            Column(metric, heading, own, show),
            Column(f"their {metric}", "theirs", theirs, show),
        ]

    columns = [MODEL, *(c for metric in paper.shown for c in pair(metric))]
    rows = [row for row in section.rows if row.model in paper.rows]
    missing = [model for model in paper.rows if model not in {row.model for row in rows}]
    differences = paper.differences(section)
    verdict = (
        f"**Not comparable** because of (theirs in brackets): {table.escaped('; '.join(differences))}."
        if differences
        else "Comparable: data, filters, split, exclusion and encoder agree."
    )
    return [
        f"### Beside the paper: {table.escaped(paper.title)}",
        f"* {verdict}" + (f"\n* Theirs only: {', '.join(missing)}." if missing else ""),
        "\n".join(table.markdown(columns, rows, link)),
    ]


def render_paper(paper: str, records: Iterable[ResultRecord]) -> str:
    """A paper's tables with our rows beside them, wherever there are any, and what differs said above each.

    Raises:
        HarnessError: no such paper.
    """
    every = sections(records)
    blocks = []
    for found in tables_of(paper):
        beside = [section for section in every if fits(found, section)]
        for section in beside:
            heading, verdict, lines = _paper(section, found, link=False)
            heading = f"## {table.escaped(found.title)}: ours on {table.escaped(section.title)}"
            blocks += [heading, verdict, lines]
        if not beside:
            nothing = f"* No record on {listed(list(found.datasets))} yet; theirs: {', '.join(found.rows)}."
            blocks += [f"## {table.escaped(found.title)}", nothing]
    return "\n\n".join(blocks) + "\n"


def _sampled(section: Section, known: Analysis, metric: str) -> list[str]:
    """One metric under every protocol that has it, what the estimates make of it, and how far the orders agree."""
    columns = beside_full(section, metric)
    if len(columns) < 3:
        return []
    blocks = [
        f"### {heading_of(metric)}, sampled beside full",
        "\n".join(table.markdown(columns, section.rows)),
    ]
    if len(section.rows) < 2:
        return [*blocks, "* There is one row, and no order to change."]
    blocks.append(_bullets(_incomparable(section)))
    for protocol in section.sampled:
        if estimates(section, known, protocol, metric)["full"]:
            corrected = corrected_columns(section, known, protocol, metric)
            blocks += [
                f"### {heading_of(metric)}, estimated from {protocol}",
                "\n".join(table.markdown(corrected, section.rows)),
                f"* {_reach(section, protocol, metric)}",
            ]
    found = agreements(section, known, metric)
    if found:
        full = full_resolution(section, known, metric)
        blocks += [
            f"### {heading_of(metric)}, the order of {found[0].rows} rows against full ranking's",
            "\n".join(table.markdown(agreement_columns(full), found)),
            _bullets(table.escaped(text) for text in flips(found)),
        ]
    return blocks


def _incomparable(section: Section) -> list[str]:
    return [
        f"{name}: candidate lists differ between rows, so their order is not compared."
        for name in section.sampled
        if not section.comparable(name)
    ]


def _reach(section: Section, protocol: str, metric: str) -> str:
    size = section.first.data
    negatives = size["items"] - round(size["interactions"] / size["users"])
    k, m = trailing_number(metric), trailing_number(protocol)
    deep = effective_k(k, negatives, m)
    return f"A cut-off of {k} among {m} looks at a full rank of about {deep:,.0f}."


def flips(found: Sequence[Agreement]) -> list[str]:
    """The pairs that change order, each with its p-values; a closed form says the same as its drawn twin and is left out."""
    lines = []
    for one in found:
        if one.estimator != "naive" or protocol_of(one.protocol).closed:
            continue
        if not one.flips:
            lines.append(f"{one.heading} keeps the order of all {one.pairs} pairs.")
            continue
        told = [
            f"{flip.first} falls below {flip.second} (full {_told(flip.full)}; {one.heading} {_told(flip.here)})"
            for flip in one.flips
        ]
        lines.append(f"{one.heading} swaps {len(told)} of {one.pairs} pairs: {first_few(told)}.")
    return lines


def _told(test: Tested | None) -> str:
    if test is None:
        return "not tested"
    p = f"p {test.p:.2g}" if test.p >= 1e-5 else "p <1e-5"
    return f"{test.paired.difference:+.4f}, {p}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)
