"""Paired tests, corrected estimates and intervals of rank correlations, kept beside the records so that a board needs no
ranks.

What has been found once is stored by the runs' ids, which stand for everything that determined them, and is never
computed again; `analyse` makes what is missing from the runs' rank tables.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.evaluator.findings import Corrected, Paired, holm
from recbole_ext.leaderboard.rows import Row, Section
from recbole_ext.results import LeftAlone

SCHEMA = 2
JOINT = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
"""Metrics of full ranking that rows are compared on, beside the per-positive ones of every protocol."""
LEVEL = 0.05

Pair = tuple[str, str, str, str]
"""Run ids of one row and of another (each sorted, joined by `+`; the smaller first), protocol, metric."""
Single = tuple[str, str, str]
"""Run ids of a row, protocol, metric."""
Order = tuple[str, str, str]
"""Digest of the run ids of all rows, what orders them (`uni19`, or `uni19 mle` for an estimate), metric."""


@dataclass
class Analysis:
    """What is known of pairs of rows, of rows under a drawn protocol, and of the orders that protocols give."""

    pairs: dict[Pair, Paired] = field(default_factory=dict)
    corrected: dict[Single, Corrected] = field(default_factory=dict)
    taus: dict[Order, tuple[float, float]] = field(default_factory=dict)
    """95% bootstrap interval of Kendall's τ-b with full ranking."""

    def __bool__(self) -> bool:
        return bool(self.pairs or self.corrected or self.taus)

    def rounded(self) -> Analysis:
        """As it is read back from a file."""
        return Analysis(
            {key: Paired(**_rounded(value)) for key, value in self.pairs.items()},
            {
                key: Corrected(**_values(Corrected, _rounded(value)))
                for key, value in self.corrected.items()
            },
            {key: (_short(low), _short(high)) for key, (low, high) in self.taus.items()},
        )

    def update(self, other: Analysis) -> None:
        self.pairs |= other.pairs
        self.corrected |= other.corrected
        self.taus |= other.taus


@dataclass(frozen=True)
class Tested:
    """How one row differs from another."""

    paired: Paired
    p: float
    """Adjusted by Holm's method over every pair of the section's rows and every metric asked for."""

    @property
    def wins(self) -> bool:
        return self.paired.difference > 0 and self.p < LEVEL


Verdicts = Mapping[tuple[str, str], Mapping[str, Tested]]
"""(label, metric) -> label of another row -> how the first differs from it."""


def order_name(protocol: str, estimator: str = "naive") -> str:
    """What orders rows, as it is stored: `uni19`, or `uni19 mle`."""
    return protocol if estimator == "naive" else f"{protocol} {estimator}"


def verdicts(
    section: Section, known: Analysis, protocol: str = "full", metrics: Sequence[str] = JOINT
) -> Verdicts:
    """What the comparisons made say of the rows of a section, adjusted over all pairs and the `metrics` together."""
    made = [
        (one, two, metric, *pair_key(one, two, protocol, metric))
        for one, two in itertools.combinations(section.rows, 2)
        for metric in metrics
    ]
    made = [entry for entry in made if entry[3] in known.pairs]
    adjusted = holm([known.pairs[key].p for *_, key, _ in made])
    out: dict[tuple[str, str], dict[str, Tested]] = {}
    for (one, two, metric, key, other_way), p in zip(made, adjusted, strict=True):
        paired = swapped(known.pairs[key]) if other_way else known.pairs[key]
        out.setdefault((one.label, metric), {})[two.label] = Tested(paired, p)
        out.setdefault((two.label, metric), {})[one.label] = Tested(swapped(paired), p)
    return out


def read_analysis(folder: Path) -> tuple[Analysis, list[HarnessError]]:
    """(what was found before, what is wrong with each file that cannot be trusted) of `folder`."""
    found = Analysis()
    damaged: list[HarnessError] = []
    for path in sorted(folder.rglob("analysis-*.json")):
        try:
            raw = _raw(path)
            for entry in raw["pairs"]:
                pair = (entry["first"], entry["second"], entry["protocol"], entry["metric"])
                found.pairs[pair] = Paired(**_values(Paired, entry))
            for entry in raw["corrected"]:
                single = (entry["row"], entry["protocol"], entry["metric"])
                found.corrected[single] = Corrected(**_values(Corrected, entry))
            for entry in raw["taus"]:
                order = (entry["rows"], entry["order"], entry["metric"])
                found.taus[order] = (float(entry["low"]), float(entry["high"]))
        except LeftAlone as error:
            damaged.append(error)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = " ".join(str(error).split())
            damaged.append(HarnessError(f"{path}: no readable analysis ({why})"))
    return found, damaged


def _raw(path: Path) -> Any:
    """A file of this schema as it stands.

    Raises:
        LeftAlone: a newer schema, or a file that may not be read.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LeftAlone(f"{path}: {error.strerror}") from None
    if raw["schema"] > SCHEMA:
        raise LeftAlone(
            f"{path}: schema {raw['schema']} is newer than {SCHEMA}; update recbole_ext"
        )
    if raw["schema"] != SCHEMA:
        raise ValueError(f"schema {raw['schema']} where {SCHEMA} is read")
    return raw


def write_analysis(folder: Path, section: Section, known: Analysis) -> None:
    """Write what is known of a section below `folder`, unless a later version's findings stand there."""
    path = folder / f"analysis-{section.problem}.json"
    if path.is_file() and _left_alone(path):
        return
    ids = {row.ids for row in section.rows}
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
    own = rows_key(section)
    taus = [
        {"rows": k[0], "order": k[1], "metric": k[2], "low": _short(low), "high": _short(high)}
        for k, (low, high) in sorted(known.taus.items())
        if k[0] == own
    ]
    parts = {"pairs": pairs, "corrected": singles, "taus": taus}
    lists = []
    for part, entries in parts.items():
        lines = ",\n".join(json.dumps(entry, sort_keys=True) for entry in entries)
        lists.append(f'"{part}": [\n{lines}\n]')
    text = f'{{"schema": {SCHEMA}, {", ".join(lists)}}}\n'
    write_atomically(path, text)


def _left_alone(path: Path) -> bool:
    try:
        _raw(path)
    except (LeftAlone, ValueError, KeyError, TypeError, RecursionError) as error:
        return isinstance(error, LeftAlone)
    return False


def _values(kind: type, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a finding: numbers, and mappings to pairs of numbers."""
    return {
        f.name: {k: (float(v[0]), float(v[1])) for k, v in entry[f.name].items()}
        if isinstance(entry[f.name], Mapping)
        else float(entry[f.name])
        for f in dataclasses.fields(kind)
    }


def pair_key(one: Row, two: Row, protocol: str, metric: str) -> tuple[Pair, bool]:
    """The key of a pair, and whether it names the two the other way round."""
    a, b = one.ids, two.ids
    return ((a, b, protocol, metric), False) if a < b else ((b, a, protocol, metric), True)


def swapped(paired: Paired) -> Paired:
    return Paired(-paired.difference, -paired.high, -paired.low, -paired.effect, paired.p)


def rows_key(section: Section) -> str:
    """Stands for all rows of a section together."""
    ids = sorted(row.ids for row in section.rows)
    return hashlib.sha256("|".join(ids).encode()).hexdigest()[:16]


def _rounded(found: Paired | Corrected) -> dict[str, Any]:
    return {
        name: {k: [_short(low), _short(high)] for k, (low, high) in value.items()}
        if isinstance(value, dict)
        else _short(value)
        for name, value in dataclasses.asdict(found).items()
    }


def _short(value: float) -> float:
    return round(value, 8)
