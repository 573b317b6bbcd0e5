"""Sections -> groups (the random splits of one dataset) -> tables: which rows are compared with which.

A model stands once in a main table, by its best tuned row; everything else that was run of it stands in a table under its paper's
name. What a table compares is what its p-values are adjusted over, so that an ablation costs nobody a letter.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from recbole_ext.core.canonical import canonical_json
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.family import paper_of
from recbole_ext.leaderboard.labels import safe, section_titles
from recbole_ext.leaderboard.rows import Row, Section, cell_places, headline_of
from recbole_ext.results import ResultRecord

_RESERVED = {"leaderboard", "sampled-vs-full", "readme", "summary", "trials"}
"""Pages that are no dataset's."""
_SPLIT = {"split_seed", "fold"}
"""What differs between random splits of one dataset."""


HEADINGS = {
    "full": "Models",
    "lists": "Models that choose from given lists",
    "ctr": "Models on labelled pairs",
}
"""Kind of table, in the order of a page -> its heading."""


@dataclass(frozen=True)
class Table:
    """Rows that are compared with one another and with no other."""

    heading: str
    kind: str
    """`full`, `lists` (given lists, where some model scores nothing else), `ctr` (labelled pairs) or `others` (ablations, controls, zero-shot, repeats)."""
    section: Section
    """Of these rows alone, placed among themselves."""
    labels: Mapping[str, str]
    """Name of a row in this table -> its label among all rows: a model that stands once needs no more than its name."""


@dataclass(frozen=True)
class Group:
    """Sections that differ in nothing but the seed of the split."""

    title: str
    sections: tuple[Section, ...]
    """By the seed of the split."""
    mains: tuple[Mapping[str, Row], ...]
    """By split, model -> its row of the main table."""
    reference: Section
    """The split with most models, of several the first: what the tables are of."""
    tables: tuple[Table, ...]

    @property
    def dataset(self) -> str:
        return str(self.reference.first.experiment["dataset"]["name"])

    @property
    def page(self) -> str:
        """Name of the dataset's pages, without an ending."""
        return page_name(self.dataset)

    @property
    def unseen_users(self) -> bool:
        """Strong generalisation: the tested users are none that were trained on."""
        return unseen_users(self.reference)

    def table(self, kind: str) -> Table | None:
        """The first table of a kind."""
        return next((table for table in self.tables if table.kind == kind), None)

    @property
    def main(self) -> Section | None:
        """The models under full ranking."""
        found = self.table("full")
        return found.section if found else None

    def over_splits(self, model: str, metric: str) -> list[float] | None:
        """A metric of full ranking on every split, each time of the model's best row; None unless it stands on all."""
        values = []
        for rows in self.mains:
            row = rows.get(model)
            cell = row.cell("full", metric) if row else None
            if cell is None:
                return None
            values.append(cell.mean)
        return values if len(values) > 1 else None


def unseen_users(section: Section) -> bool:
    """Whether a split tests users that training has not seen."""
    return bool(section.first.experiment["dataset"]["split"]["split"] == "users")


def page_name(dataset: str) -> str:
    """A dataset's name as a file's, and none of another page's."""
    name = safe(dataset)
    taken = name.casefold() in _RESERVED or name.casefold().endswith("-protocols")
    return f"{name}-data" if taken else name


def groups(sections: Iterable[Section]) -> list[Group]:
    """In the order of the sections, which is by dataset."""
    found: dict[str, dict[tuple[int, ...], Section]] = {}
    for section in sections:
        asked = section.first.experiment
        split = {k: v for k, v in asked["dataset"]["split"].items() if k not in _SPLIT}
        own = [
            asked["dataset"]["name"],
            section.first.fingerprints["data"],
            split,
            asked["exclude"],
        ]
        for again in itertools.count():  # one seed that gave two splits gives two groups
            of = found.setdefault(canonical_json([*own, again]), {})
            if _seed(section) not in of:
                of[_seed(section)] = section
                break
    ordered = [tuple(of[seed] for seed in sorted(of)) for of in found.values()]
    titles = section_titles([_titled(of) for of in ordered])
    return [_group(title, of) for title, of in zip(titles, ordered, strict=True)]


def _seed(section: Section) -> tuple[int, ...]:
    split = section.first.experiment["dataset"]["split"]
    return tuple(int(split.get(key, 0)) for key in sorted(_SPLIT))


def _titled(sections: Sequence[Section]) -> ResultRecord:
    """A record to name a group by: without the seed of the split where the group has several."""
    record = sections[0].first
    if len(sections) == 1:
        return record
    dataset = record.experiment["dataset"]
    split = {k: v for k, v in dataset["split"].items() if k not in _SPLIT}
    asked = record.experiment | {"dataset": dataset | {"split": split}}
    return dataclasses.replace(record, experiment=asked)


