"""Papers' own numbers beside ours, with what differs between their conditions and a record's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from recbole_ext.leaderboard.labels import flat
from recbole_ext.leaderboard.rows import Row, Section
from recbole_ext.results import ResultRecord
from recbole_ext.yamlfiles import properties, read_yaml


@dataclass(frozen=True)
class PaperTable:
    """Numbers of one paper on one dataset."""

    title: str
    """`L3AE (CIKM 2025), Table 2, Games`."""
    metrics: tuple[str, ...]
    rows: Mapping[str, Sequence[float]]
    """Model (our name) -> its printed values, in the order of `metrics`."""
    conditions: Mapping[str, Any]

    def value(self, row: Row, metric: str) -> float | None:
        """What the paper prints for a row's model."""
        printed = self.rows.get(row.model)
        return None if printed is None else float(printed[self.metrics.index(metric)])

    def differences(self, section: Section) -> list[str]:
        """What the section's rows have otherwise than the paper, `ours (theirs)`; empty where numbers are comparable."""
        told = []
        ours = [
            _conditions(record)
            for row in section.rows
            if row.model in self.rows
            for record in row.records
        ]
        for key, theirs in self.conditions.items():
            own = sorted({_shown(of[key]) for of in ours if key in of})
            if own and own != [_shown(theirs)]:
                told.append(f"{key} {' or '.join(own)} ({_shown(theirs)})")
        return told


def paper_tables(section: Section) -> list[PaperTable]:
    """Tables of papers on this dataset, or on one that is near it, with a model that stands in the section."""
    dataset = section.first.experiment["dataset"]["name"]
    models = {row.model for row in section.rows}
    return [table for table, of in _all() if dataset in of and models & set(table.rows)]


@cache
def _all() -> tuple[tuple[PaperTable, tuple[str, ...]], ...]:
    found = []
    for path in sorted((properties() / "paper").glob("*.yaml")):
        paper = read_yaml(path)
        for table in paper["tables"]:
            made = PaperTable(
                title=f"{paper['paper']}, {table['where']}",
                metrics=tuple(table["metrics"]),
                rows=table["rows"],
                conditions=table["conditions"],
            )
            found.append((made, tuple(table["datasets"])))
    return tuple(found)


def _conditions(record: ResultRecord) -> dict[str, Any]:
    """A record in the words that a paper's conditions are written in."""
    asked = record.experiment
    found = {
        "dataset": asked["dataset"]["name"],
        **{key: record.data[key] for key in ("users", "items", "interactions")},
        **asked["dataset"]["split"],
        "exclude": asked["exclude"],
    }
    if record.text is not None:
        found["encoder"] = record.text["encoder"]
    return found


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else flat(value)
