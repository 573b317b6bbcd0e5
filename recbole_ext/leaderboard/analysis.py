"""Paired tests and corrected estimates of the rows of a section, kept beside the records so that a board needs no ranks.

What has been found once is stored by the runs' ids, which stand for everything that determined them, and is never
computed again; `analyse` makes what is missing from the runs' rank tables.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_ext.evaluator.findings import Corrected, Paired, holm
from recbole_ext.files import write_atomically
from recbole_ext.leaderboard.rows import Row, Section

SCHEMA = 1
JOINT = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""Metrics of full ranking that rows are compared on, beside the per-positive ones of every protocol."""
LEVEL = 0.05

Pair = tuple[str, str, str, str]
"""Run ids of one row and of another (each sorted, joined by `+`; the smaller first), protocol, metric."""
Single = tuple[str, str, str]
"""Run ids of a row, protocol, metric."""


@dataclass
class Analysis:
    """What is known of pairs of rows, and of rows under a drawn protocol."""

    pairs: dict[Pair, Paired] = field(default_factory=dict)
    corrected: dict[Single, Corrected] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.pairs or self.corrected)

    def update(self, other: Analysis) -> None:
        self.pairs |= other.pairs
        self.corrected |= other.corrected


@dataclass(frozen=True)
class Tested:
    """How one row differs from another."""

    paired: Paired
    p: float
    """Adjusted by Holm's method over every pair and metric of `JOINT` in the section."""

    @property
    def wins(self) -> bool:
        return self.paired.difference > 0 and self.p < LEVEL


Verdicts = Mapping[tuple[str, str], Mapping[str, Tested]]
"""(label, metric of full ranking) -> label of another row -> how the first differs from it."""


def verdicts(section: Section, known: Analysis) -> Verdicts:
    """What the comparisons made say of the rows of a section."""
    made = [
        (one, two, metric, *pair_key(one, two, "full", metric))
        for one, two in itertools.combinations(section.rows, 2)
        for metric in JOINT
    ]
    made = [entry for entry in made if entry[3] in known.pairs]
    adjusted = holm([known.pairs[key].p for *_, key, _ in made])
    out: dict[tuple[str, str], dict[str, Tested]] = {}
    for (one, two, metric, key, other_way), p in zip(made, adjusted, strict=True):
        paired = swapped(known.pairs[key]) if other_way else known.pairs[key]
        out.setdefault((one.label, metric), {})[two.label] = Tested(paired, p)
        out.setdefault((two.label, metric), {})[one.label] = Tested(swapped(paired), p)
    return out


def read_analysis(folder: Path) -> tuple[Analysis, list[str]]:
    """(what was found before, a line for each file that cannot be trusted) of `folder`."""
    found = Analysis()
    damaged = []
    for path in sorted(folder.rglob("analysis-*.json")):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw["schema"] > SCHEMA:
                raise ValueError(f"schema {raw['schema']} is newer than {SCHEMA}")
            for entry in raw["pairs"]:
                pair = (entry["first"], entry["second"], entry["protocol"], entry["metric"])
                found.pairs[pair] = Paired(**_values(Paired, entry))
            for entry in raw["corrected"]:
                single = (entry["row"], entry["protocol"], entry["metric"])
                found.corrected[single] = Corrected(**_values(Corrected, entry))
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(f"{path}: no readable analysis ({' '.join(str(error).split())})")
    return found, damaged


def write_analysis(folder: Path, section: Section, known: Analysis) -> None:
    """Write what is known of a section below `folder`."""
    ids = {row_ids(row) for row in section.rows}
    asked, read = section.first.experiment, section.first.fingerprints
    ground = "|".join([asked["exclude"], read["data"], read["split"]])
    name = hashlib.sha256(ground.encode()).hexdigest()[:12]
    pairs = [
        {"first": k[0], "second": k[1], "protocol": k[2], "metric": k[3], **_rounded(value)}
        for k, value in sorted(known.pairs.items())
        if {k[0], k[1]} <= ids
    ]
    singles = [
        {"row": k[0], "protocol": k[1], "metric": k[2], **_rounded(value)}
        for k, value in sorted(known.corrected.items())
        if k[0] in ids
    ]
    lists = (
        ",\n".join(json.dumps(e, sort_keys=True) for e in entries) for entries in (pairs, singles)
    )
    text = '{{"schema": {}, "pairs": [\n{}\n], "corrected": [\n{}\n]}}\n'.format(SCHEMA, *lists)
    write_atomically(folder / f"analysis-{name}.json", text)


def _values(kind: type, entry: Mapping[str, Any]) -> dict[str, float]:
    return {f.name: float(entry[f.name]) for f in dataclasses.fields(kind)}


def row_ids(row: Row) -> str:
    return "+".join(sorted(record.run_id for record in row.records))


def pair_key(one: Row, two: Row, protocol: str, metric: str) -> tuple[Pair, bool]:
    """The key of a pair, and whether it names the two the other way round."""
    a, b = row_ids(one), row_ids(two)
    return ((a, b, protocol, metric), False) if a < b else ((b, a, protocol, metric), True)


def swapped(paired: Paired) -> Paired:
    return Paired(-paired.difference, -paired.high, -paired.low, -paired.effect, paired.p)


def _rounded(found: Paired | Corrected) -> dict[str, float]:
    return {name: round(value, 8) for name, value in dataclasses.asdict(found).items()}
