"""The paper's tables 2 and 3 from finished runs, in markdown: Hit@1 of one list of 19 negatives a user.

    python -m benchmarks.saulrec.tables RECORDS --dataset=amazon-toys-2014 [--protocol=uni19]

A table for each set of test users that models with a language model were tested on: all of these, and on the same users every model that
ranks items. Intervals are of users drawn with replacement, pairs are tested by the randomisation test and adjusted by Holm's method over
all pairs of a table. A model whose backbone fails the gate is `uninformative`, stands in no pair, and no order of it is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.saulrec.command import print_table
from benchmarks.saulrec.gate import Gate, gate_of
from benchmarks.saulrec.rows import Row, Run, read_rows
from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.evaluator.findings import holm
from recbole_ext.evaluator.list_places import by_place
from recbole_ext.evaluator.lists import ListTable
from recbole_ext.evaluator.protocols import protocol_of
from recbole_ext.evaluator.stats import bootstrap_intervals, paired_tests

Gates = dict[tuple[str, str], Gate]
PAPER = {
    "SimGCL": 0.2690, "NeuMF": 0.3357, "SASRec": 0.2815, "LLaRA": 0.3495, "ALLMRec": 0.3609, "SAULD": 0.3967, "SAULA": 0.3736,
}  # fmt: skip
"""Table 2, Toys of 2018, OPT-6.7B, no seeds and no intervals told."""
PAPER_ONE_EPOCH = {"ALLMRec": 0.3559, "SAULD": 0.3499, "SAULA": 0.3685}
"""Table 3."""
_RULES = ("substring", "llara")


def tables(records: Path, dataset: str, protocol: str) -> list[str]:
    """All lines."""
    rows = read_rows(records, dataset, protocol)
    lines = [f"# {dataset}, {protocol}", ""]
    samples = sorted({row.users for row in rows if row.asks}, key=lambda users: (-len(users), users))  # fmt: skip
    for users in samples or sorted({row.users for row in rows}, key=len)[-1:]:
        lines += of_users(rows, users, protocol)
    return lines


def of_users(rows: Sequence[Row], users: Sequence[str], protocol: str) -> list[str]:
    """Lines of what was tested on some users."""
    here = set(users)
    some = [row for row in rows if (row.users == users if row.asks else here <= set(row.users))]
    count = protocol_of(protocol).m
    assert count is not None
    chance = 1 / (1 + count)
    gates = {
        kind: gate_of(kind, [row for row in some if row.asks and row.kind == kind], chance)
        for kind in sorted({row.kind for row in some if row.asks})
    }
    lines = [f"## {len(users):,} test users", ""]
    lines += _main(some, users, chance, gates)
    lines += _one_epoch(some, gates)
    lines += [line for gate in gates.values() for line in gate.told()]
    lines += _pairs([row for row in some if _informative(row, gates)], users)
    return [*lines, *_places([row for row in some if row.asks], protocol)]


def _informative(row: Row, gates: Gates) -> bool:
    return not row.asks or gates[row.kind].why(row) is None


def _main(some: Sequence[Row], users: Sequence[str], chance: float, gates: Gates) -> list[str]:
    """Table 2."""
    lines = [
        "### Table 2",
        "",
        "| model | seeds | Hit@1 | all its users | valid | A-LLMRec's substring | LLaRA's, of all | of valid | paper | |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|---|",
        f"| Random | | {chance:.4f} | | | | | | | |",
    ]

    def standing(row: Row) -> tuple[bool, float, str]:
        """By their hits, but for those of whom no order is claimed."""
        silent = not _informative(row, gates)
        return silent, 0.0 if silent else -float(row.hit[row.on(users)].mean()), row.title

    for row in sorted(some, key=standing):
        whole = "" if len(row.users) == len(users) else f"{_interval(row.hit)} ({len(row.users):,})"
        cells = [row.title, str(len(row.runs)), _seeded(row, users), whole, *_rules(row)]
        why = gates[row.kind].why(row) if row.asks else None
        printed = _printed(PAPER, row)
        cells += ["" if printed is None else f"{printed:.4f}", f"uninformative: {why}" if why else ""]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [
        *lines,
        "",
        "Hit@1 is over all users by the exact title, half a hit for two candidates of one title; `of valid` is LLaRA's own ratio and stands beside no "
        "other number. The paper's are of Toys in the collection of 2018 with OPT-6.7B.",
        "",
    ]


def _one_epoch(some: Sequence[Row], gates: Gates) -> list[str]:
    """Table 3."""
    first = [row for row in some if row.asks and row.params.get("projection_epochs") == 1]
    if not first:
        return []
    lines = ["### Table 3, after one epoch", "", "| model | Hit@1 | paper | |", "|---|---|--:|---|"]
    for row in first:
        why = gates[row.kind].why(row)
        printed = _printed(PAPER_ONE_EPOCH, row)
        told = ["" if printed is None else f"{printed:.4f}", "uninformative" if why else ""]
        lines.append(f"| {row.title} | {_interval(row.hit)} | {' | '.join(told)} |")
    return [*lines, ""]


def _printed(paper: Mapping[str, float], row: Row) -> float | None:
    toys = "toys" in str(row.runs[0].record.experiment["dataset"]["name"])
    by_title = row.kind[1] == "generated" or not row.asks
    return paper.get(row.model) if toys and by_title and not row.switched else None


def _interval(values: Floats) -> str:
    low, high = bootstrap_intervals(values[:, None])
    return f"{values.mean():.4f} [{low[0]:.4f}, {high[0]:.4f}]"


def _seeded(row: Row, users: Sequence[str]) -> str:
    """Mean and interval, and the deviation over seeds."""
    on = row.on(users)
    each = [float(run.hit[on].mean()) for run in row.runs]
    spread = f", sd of seeds {np.std(each, ddof=1):.4f}" if len(each) > 1 else ""
    return f"{_interval(row.hit[on])}{spread}"


def _rules(row: Row) -> list[str]:
    """valid, substring, LLaRA's of all and of valid."""
    valid = [run.valid for run in row.runs]
    cells = [f"{np.mean([v for v in valid if v is not None]):.3f}" if valid[0] is not None else ""]
    for rule in _RULES:
        found = [both for run in row.runs if (both := run.by_rule(rule)) is not None]
        right, fine = ([float(of[place].mean()) for of in found] for place in (0, 1))
        cells.append(f"{np.mean(right):.4f}" if found else "")
        if rule == "llara":
            share = [r / v if v else 0.0 for r, v in zip(right, fine, strict=True)]
            cells.append(f"{np.mean(share):.4f}" if found else "")
    return cells


