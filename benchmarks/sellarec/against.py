"""Every run on labelled pairs beside Bias, paired by users, as a table in markdown.

    python -m benchmarks.sellarec.against RECORDS

reads the records of collm-ml-1m, draws users with replacement as the board's intervals do, and prints AUC and UAUC of each model, their
differences from Bias on the same draws, and AUC of warm and cold rows. Seeds of one model are averaged within each draw. A run that was tested on
fewer rows (`min_history`) is compared with Bias on those.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.over_seeds import Found, changed, name_of, over_seeds, runs_under
from benchmarks.sellarec.runs import DATASET
from recbole_ext.evaluator.paired_scores import drawn_metrics, gap
from recbole_ext.evaluator.pointwise import ScoreTable
from recbole_ext.evaluator.ranks_file import SCORES, read_scores
from recbole_ext.results import ResultRecord

BASE = "Bias"
_SIZES = ("_rows", "_rate", "weight_decay", "reg_user", "reg_item")
"""Ends of keys that tell how something was trained, not what."""


def title_of(record: ResultRecord) -> str:
    """Model with its backbone and the switches that are not at their defaults."""
    told = [
        f"`{key}={value}`" for key, value in changed(record).items() if not key.endswith(_SIZES)
    ]
    if least := record.experiment["dataset"]["split"].get("min_history"):
        told.append(f"`min_history={least}`")
    return ", ".join([name_of(record), *told])


def table(records: Path) -> list[str]:
    """Lines of markdown, the best AUC first; of each set of training rows a table."""
    chosen = runs_under(records, DATASET, "ctr")
    sizes = sorted({record.data["train"] for _, record in chosen}, reverse=True)
    base = next(path for path, record in chosen if record.experiment["model"] == BASE)
    lines: list[str] = []
    for size in sizes:
        some = [(path, record) for path, record in chosen if record.data["train"] == size]
        lines += [
            f"{size:,} training rows",
            "",
            "| model | seeds | AUC | - Bias | UAUC | - Bias | AUC warm | AUC cold | s |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]
        found = [_line(title, runs, base) for title, runs in over_seeds(some, title_of).items()]
        lines += [line for _, line in sorted(found, reverse=True)] + [""]
    return lines


def _line(title: str, runs: Sequence[Found], beside: Path) -> tuple[float, str]:
    each = [drawn_metrics(_scores(path)) for path, _ in runs]
    base = drawn_metrics(same_rows(beside, runs[0][0]))
    cells = [title, str(len(runs))]
    mean = {key: np.mean([of[key] for of in each], axis=0) for key in ("auc", "uauc")}
    for key, values in mean.items():
        spread = f" (sd {np.std([of[key][0] for of in each], ddof=1):.3f})" if len(each) > 1 else ""
        cells.append(f"{values[0]:.4f}{spread}")
        found = gap(values, base[key])
        told = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        cells.append("" if title.startswith(BASE) else told)
    parts = [record.parts for _, record in runs]
    for name in ("warm", "cold"):
        cells.append(f"{np.mean([part[name]['metrics']['auc']['mean'] for part in parts]):.4f}")
    seconds = np.mean([float(record.cost["fit_seconds"] or 0) for _, record in runs])
    return float(mean["auc"][0]), f"| {' | '.join([*cells, f'{seconds:,.0f}'])} |"


def same_rows(folder: Path, other: Path) -> ScoreTable:
    """The scores of one run, of the rows that another was tested on."""
    table, users, items = read_scores(folder / SCORES)
    theirs, their_users, their_items = read_scores(other / SCORES)
    wanted = {
        (their_users[u], their_items[i]) for u, i in zip(theirs.user, theirs.item, strict=True)
    }
    rows = [(users[u], items[i]) in wanted for u, i in zip(table.user, table.item, strict=True)]
    return table.of(np.array(rows))


def _scores(folder: Path) -> ScoreTable:
    return read_scores(folder / SCORES)[0]


if __name__ == "__main__":
    print("\n".join(table(Path(sys.argv[1]))))
