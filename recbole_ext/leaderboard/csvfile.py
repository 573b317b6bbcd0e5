"""leaderboard.csv: every number of every row, in long form."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from recbole_ext.leaderboard.rows import DECIMALS, Row, Section, sections, trailing_number
from recbole_ext.results import ResultRecord

_HEADINGS = (
    "dataset", "data", "split", "exclude", "model", "label", "seeds", "protocol", "metric", "mean", "low", "high",
    "sd_over_seeds", "sd_over_draws", "tuned_points", "run_ids",
)  # fmt: skip


def render_csv(records: Iterable[ResultRecord]) -> str:
    """One line per row, protocol and metric, sorted by name so that a changed value is a changed line."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEADINGS)
    for section in sections(records):
        for row in sorted(section.rows, key=lambda row: (row.model, row.label)):
            writer.writerows(_lines(section, row))
    return out.getvalue()


def _lines(section: Section, row: Row) -> Iterable[list[object]]:
    asked, read = row.first.experiment, row.first.fingerprints
    names = {
        (protocol, metric)
        for record in row.records
        for protocol, metrics in record.metrics.items()
        for metric in metrics
    }
    protocols = ["full", *section.sampled]
    for protocol, metric in sorted(
        names, key=lambda n: (protocols.index(n[0]), n[1].partition("@")[0], trailing_number(n[1]))
    ):
        cell = row.cell(protocol, metric)
        numbers = (
            (cell.mean, cell.low, cell.high, cell.seed_sd, cell.draw_sd) if cell else (None,) * 5
        )
        yield [
            asked["dataset"]["name"],
            read["data"][:12],
            read["split"][:12],
            asked["exclude"],
            row.model,
            row.label,
            len(row.records),
            protocol,
            metric,
            *("" if number is None else f"{number:.{DECIMALS}f}" for number in numbers),
            "" if row.points is None else row.points,
            " ".join(record.run_id for record in row.records),
        ]