def _group(title: str, sections: tuple[Section, ...]) -> Group:
    chosen = [{kind: chosen_rows(section, kind) for kind in HEADINGS} for section in sections]
    # `max` takes the first of equals.
    reference = max(range(len(sections)), key=lambda i: sum(map(len, chosen[i].values())))
    section, of_reference = sections[reference], chosen[reference]
    tables = [_models(kind, section, of) for kind, of in of_reference.items() if of]
    stand = [row.label for of in of_reference.values() for row in of.values()]
    papers: dict[str, list[Row]] = {}
    for row in section.rows:
        if row.label not in stand:
            papers.setdefault(paper_of(row.model), []).append(row)
    for paper, rows in sorted(papers.items()):
        models = {row.model for row in rows}
        beside = [
            row
            for row in section.rows
            if row in rows or (row.model in models and row.label in stand)
        ]
        labels = {row.label: row.label for row in beside}
        tables.append(Table(paper, "others", restricted(section, beside), labels))
    mains = tuple(of["full"] for of in chosen)
    return Group(title, sections, mains, section, tuple(tables))


def _models(kind: str, section: Section, rows: Mapping[str, Row]) -> Table:
    """A table of one row per model, by the models' names."""
    found = restricted(section, list(rows.values()))
    names = {row.label: row.model for row in found.rows}
    lists = {
        protocol: {h: [names[label] for label in of] for h, of in by.items()}
        for protocol, by in found.lists.items()
    }
    named = tuple(dataclasses.replace(row, label=row.model) for row in found.rows)
    section = dataclasses.replace(found, rows=named, lists=lists)
    heading = HEADINGS[kind] + (
        ", users that training has not seen" if unseen_users(section) else ""
    )
    return Table(heading, kind, section, {model: row.label for model, row in rows.items()})


def chosen_rows(section: Section, kind: str) -> dict[str, Row]:
    """Model -> its row of a table, the best on validation among the tuned ones, or, where none was tuned, among all.

    What was trained elsewhere, or again on validation, is not what the others are: it is chosen only where all of them were trained again.
    """
    by_model: dict[str, list[Row]] = {}
    if kind == "lists" and all(not _lists_alone(row) for row in section.rows):
        return {}  # every model scores every item: its lists stand beside full ranking
    usual = [row for row in section.rows if not _apart(row)]
    for row in usual or [row for row in section.rows if not _transferred(row)]:
        if kind in _kinds(row):
            by_model.setdefault(row.model, []).append(row)
    return {model: _best(rows) for model, rows in by_model.items()}


def _kinds(row: Row) -> set[str]:
    """Which tables a row has numbers for."""
    protocols = [protocol_of(name) for name in row.first.metrics]
    holds = {
        "full": any(of.kind == "full" for of in protocols),
        "lists": any(of.drawn for of in protocols),
        "ctr": any(of.labelled for of in protocols),
    }
    return {kind for kind, there in holds.items() if there}


def _lists_alone(row: Row) -> bool:
    return "lists" in _kinds(row) and "full" not in _kinds(row)


def _apart(row: Row) -> bool:
    return _transferred(row) or bool(row.first.experiment.get("refit"))


def _transferred(row: Row) -> bool:
    return bool(row.first.experiment.get("train_on"))


def _best(rows: Sequence[Row]) -> Row:
    rows = [row for row in rows if row.points is not None] or rows
    seen = [_validated(row) for row in rows]
    alike = {
        (row.first.experiment["valid_metric"], row.first.experiment.get("valid_rows"))
        for row in rows
    }
    if len(alike) > 1 or None in seen:  # nothing in common but the test: rows stand in its order
        return rows[0]
    return rows[max(range(len(rows)), key=lambda i: (seen[i], -i))]


def _validated(row: Row) -> float | None:
    values = [record.validation["value"] for record in row.records]
    return None if None in values else fmean(values)


def restricted(section: Section, rows: Sequence[Row]) -> Section:
    """A section of some of its rows, placed among themselves."""
    rows = [row for row in section.rows if row in rows]
    headline = headline_of(rows, {n for n in section.lists if not section.comparable(n)})
    cells = [row.cell(*headline) if headline else None for row in rows]
    placed = [
        dataclasses.replace(row, place=place)
        for row, place in zip(rows, cell_places(cells), strict=True)
    ]
    placed.sort(key=lambda row: (row.place is None, row.place or 0, row.label))
    labels = {row.label for row in rows}
    lists = {
        name: {h: kept for h, of in by.items() if (kept := [x for x in of if x in labels])}
        for name, by in section.lists.items()
    }
    return dataclasses.replace(
        section,
        rows=tuple(placed),
        headline=headline,
        lists={n: by for n, by in lists.items() if by},
    )
