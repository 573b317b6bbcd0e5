"""A board as markdown, as terminal text and as csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from recbole_ext.leaderboard import table
from recbole_ext.leaderboard.columns import COMPARED, MAIN, beside_full
from recbole_ext.leaderboard.rows import Section, flat, sections, swaps
from recbole_ext.results import ResultRecord

_LEGEND = """\
Written by `python run_bench.py board --publish` from the records beside it; do not edit.

* `0.1234 ±0.0012`: mean over test users and half its 95% bootstrap interval; with several seeds the mean over seeds,
  and in brackets the standard deviation over them. Nothing is bold: no claim of significance is made here.
* *Tuning* says how many points were tried on validation. An untuned row ran with the defaults and is no fair opponent
  of a tuned one.
* Recall and NDCG of the first table look at a user's whole list (joint-list). Full and sampled ranking are compared on
  *per-positive* metrics only, where they differ by sampling alone. `#2` is the place in the column, `+1` says that the
  protocol shows the row one place higher than full ranking does. `uniM`: M frozen negatives per positive, mean and
  deviation over draws; `expected@M`: its mean over all draws, in closed form.
* [docs/protocols.md](../docs/protocols.md) has the formulas.
"""


def render_markdown(records: Iterable[ResultRecord]) -> str:
    """LEADERBOARD.md."""
    lines = ["# Leaderboard", "", _LEGEND]
    found = sections(records)
    if not found:
        lines += ["No records yet.", ""]
    for section in found:
        lines += [f"## {section.dataset}", "", *(f"* {line}" for line in _facts(section)), ""]
        lines += ["Full ranking", "", *table.markdown(MAIN, section.rows), ""]
        for metric in COMPARED if section.sampled else ():
            lines += [f"{_spelled(metric)} per positive, sampled beside full", ""]
            lines += [
                *table.markdown(beside_full(section, metric), section.rows),
                "",
                *_verdicts(section, metric),
                "",
            ]
    return "\n".join(lines).rstrip("\n") + "\n"


def render_text(records: Iterable[ResultRecord], width: int = 160) -> str:
    """The board for a terminal of `width` characters."""
    lines: list[str] = []
    for section in sections(records):
        first = section.first
        size = first.data
        lines += [
            f"{section.dataset}: {size['users']:,} users, {size['items']:,} items, {size['interactions']:,} "
            f"interactions, {size['test_users']:,} test users, {flat(first.experiment['dataset']['split'])}, "
            f"excluded {first.experiment['exclude']}",
            "",
            *table.plain(MAIN, section.rows, width),
        ]
        if section.sampled:
            metric = COMPARED[0]
            lines += [
                "",
                f"{_spelled(metric)} per positive, sampled beside full (#place, change against full)",
                "",
            ]
            lines += [
                *table.plain(beside_full(section, metric), section.rows, width),
                *_verdicts(section, metric),
            ]
        lines += [*(f"note: {note}" for note in section.notes), ""]
    return "\n".join(lines).rstrip("\n") if lines else "no records yet"


def render_csv(records: Iterable[ResultRecord]) -> str:
    """Long form: one line per row, protocol and metric; six decimals."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "dataset",
            "data",
            "split",
            "exclude",
            "model",
            "label",
            "seeds",
            "tuned_points",
            "protocol",
            "metric",
            "mean",
            "half_ci95",
            "sd_seeds",
            "sd_draws",
            "run_ids",
        ]
    )
    for section in sections(records):
        read = section.first.fingerprints
        for row in section.rows:
            names = sorted({(p, m) for r in row.records for p, of in r.metrics.items() for m in of})
            for protocol, metric in names:
                cell = row.cell(protocol, metric)
                if cell is None:
                    continue
                numbers = (cell.mean, cell.half, cell.seed_sd, cell.draw_sd)
                writer.writerow(
                    [
                        section.dataset,
                        read["data"][:12],
                        read["split"][:12],
                        section.first.experiment["exclude"],
                        row.first.experiment["model"],
                        row.label,
                        len(row.records),
                        "" if row.points is None else row.points,
                        protocol,
                        metric,
                        *("" if x is None else f"{x:.6f}" for x in numbers),
                        " ".join(r.run_id for r in row.records),
                    ]
                )
    return out.getvalue()


def _spelled(metric: str) -> str:
    name, _, k = metric.partition("_pp@")
    return f"{ {'ndcg': 'NDCG', 'hit': 'Hit'}.get(name, name) }@{k}"


def _facts(section: Section) -> list[str]:
    first = section.first
    size, asked = first.data, first.experiment
    candidates = {
        k: v for row in section.rows for r in row.records for k, v in sorted(r.candidates.items())
    }
    machines = sorted({_machine(r) for row in section.rows for r in row.records})
    return [
        f"{size['users']:,} users, {size['items']:,} items, {size['interactions']:,} interactions; "
        f"train {size['train']:,}, valid {size['valid']:,}, test {size['test']:,} of {size['test_users']:,} users",
        f"filters: {flat(asked['dataset']['filters'])}",
        f"split: {flat(asked['dataset']['split'])}; no candidates at test: {asked['exclude']}",
        f"data `{first.fingerprints['data'][:12]}`, split `{first.fingerprints['split'][:12]}`"
        + "".join(f", {name} lists `{candidates[name][:12]}`" for name in sorted(candidates)),
        *(f"ran on {machine}" for machine in machines),
        *section.notes,
    ]


def _machine(record: ResultRecord) -> str:
    where, packages = record.environment, record.environment["packages"]
    versions = ", ".join(
        f"{name} {packages[name]}" for name in ("torch", "recbole") if name in packages
    )
    return f"{where['device'] if where['device'] != 'cpu' else where['cpu']}, python {where['python']}, {versions}"


def _verdicts(section: Section, metric: str) -> list[str]:
    """One sentence per protocol: which pairs it puts in another order than full ranking."""
    lines = []
    for protocol in section.sampled:
        pairs = swaps(section, protocol, metric)
        if pairs:
            lines.append(
                f"* {protocol} turns around: " + "; ".join(f"{a} over {b}" for a, b in pairs) + "."
            )
    if not lines:
        lines.append(
            "* No sampled protocol turns a pair around here." if len(section.rows) > 1 else ""
        )
    return [line for line in lines if line]
