"""LEADERBOARD.md."""

from __future__ import annotations

from collections.abc import Iterable

from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.beside import COMPARED, verdicts
from recbole_ext.leaderboard.columns import beside_full, difference_columns, main_columns
from recbole_ext.leaderboard.comparisons import NONE, Comparisons, Verdicts
from recbole_ext.leaderboard.comparisons import verdicts as verdicts_of
from recbole_ext.leaderboard.facts import facts, remarks, warnings
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
* `[1]` is a remark, listed below the table.
* `>b,c`: better than rows b and c by more than noise: paired randomisation test over users, p < 0.05 after Holm's
  adjustment over every pair and metric of the table. **Bold**: better than every other row. Where runs were not
  compared there are no letters and nothing is bold.
* [docs/protocols.md](../docs/protocols.md) has the formulas."""


def render_markdown(records: Iterable[ResultRecord], comparisons: Comparisons = NONE) -> str:
    """The whole page; the same bytes whatever order the records come in."""
    blocks = [_HEADER]
    for section in sections(records):
        blocks += _section(section, verdicts_of(section, comparisons))
    if len(blocks) == 1:
        blocks.append("No records yet.")
    return "\n\n".join(blocks) + "\n"


def metric_heading(metric: str) -> str:
    """`NDCG@10 per positive` of `ndcg_pp@10`."""
    name = metric.partition("_pp@")[0]
    return f"{ {'ndcg': 'NDCG', 'hit': 'Hit'}[name] }@{trailing_number(metric)} per positive"


def _section(section: Section, found: Verdicts) -> list[str]:
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
    return [block for block in blocks if block]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)
