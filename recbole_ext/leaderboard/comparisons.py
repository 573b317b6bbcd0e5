"""Paired tests between the rows of a section, kept beside the records so that a board needs no ranks.

What has been compared once is stored by the runs' ids, which stand for everything that determined them, and is never
computed again; `compare` makes what is missing from the runs' rank tables.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.evaluator.paired import Paired, holm
from recbole_ext.files import write_atomically
from recbole_ext.leaderboard.rows import Row, Section

SCHEMA = 1
JOINT = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""Metrics of full ranking that rows are compared on, beside the per-positive ones of every protocol."""
LEVEL = 0.05

Key = tuple[str, str, str, str]
"""Run ids of one row and of another (each sorted, joined by `+`; the smaller first), protocol, metric."""
Comparisons = Mapping[Key, Paired]
NONE: Comparisons = {}


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


def verdicts(section: Section, known: Comparisons) -> Verdicts:
    """What the comparisons made say of the rows of a section."""
    made = [
        (one, two, metric, *pair_key(one, two, "full", metric))
        for one, two in itertools.combinations(section.rows, 2)
        for metric in JOINT
    ]
    made = [entry for entry in made if entry[3] in known]
    adjusted = holm([known[key].p for *_, key, _ in made])
    out: dict[tuple[str, str], dict[str, Tested]] = {}
    for (one, two, metric, key, other_way), p in zip(made, adjusted, strict=True):
        paired = swapped(known[key]) if other_way else known[key]
        out.setdefault((one.label, metric), {})[two.label] = Tested(paired, p)
        out.setdefault((two.label, metric), {})[one.label] = Tested(swapped(paired), p)
    return out


def read_comparisons(folder: Path) -> tuple[dict[Key, Paired], list[str]]:
    """(what was compared before, a line for each file that cannot be trusted) of `folder`."""
    found: dict[Key, Paired] = {}
    damaged = []
    for path in sorted(folder.rglob("comparisons-*.json")):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw["schema"] > SCHEMA:
                raise ValueError(f"schema {raw['schema']} is newer than {SCHEMA}")
            for entry in raw["comparisons"]:
                key = (entry["first"], entry["second"], entry["protocol"], entry["metric"])
                values = {f.name: float(entry[f.name]) for f in dataclasses.fields(Paired)}
                found[key] = Paired(**values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(f"{path}: no readable comparisons ({' '.join(str(error).split())})")
    return found, damaged


def write_comparisons(folder: Path, section: Section, known: Comparisons) -> Path | None:
    """Write those of a section below `folder`; None when there are none."""
    ids = {_ids(row) for row in section.rows}
    own = {key: value for key, value in known.items() if {key[0], key[1]} <= ids}
    if not own:
        return None
    asked, read = section.first.experiment, section.first.fingerprints
    ground = "|".join([asked["exclude"], read["data"], read["split"]])
    name = hashlib.sha256(ground.encode()).hexdigest()[:12]
    entries = [
        {"first": key[0], "second": key[1], "protocol": key[2], "metric": key[3], **_rounded(value)}
        for key, value in sorted(own.items())
    ]
    lines = ",\n".join(json.dumps(entry, sort_keys=True) for entry in entries)
    path = folder / f"comparisons-{name}.json"
    write_atomically(path, f'{{"schema": {SCHEMA}, "comparisons": [\n{lines}\n]}}\n')
    return path


def _ids(row: Row) -> str:
    return "+".join(sorted(record.run_id for record in row.records))


def pair_key(one: Row, two: Row, protocol: str, metric: str) -> tuple[Key, bool]:
    """The key of a pair, and whether it names the two the other way round."""
    a, b = _ids(one), _ids(two)
    return ((a, b, protocol, metric), False) if a < b else ((b, a, protocol, metric), True)


def swapped(paired: Paired) -> Paired:
    return Paired(-paired.difference, -paired.high, -paired.low, -paired.effect, paired.p)


def _rounded(paired: Paired) -> dict[str, Any]:
    return {name: round(value, 8) for name, value in dataclasses.asdict(paired).items()}
