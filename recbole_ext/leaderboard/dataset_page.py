"""Two pages of a dataset: its models, and what protocols and estimators make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from recbole_ext.evaluator.findings import effective_k
from recbole_ext.evaluator.metrics import POINTWISE, heading_of
from recbole_ext.leaderboard.agreement import agreements, estimates, full_resolution
from recbole_ext.leaderboard.analysis import Analysis, verdicts
from recbole_ext.leaderboard.blocks import WRITTEN, Block, block, bullets, fitting, page
from recbole_ext.leaderboard.columns import (
    Column,
    agreement_columns,
    beside_full,
    beyond_columns,
    corrected_columns,
    every_row_columns,
    lead_column,
    main_columns,
    parts_columns,
    pointwise_columns,
    strata_columns,
)
from recbole_ext.leaderboard.flips import flips
from recbole_ext.leaderboard.groups import Group, Table
from recbole_ext.leaderboard.labels import flat
from recbole_ext.leaderboard.notes import facts, remarks, warnings
from recbole_ext.leaderboard.papers import paper_tables
from recbole_ext.leaderboard.papers_beside import beside
from recbole_ext.leaderboard.plots import plots_of
from recbole_ext.leaderboard.rows import Row, Section, deviation, trailing_number
from recbole_ext.leaderboard.standings import BY_RECBOLE, compared, list_metric
from recbole_ext.leaderboard.table import escaped

MOST_LINES = 200
_OVER = ("recall@20", "ndcg@20")
_ASIDE = {"row", "model", "rank", "recall@20", "ndcg@20", "tuning", "seeds", "fit_seconds"}
"""Columns of a table of ablations, by their keys."""


_READ = """\
* `0.1234 ±0.0012`: mean over test users and half its 95% bootstrap interval; with several seeds the mean over them, `(sd ..)` their
  standard deviation. `–`: not measured, or not served: see the remarks `[1]` below a table.
* `>b,d-f`: better than rows b and d to f by more than noise: paired randomisation test over users, p < 0.05 after Holm's adjustment over
  every pair and metric *of this table*. **Bold**: better than every other row. Nothing is marked where runs were not compared.
* A model stands once, by its tuned row that validation likes best. What else was run of it stands *beside the models*, under its paper's
  name. *Untuned*: with defaults, or with what was given (perhaps the best of another dataset); no fair opponent of a tuned row.
* *Sampled beside full*: per positive, where the two differ by sampling alone. `uniM`: among M drawn negatives (± over draws),
  `expected@M`: the mean over all draws. `#2`: place. `+1`: one place higher than under full ranking, `=`: the same.
* Seconds and memory are of the machine named, which may have had other work: orders of magnitude."""
_READ_SECOND = """\
* *Estimated from uniM*: full ranking as five estimators see it through M drawn negatives, with half the bootstrap interval over users.
  *identified*: all that M negatives can say; every value in it has the same sampled ranks (`errors x 1.5`: only with wider errors).
* *The order ..*: Kendall's τ-b with full ranking and its interval over users, whether the best stays first, pairs that change order,
  how many of these full ranking tells apart (p < 0.05 after Holm over the pairs of the table), and the share that the protocol does.