def _pairs(some: Sequence[Row], users: Sequence[str]) -> list[str]:
    """Paired tests of all informative rows."""
    if len(some) < 2:
        return []
    values = np.column_stack([row.hit[row.on(users)] for row in some])
    found = paired_tests(values)
    adjusted = holm([one.p for one in found.values()])
    lines = ["### Pairs", "", "| better | than | by | p, Holm |", "|---|---|---|--:|"]
    order = sorted(zip(found.items(), adjusted, strict=True), key=lambda one: one[1])
    for ((i, j), one), p in order:
        above, below, sign = (i, j, 1) if one.difference >= 0 else (j, i, -1)
        low, high = sorted((sign * one.low, sign * one.high))
        told = f"{abs(one.difference):.4f} [{low:+.4f}, {high:+.4f}]"
        lines.append(f"| {some[above].title} | {some[below].title} | {told} | {p:.4f} |")
    return [*lines, "", "Where p is above .05 no order is claimed.", ""]


def _places(some: Sequence[Row], protocol: str) -> list[str]:
    """Hits by the place in the prompt, lists of all seeds together."""
    found = {
        row.title: by_place(pooled(row.runs, protocol), protocol)
        for row in some
        if all(
            run.rule is None and run.listed and protocol in run.listed.placed for run in row.runs
        )
    }
    if not found:
        return []
    lines = ["### Hit@1 by the place of the right title in the prompt", ""]
    lines += [f"| place | {' | '.join(found)} |", f"|--:|{'---|' * len(found)}"]
    longest = max(len(one.places) for one in found.values())
    for place in range(longest):
        cells = []
        for one in found.values():
            at = one.places[place] if place < len(one.places) else None
            cells.append("" if at is None else f"{at.hit:.3f} [{at.low:.3f}, {at.high:.3f}]")
        lines.append(f"| {place + 1} | {' | '.join(cells)} |")
    for what, of in (("p of no difference", "p"), ("all", "hit")):
        cells = [f"{getattr(one, of):.4f}" for one in found.values()]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return [*lines, ""]


def pooled(runs: Sequence[Run], protocol: str) -> ListTable:
    """The lists of several runs as if they were draws of one."""
    of = [run.listed for run in runs if run.listed is not None]

    def both(parts: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
        first, second = (np.concatenate([part[end] for part in parts], axis=1) for end in (0, 1))
        return first, second

    return replace(
        of[0],
        lists={protocol: both([table.lists[protocol] for table in of])},
        valid={protocol: np.concatenate([table.valid[protocol] for table in of], axis=1)},
        rules={},
        placed={protocol: both([table.placed[protocol] for table in of])},
    )


if __name__ == "__main__":
    print_table("benchmarks.saulrec.tables", tables)
