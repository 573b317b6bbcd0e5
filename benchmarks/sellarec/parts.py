"""Figure 5, models on warm and cold rows, and Table 6, scores on warm rows before the first step of the last stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.over_seeds import over_seeds, runs_under
from benchmarks.sellarec.against import title_of
from benchmarks.sellarec.runs import ALIGNED, NEITHER, NEW, Run
from recbole_ext.evaluator.metrics import COLD, SEEN, WARM
from recbole_ext.evaluator.paired_scores import drawn_metrics, gap
from recbole_ext.evaluator.pointwise import ScoreTable
from recbole_ext.evaluator.ranks_file import SCORES, read_scores
from recbole_ext.evaluator.warmth import warmth
from recbole_ext.pipeline.replay import experiment_of

PARTS = (WARM, SEEN, COLD)
"""More than three training rows each (the paper's for this dataset), both seen (what its figure 5 and Table 6 read), not both seen."""


def warm_and_cold(records: Path, dataset: str) -> list[dict[str, object]]:
    """A line for each run on most training rows and each part of its test rows; runs without a last stage are left out."""
    chosen = [
        (path, record)
        for path, record in runs_under(records, dataset, "ctr")
        if not record.experiment["dataset"]["split"].get("min_history")
        and record.params.get("projection_epochs") != 0
    ]
    size = max((record.data["train"] for _, record in chosen), default=0)
    largest = [(path, record) for path, record in chosen if record.data["train"] == size]
    lines: list[dict[str, object]] = []
    for title, runs in over_seeds(largest, title_of).items():
        for _, record in runs:
            for part in PARTS:
                if part not in record.parts:
                    continue
                found = record.parts[part]
                auc, uauc = (found["metrics"].get(key, {}) for key in ("auc", "uauc"))
                line = {"run": record.run_id, "model": title.replace("`", ""), "part": part, "rows": found["rows"]}  # fmt: skip
                line |= {"users": uauc.get("users", 0), "auc": auc.get("mean", ""), "uauc": uauc.get("mean", "")}  # fmt: skip
                lines.append(line)
    return lines


def before_the_last_stage(runs: Sequence[Run], data_path: Path | None) -> list[dict[str, object]]:
    """Table 6: a line for each backbone, variant and part, with how far the aligned variant is above it, paired by users.

    No gradient of the last stage is behind these numbers: the tokens are what the alignment, or MF, and the first values of the projections make.
    """
    by_backbone: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        if run.begins:
            by_backbone[run.backbone][run.variant] = run
    lines: list[dict[str, object]] = []
    for backbone, variants in by_backbone.items():
        ordered = [variants[name] for name in (ALIGNED, NEW, NEITHER) if name in variants]
        tables = {run.name: _parts(run, data_path) for run in ordered}
        first = ordered[0]
        for part in (WARM, SEEN):
            drawn = {name: drawn_metrics(of[part]) for name, of in tables.items() if len(of[part])}
            for run in ordered:
                if run.name not in drawn:
                    continue
                table = tables[run.name][part]
                line: dict[str, object] = {"run": run.name, "backbone": backbone, "variant": run.variant, "part": part, "rows": len(table)}  # fmt: skip
                for key in ("auc", "uauc"):
                    line[key] = float(drawn[run.name][key][0])
                for key in ("auc", "uauc"):
                    told: list[object] = ["", "", ""]
                    if run.variant != ALIGNED and first.variant == ALIGNED:
                        of = gap(drawn[first.name][key], drawn[run.name][key])
                        told = [of.difference, of.low, of.high]
                    names = (f"{key}_less", f"{key}_low", f"{key}_high")
                    line |= dict(zip(names, told, strict=True))
                lines.append(line)
    return lines


def _parts(run: Run, data_path: Path | None) -> dict[str, ScoreTable]:
    """Part -> the scores of its rows."""
    table, users, items = read_scores(run.path.parent / SCORES)
    problem = experiment_of(run.record, data_path, tuned=False, device="cpu").problem
    of_user = _counts(users, problem.data.user_tokens, problem.activity)
    of_item = _counts(items, problem.data.item_tokens, problem.popularity)
    masks = warmth(table.user, table.item, of_user, of_item)
    return {name: table.of(mask) for name, mask in masks.items()}


def _counts(
    tokens: Sequence[str], every: Sequence[str], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Training rows of some tokens, from those of all."""
    known = dict(zip(every, counts.tolist(), strict=True))
    return np.array([known[token] for token in tokens], dtype=np.int64)
