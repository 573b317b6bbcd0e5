"""Hits by the place at which the prompt named the right item, of every finished run of a folder, as tables in markdown.

    python -m benchmarks.saulrec.places RECORDS

No model is asked again: `lists.parquet` beside each record has the places. What names no title, or was not told of the candidates in an
order, is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.saulrec.rows import title_of
from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.list_places import ByPlace, by_place
from recbole_ext.evaluator.lists import ListTable
from recbole_ext.evaluator.tables import read_tables
from recbole_ext.results import ResultRecord, read_records


def tables(records: Path) -> list[str]:
    """Lines of markdown: a table for each run and protocol that has places."""
    lines: list[str] = []
    for path, record in read_records(records)[0]:
        table = read_tables(path.parent).ranked
        if not isinstance(table, ListTable):
            continue
        for protocol in table.placed:
            lines += [*told(_title(record, protocol), by_place(table, protocol)), ""]
    return lines


def _title(record: ResultRecord, protocol: str) -> str:
    experiment = record.experiment
    return f"{title_of(record)}, {experiment['dataset']['name']}, {protocol}, seed {experiment['seed']} (`{record.run_id}`)"


def told(title: str, found: ByPlace) -> list[str]:
    """One table."""
    even = f"the places make {'a' if found.p < 0.05 else 'no'} difference beyond chance (p {found.p:.4f})"
    rows = [
        f"| {one.place} | {one.lists:,} | {one.hit:.3f} [{one.low:.3f}, {one.high:.3f}] | {one.chosen:.3f} |"
        for one in found.places
    ]
    return [
        f"{title}: Hit@1 {found.hit:.4f}, {even}",
        "",
        "| place of the right item | lists | Hit@1 | answers at this place |",
        "|--:|--:|--:|--:|",
        *rows,
    ]


def main(arguments: Sequence[str]) -> None:
    """Print the tables of a folder."""
    print("\n".join(tables(Path(arguments[0]))))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except HarnessError as error:
        sys.exit(f"error: {error}")
