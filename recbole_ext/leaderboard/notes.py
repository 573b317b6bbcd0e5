"""What a reader must know about a section besides its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from recbole_ext.leaderboard.labels import flat, listed
from recbole_ext.leaderboard.rows import HEADLINE, Section
from recbole_ext.results import ResultRecord


def facts(section: Section) -> list[str]:
    """Sizes, split, identities and machines, a line each."""
    size, read = section.first.data, section.first.fingerprints
    asked = [record.experiment for record in section.records]
    folded_in = f", folded in {size['history']:,}" if "history" in size else ""
    lists = [
        f"{name} lists {' or '.join(value[:12] for value in by_hash)}"
        for name, by_hash in section.lists.items()
    ]
    return [
        f"{size['users']:,} users, {size['items']:,} items, {size['interactions']:,} interactions; train "
        f"{size['train']:,}, valid {size['valid']:,}, test {size['test']:,} of {size['test_users']:,} users{folded_in}",
        f"filters: {_either(flat(of['dataset']['filters']) for of in asked) or 'none'}",
        f"{_either(flat(of['dataset']['split']) for of in asked)}; no candidates at test: {asked[0]['exclude']}",
        ", ".join([f"data {read['data'][:12]}", f"split {read['split'][:12]}", *lists]),
        f"ran on {_environments(section)}",
    ]


def warnings(section: Section) -> list[str]:
    """Why rows of the section must not be compared, where that is so."""
    found = [
        f"candidate lists differ: {name} is {_per_row(by_hash)}; {name} is not comparable"
        for name, by_hash in section.lists.items()
        if not section.comparable(name)
    ]
    revisions: dict[str, list[str]] = {}
    for row in sorted(section.rows, key=lambda row: row.label):
        revision = str(row.first.experiment["evaluator_revision"])
        revisions.setdefault(revision, []).append(row.label)
    if len(revisions) > 1:
        found.append(
            f"evaluator revisions differ: {_per_row(revisions)}; the older rows are not comparable, run them again"
        )
    if section.headline is not None and section.headline != HEADLINE:
        found.append(f"rows are ordered by {section.headline[1]} of {section.headline[0]}")
    return found


def remarks(section: Section) -> list[str]:
    """The numbered flags, each with its rows: the column of marks may have been dropped."""
    return [
        f"[{number}] {flag} ({listed([row.label for row in section.rows if number in row.marks])})"
        for number, flag in enumerate(section.flags, 1)
        if any(number in row.marks for row in section.rows)
    ]


def _per_row(by_value: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{value[:12]} for {listed(rows)}" for value, rows in sorted(by_value.items()))


def _either(texts: Iterable[str]) -> str:
    """Usually one: the same data and split may have been asked for in other words."""
    return " or ".join(sorted(set(texts)))


def _environments(section: Section) -> str:
    found: dict[str, list[str]] = {}
    for row in sorted(section.rows, key=lambda row: row.label):
        for text in sorted({environment_of(record) for record in row.records}):
            found.setdefault(text, []).append(row.label)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{text} for {listed(rows)}" for text, rows in sorted(found.items()))


def environment_of(record: ResultRecord) -> str:
    """Device, processor, threads and versions on a line."""
    where, threads = record.environment, record.experiment["threads"]
    versions = [
        f"{name} {where['packages'][name]}"
        for name in ("torch", "recbole")
        if name in where["packages"]
    ]
    device = [where["device"]] if where["device"] != "cpu" else []
    cpu = f"{where['cpu']} with {threads} thread{'s' if threads != 1 else ''}"
    return ", ".join([*device, cpu, f"python {where['python']}", *versions])
