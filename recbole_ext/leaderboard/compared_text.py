"""A comparison of two runs for a terminal."""

from __future__ import annotations

import math
from itertools import groupby

from recbole_ext.evaluator.metrics import heading_of
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.analysis import LEVEL
from recbole_ext.leaderboard.columns import Column
from recbole_ext.leaderboard.compare import Comparison, Line
from recbole_ext.leaderboard.table import plain, wrapped

_SMALLEST = 0.0001
"""That is printed as a p-value."""

_LINES: tuple[Column[Line], ...] = (
    Column("metric", "Metric", lambda line: _name(line), numeric=False),
    Column("first", "first", lambda line: f"{line.first:.4f}"),
    Column("second", "second", lambda line: f"{line.second:.4f}"),
    Column("difference", "difference", lambda line: f"{line.paired.difference:+.4f}"),
    Column(
        "interval",
        "95% interval",
        lambda line: f"[{line.paired.low:+.4f}, {line.paired.high:+.4f}]",
    ),
    Column(
        "effect",
        "d",
        lambda line: None if math.isnan(line.paired.effect) else f"{line.paired.effect:+.2f}",
        priority=2,
    ),
    Column("p", "p", lambda line: _p(line.paired.p), priority=1),
    Column("holm", "p (Holm)", lambda line: _p(line.p)),
    Column("users", "users", lambda line: f"{line.users:,}", priority=3),
)
_ASKED: tuple[Column[tuple[str, str, str]], ...] = (
    Column("what", "Asked for, read or chosen", lambda entry: entry[0], numeric=False),
    Column("first", "first", lambda entry: _short(entry[1]), numeric=False),
    Column("second", "second", lambda entry: _short(entry[2]), numeric=False),
)
_LONGEST = 44


def render_comparison(found: Comparison, width: int = 160) -> list[str]:
    """Lines: who, how each metric differs and by how much that is more than noise, and where the runs differ."""
    runs = {"first": found.one.record, "second": found.other.record}
    lines = []
    for place, record in runs.items():
        asked = record.experiment
        lines.append(
            f"{place:<6}  {record.run_id}  {asked['model']} on {asked['dataset']['name']}, seed {asked['seed']}"
        )
    lines += ["", *wrapped(_verdict(found), width)]
    for protocol, group in groupby(found.lines, lambda line: line.protocol):
        of = list(group)
        lines += ["", *wrapped(_heading(protocol, of), width), *plain(_LINES, of, width)]
    lines += [""] if found.left_out else []
    lines += [line for why in found.left_out for line in wrapped(f"left out: {why}", width)]
    lines.append("")
    if found.asked:
        lines += plain(_ASKED, found.asked, width)
    else:
        lines.append("nothing that was asked for, read or chosen is different")
    return lines


def _verdict(found: Comparison) -> str:
    certain = [line for line in found.lines if line.p < LEVEL]
    first = sum(line.first_is_better for line in certain)
    return (
        f"first minus second over the same users, {len(found.lines)} metrics: after Holm's adjustment over them the first is better "
        f"in {first}, the second in {len(certain) - first}, and {len(found.lines) - len(certain)} are within noise (p from {LEVEL:g})"
    )


def _heading(protocol: str, lines: list[Line]) -> str:
    users = max(line.users for line in lines)
    test = "p by swapping a user's two values at random, interval by bootstrap over users"
    if protocol_of(protocol).labelled:
        test += "; p of what is no mean over users by the bootstrap too"
    return f"{protocol}, {users:,} users ({test})"


def _name(line: Line) -> str:
    return heading_of(line.metric) + (" (smaller is better)" if line.smaller_is_better else "")


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= _SMALLEST else f"<{_SMALLEST:.4f}"


def _short(text: str) -> str:
    """Both ends of what is too long for a column."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[: half - 1]}…{text[-half:]}"
