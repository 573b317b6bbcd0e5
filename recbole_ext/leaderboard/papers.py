"""Papers' own numbers beside ours, with what differs between their conditions and a record's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.shape import flaw
from recbole_ext.core.yaml_files import properties, read_yaml
from recbole_ext.evaluator.metrics import metric_of
from recbole_ext.leaderboard.labels import flat
from recbole_ext.leaderboard.rows import Row, Section
from recbole_ext.results import ResultRecord

_UNSHOWN = "hr"
"""Printed by papers, and in no table of ours."""
_SHAPE = {
    "paper": str,
    "tables": [
        {
            "where": str,
            "board": bool,
            "datasets": [str],
            "conditions": {},
            "metrics": [str],
            "rows": {"*": [float]},
        }
    ],
}


@dataclass(frozen=True)
class PaperTable:
    """Numbers of one paper on one dataset."""

    title: str
    """`L3AE (CIKM 2025), Table 2, Games`."""
    metrics: tuple[str, ...]
    rows: Mapping[str, Sequence[float]]
    """Model (our name) -> its printed values, in the order of `metrics`."""
    conditions: Mapping[str, Any]
    datasets: tuple[str, ...]
    """The paper's own, by our name, and those near it."""
    board: bool
    """Whether it stands on the leaderboard; else only `board --paper` prints it."""

    @property
    def shown(self) -> tuple[str, ...]:
        """The metrics that stand beside ours."""
        return tuple(name for name in self.metrics if not name.startswith(f"{_UNSHOWN}@"))

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


def paper_names() -> list[str]:
    """Papers whose numbers are known here."""
    return sorted(path.stem for path in (properties() / "paper").glob("*.yaml"))


def every_table() -> list[PaperTable]:
    """All tables of all papers.

    Raises:
        HarnessError: a mistake in a paper's YAML.
    """
    return [table for paper in paper_names() for table in _read(paper)]


def tables_of(paper: str) -> tuple[PaperTable, ...]:
    """All tables of one paper, in its order.

    Raises:
        HarnessError: no such paper, or a mistake in its YAML.
    """
    names = paper_names()
    if paper not in names:
        raise HarnessError(
            f"paper '{paper}' is unknown ({', '.join(names)}){nearest(paper, names)}"
        )
    return _read(paper)


def paper_tables(section: Section) -> list[PaperTable]:
    """Tables of papers on this dataset, or on one that is near it, with a model that stands in the section."""
    return [table for table in every_table() if table.board and fits(table, section)]


def fits(table: PaperTable, section: Section) -> bool:
    """Whether a section has anything to stand beside a table."""
    dataset = section.first.experiment["dataset"]["name"]
    return dataset in table.datasets and any(row.model in table.rows for row in section.rows)


@cache
def _read(paper: str) -> tuple[PaperTable, ...]:
    path = properties() / "paper" / f"{paper}.yaml"
    found = read_yaml(path)
    wrong = flaw(found, _SHAPE) or next(filter(None, map(_odd, found["tables"])), None)
    if wrong:
        raise HarnessError(f"{path}: {wrong}")
    return tuple(
        PaperTable(
            title=f"{found['paper']}, {table['where']}",
            metrics=tuple(table["metrics"]),
            rows=table["rows"],
            conditions=table["conditions"],
            datasets=tuple(table["datasets"]),
            board=table["board"],
        )
        for table in found["tables"]
    )


def _odd(table: Mapping[str, Any]) -> str | None:
    """What of a table has no place on a page."""
    where, metrics = table["where"], table["metrics"]
    for name in metrics:
        try:
            _, k = metric_of(name)
        except HarnessError as error:
            return f"{where}: {error}"
        if k is None:
            return f"{where}: metric '{name}' has no cut-off, e.g. {name}@20"
    for model, values in table["rows"].items():
        if len(values) != len(metrics):
            return f"{where}: row {model} has {len(values)} numbers for {len(metrics)} metrics"
    return None


def _conditions(record: ResultRecord) -> dict[str, Any]:
    """A record in the words that a paper's conditions are written in."""
    asked = record.experiment
    found = {
        "dataset": asked["dataset"]["name"],
        **{key: record.data[key] for key in ("users", "items", "interactions")},
        **asked["dataset"]["split"],
        "exclude": asked["exclude"],
    }
    if record.text is not None and "encoder" in record.text:
        found["encoder"] = record.text["encoder"]
    return found


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else flat(value)