* Numbers of rows that are not here, and every pair with its p, are in `leaderboard.parquet`."""


def render_dataset(groups: Sequence[Group], known: Analysis) -> tuple[str, str]:
    """(the page of a dataset, its second page on protocols) of all its groups; the first has at most `MOST_LINES` lines."""
    name, file = groups[0].dataset, groups[0].page
    links = "[All datasets](LEADERBOARD.md) · [protocols, estimators, parts of the positives]"
    blocks = [Block(f"# {escaped(name)}\n\n{WRITTEN}\n{links}({file}-protocols.md)\n\n{_READ}")]
    for group in groups:
        blocks += _group(group, known)
    kept, moved = fitting(blocks, MOST_LINES)
    links = f"[The models]({file}.md) · [all datasets](LEADERBOARD.md)"
    second = [f"# {escaped(name)}: protocols\n\n{WRITTEN}\n{links}\n\n{_READ_SECOND}"]
    if moved:
        second += ["## What the first page has no room for", *(b.text for b in moved)]
    for group in groups:
        second += [b.text for b in _protocols(group, known)]
    return page(b.text for b in kept), page(second)


def _group(group: Group, known: Analysis) -> Iterator[Block]:
    section = group.reference
    over = ""
    if len(group.sections) > 1:
        seeds = [
            flat(s.first.experiment["dataset"]["split"].get("split_seed")) for s in group.sections
        ]
        over = f"random splits with seeds {', '.join(seeds)}; tables are of one of them, *over splits* of all"
    told = [*map(escaped, facts(group.main or section)), *([over] if over else [])]
    told += [f"**Note:** {escaped(text)}" for text in warnings(section)]
    yield Block(f"## {escaped(group.title)}\n\n{bullets(told)}")
    for table in group.tables:
        makers = {"full": _full, "lists": _lists, "ctr": _labelled, "others": _others}
        yield from makers[table.kind](group, table, known)


def _full(group: Group, table: Table, known: Analysis) -> Iterator[Block]:
    section = table.section
    found = verdicts(section, known)
    columns = list(main_columns(section, found))
    columns[-1:-1] = [c for metric in _OVER if (c := _over_splits(group, metric)) is not None]
    if found:
        columns.insert(-1, lead_column(section, found, "ndcg@20"))
    yield block(table.heading, columns, section.rows, [*_settings(table), *remarks(section)])
    if plots := plots_of(group):
        yield Block("\n".join(f"![{alt}](plots/{name})" for name, alt in plots.items()))
    metric = compared(section)[0]
    sampled = beside_full(section, metric)
    if len(sampled) > 2:
        yield block(f"{heading_of(metric)}, sampled beside full", sampled, section.rows, moves=1)
    beyond = beyond_columns(section)
    if len(beyond) > 1:
        yield block("What the lists are like", beyond, section.rows, moves=4)
    for paper in paper_tables(section):
        yield Block(beside(section, paper), 3)


def _over_splits(group: Group, metric: str) -> Column[Row] | None:
    """Mean and deviation over the random splits, of models that stand on all of them."""
    values = {row.model: group.over_splits(row.model, metric) for row in group.main.rows} if group.main else {}  # fmt: skip
    if not any(values.values()):
        return None
    count = len(group.sections)
    return Column(
        f"{metric} over splits",
        f"{heading_of(metric)} over {count} splits",
        lambda row: values.get(row.model),
        lambda found: (f"{fmean(found):.4f}", f"(sd {deviation(found):.4f})"),
    )


def _settings(table: Table) -> list[str]:
    """Which row of a model stands in a table, where it has several."""
    told = [label for name, label in table.labels.items() if label != name]
    return [f"of several rows: {'; '.join(told)}"] if told else []


def _lists(group: Group, table: Table, known: Analysis) -> Iterator[Block]:
    section, metric = table.section, list_metric(table.section)
    heading = f"{table.heading}: {heading_of(metric)}, sampled beside full"
    notes = [*_settings(table), *remarks(section)]
    yield block(heading, beside_full(section, metric), section.rows, notes)


def _labelled(group: Group, table: Table, known: Analysis) -> Iterator[Block]:
    section = table.section
    notes = [*_settings(table), *remarks(section)]
    yield block(table.heading, pointwise_columns(section), section.rows, notes)


def _others(group: Group, table: Table, known: Analysis) -> Iterator[Block]:
    """What else was run of a paper's models: ablations, controls, zero-shot, untuned repeats."""
    section = table.section
    columns = [
        column for column in main_columns(section, verdicts(section, known)) if column.key in _ASIDE
    ]
    labelled = pointwise_columns(section)
    yield block(
        f"Beside the models: {table.heading}", [*columns, *labelled[1:]], section.rows, moves=2
    )


def _protocols(group: Group, known: Analysis) -> Iterator[Block]:
    yield Block(f"## {escaped(group.title)}")
    for table in group.tables:
        if table.kind == "full":
            section = table.section
            for metric in (*compared(section), *BY_RECBOLE):
                yield from _sampled(group, section, known, metric)
            for metric in ("recall@20", "ndcg@20"):
                columns = strata_columns(section, metric)
                if len(columns) > 1:
                    heading = f"{heading_of(metric)} within parts of the positives"
                    yield block(heading, columns, section.rows)
        elif table.kind == "lists":
            for metric in compared(table.section):
                if metric != list_metric(table.section):
                    columns = beside_full(table.section, metric)
                    yield block(
                        f"{table.heading}: {heading_of(metric)}", columns, table.section.rows
                    )
        elif table.kind == "ctr":
            for of in POINTWISE.values():
                parts = parts_columns(table.section, of.key)
                if len(parts) > 1:
                    heading = f"{of.heading} within parts of the labelled pairs"
                    yield block(heading, parts, table.section.rows)


def _sampled(group: Group, section: Section, known: Analysis, metric: str) -> Iterator[Block]:
    """One metric under every protocol that has it, what the estimates make of it, and how far the orders agree."""
    columns = beside_full(section, metric)
    if len(columns) < 3:
        return
    if metric != compared(section)[0]:  # which the first page has
        yield block(f"{heading_of(metric)}, sampled beside full", columns, section.rows)
    if len(section.rows) < 2:
        return
    apart = list(_incomparable(section))
    for protocol in section.sampled:
        if estimates(section, known, protocol, metric)["full"]:
            corrected = corrected_columns(section, known, protocol, metric)
            heading = f"{heading_of(metric)}, estimated from {protocol}"
            yield block(heading, corrected, section.rows, [_reach(section, protocol, metric)])
    found = agreements(section, known, metric)
    if found or apart:
        full = full_resolution(section, known, metric)
        every = agreements(group.reference, known, metric)
        ordered = [*agreement_columns(full), *every_row_columns(every, found)]
        heading = (
            f"{heading_of(metric)}, the order of {len(section.rows)} models against full ranking's"
        )
        yield block(heading, ordered, found, [*apart, *flips(found)])


def _incomparable(section: Section) -> Iterable[str]:
    for name in section.sampled:
        if not section.comparable(name):
            yield f"{name}: candidate lists differ between rows, so their order is not compared."


def _reach(section: Section, protocol: str, metric: str) -> str:
    size = section.first.data
    negatives = size["items"] - round(size["interactions"] / size["users"])
    k, m = trailing_number(metric), trailing_number(protocol)
    deep = effective_k(k, negatives, m)
    return f"A cut-off of {k} among {m} looks at a full rank of about {deep:,.0f}."
