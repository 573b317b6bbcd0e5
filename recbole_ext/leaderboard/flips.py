"""The pairs of rows that a protocol turns round, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.leaderboard.agreement import Agreement
from recbole_ext.leaderboard.analysis import Tested
from recbole_ext.leaderboard.labels import first_few


def flips(found: Sequence[Agreement]) -> list[str]:
    """The pairs that change order, each with its p-values; a closed form says the same as its drawn twin and is left out."""
    lines = []
    for one in found:
        if one.estimator != "naive" or protocol_of(one.protocol).closed:
            continue
        if not one.flips:
            lines.append(f"{one.heading} keeps the order of all {one.pairs} pairs.")
            continue
        told = [
            f"{flip.first} falls below {flip.second} (full {_told(flip.full)}; {one.heading} {_told(flip.here)})"
            for flip in one.flips
        ]
        lines.append(f"{one.heading} swaps {len(told)} of {one.pairs} pairs: {first_few(told)}.")
    return lines


def _told(test: Tested | None) -> str:
    if test is None:
        return "not tested"
    p = f"p {test.p:.2g}" if test.p >= 1e-5 else "p <1e-5"
    return f"{test.paired.difference:+.4f}, {p}"
