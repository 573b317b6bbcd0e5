"""LEADERBOARD.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recbole_ext.evaluator.findings import effective_k, kendall_tau_b
from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.analysis import Analysis
from recbole_ext.leaderboard.analysis import verdicts as verdicts_of
from recbole_ext.leaderboard.beside import COMPARED, verdicts
from recbole_ext.leaderboard.columns import (
    ESTIMATORS,
    beside_full,
    corrected_columns,
    difference_columns,
    estimates,
    main_columns,
)
from recbole_ext.leaderboard.facts import facts, remarks, warnings
from recbole_ext.leaderboard.labels import listed
from recbole_ext.leaderboard.over import Standing, over_datasets
from recbole_ext.leaderboard.rows import Section, sections, trailing_number
from recbole_ext.results import ResultRecord

_HEADER = """\
# Leaderboard

Written by `python run_bench.py board --publish` from the records beside it; do not edit.

* `0.1234 ±0.0012`: mean over test users and half its 95% bootstrap interval. With several seeds the mean over seeds
  (seconds and memory too), and in brackets the sample standard deviation over them. `–`: not measured.
* *Tuning* says how many points were tried on validation. An untuned row ran with the defaults and is no fair opponent
  of a tuned one.
* The first table of a section looks at a user's whole list (joint-list metrics). Full and sampled ranking are compared
  on *per-positive* metrics only, where they differ by sampling alone: `uniM` ranks each positive against M frozen
  negatives (mean and ± standard deviation over draws), `expected@M` is its mean over all draws, in closed form.
* `#2` is the place in the column, equal values share it. `+1`: the protocol shows the row one place higher than full
  ranking does, counted among the rows that have both; it flatters the row. `=`: the same place.
* *Estimated from uniM*: full ranking as five estimators see it through M drawn negatives (docs/protocols.md). *identified* is
  all that M negatives can say: every value in it belongs to a rank distribution with the same sampled ranks.
* `[1]` is a remark, listed below the table.
* `>b,c`: better than rows b and c by more than noise: paired randomisation test over users, p < 0.05 after Holm's
  adjustment over every pair and metric of the table. **Bold**: better than every other row. Where runs were not
  compared there are no letters and nothing is bold.
* [docs/protocols.md](../docs/protocols.md) has the formulas."""


def render_markdown(records: Iterable[ResultRecord], known: Analysis | None = None) -> str:
    """The whole page; the same bytes whatever order the records come in."""
    blocks = [_HEADER]
    every = sections(records)
    blocks += _over_datasets(over_datasets(every))
    for section in every:
        blocks += _section(section, known or Analysis())
    if len(blocks) == 1:
        blocks.append("No records yet.")
    return "\n\n".join(blocks) + "\n"


def _over_datasets(standings: Sequence[Standing]) -> list[str]:
    """Mean places, a column per dataset."""
    if not standings:
        return []
    datasets = list(standings[0].places)
    lines = [
        f"| Model | Mean place | {' | '.join(map(table.escaped, datasets))} |",
        "| --- | ---: |" + " ---: |" * len(datasets),
    ]
    lines += [
        f"| {table.escaped(s.model)} | {s.mean:.2f} | {' | '.join(f'{s.places[name]:.2f}' for name in datasets)} |"
        for s in standings
    ]
    return [
        "## Over datasets",
        "\n".join(lines),
        "* Places by NDCG@20 of full ranking among the models that stand on every dataset here, each by its best row, averaged "
        "over the splits of a dataset.",
    ]


def metric_heading(metric: str) -> str:
    """`NDCG@10 per positive` of `ndcg_pp@10`."""
    name = metric.partition("_pp@")[0]
    return f"{ {'ndcg': 'NDCG', 'hit': 'Hit'}[name] }@{trailing_number(metric)} per positive"


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
    if not section.sampled:
        blocks.append("No sampled protocol was asked for.")
    for metric in COMPARED if section.sampled else ():
        blocks += [
            f"### {metric_heading(metric)}, sampled beside full",
            "\n".join(table.markdown(beside_full(section, metric), section.rows)),
            _bullets(table.escaped(text) for text in verdicts(section, metric)),
        ]
        for protocol in section.sampled:
            if estimates(section, known, protocol, metric)["full"]:
                blocks += _corrections(section, known, protocol, metric)
    return [block for block in blocks if block]


def _corrections(section: Section, known: Analysis, protocol: str, metric: str) -> list[str]:
    return [
        f"### {metric_heading(metric)}, estimated from {protocol}",
        "\n".join(
            table.markdown(corrected_columns(section, known, protocol, metric), section.rows)
        ),
        _bullets(table.escaped(text) for text in agreement(section, known, protocol, metric)),
    ]


def agreement(section: Section, known: Analysis, protocol: str, metric: str) -> list[str]:
    """How far the order by each estimate is that of full ranking, and where a sampled cut-off really looks."""
    found = estimates(section, known, protocol, metric)
    full = list(found["full"].values())
    lines = []
    if len(full) > 1:
        taus = {name: kendall_tau_b(full, list(found[name].values())) for name in ESTIMATORS}
        shown = (
            f"{ESTIMATORS[name]} {'–' if tau is None else f'{tau:+.2f}'}"
            for name, tau in taus.items()
        )
        best = max(found["full"], key=lambda label: found["full"][label])
        kept = [
            ESTIMATORS[name]
            for name in ESTIMATORS
            if max(found[name], key=lambda label: found[name][label]) == best
        ]
        lines = [
            f"Kendall's τ-b with full ranking over {len(full)} rows: {', '.join(shown)}.",
            f"{best}, first under full ranking, is first by {listed(kept) if kept else 'none of them'}.",
        ]
    size = section.first.data
    negatives = size["items"] - round(size["interactions"] / size["users"])
    k, m = trailing_number(metric), trailing_number(protocol)
    return [
        *lines,
        f"A cut-off of {k} among {m} looks at a full rank of about {effective_k(k, negatives, m):,.0f}.",
    ]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)
