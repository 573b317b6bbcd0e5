"""Hits by the place at which the prompt named the right item, of every finished run of a folder, as tables in markdown.

    python -m benchmarks.saulrec.places RECORDS

No model is asked again: `lists.parquet` beside each record has the places. What names no title, or was not told of the candidates in an
order, is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

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
            lines += [*told(title_of(record, protocol), by_place(table, protocol)), ""]
    return lines


def title_of(record: ResultRecord, protocol: str) -> str:
    """A run in a few words."""
    named = [str(record.experiment["model"]), str(record.experiment["dataset"]["name"]), protocol]
    if "backbone" in record.params:
        named.insert(1, str(record.params["backbone"]))
    return f"{', '.join(named)}, seed {record.experiment['seed']} (`{record.run_id}`)"


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
    main(sys.argv[1:])
