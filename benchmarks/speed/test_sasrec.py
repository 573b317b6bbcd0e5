"""An epoch of SASRec, one pass over each history, against RecBole's, one for each place; the same places, sizes and loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.measure import FULL, least_seconds, size
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment

USERS, ITEMS, LENGTH = 30, 400, 60
SIZES = {"hidden_size": 64, "n_layers": 2, "n_heads": 2, "MAX_ITEM_LIST_LENGTH": 50}


def write(folder: Path) -> Path:
    """Histories of LENGTH items, for the small size."""
    rng = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(USERS):
        for place, item in enumerate(rng.choice(ITEMS, LENGTH, replace=False)):
            lines.append(f"u{user}\ti{item}\t{1000 + place}")
    (folder / "many").mkdir()
    (folder / "many" / "many.inter").write_text("\n".join(lines) + "\n")
    return folder


def built(name: str, folder: Path, **given: object) -> tuple[Any, Any]:
    data = ("ml-100k", None) if FULL else ("many", folder)
    common = {"split": "leave_one_out", "protocols": "full", **SIZES}
    experiment = make_experiment(name, *data, **common, **given)
    return Training(experiment, None, folder).build(experiment.settings.params)


def test_an_epoch_against_recboles(figure: Any, tmp_path: Path) -> None:
    write(tmp_path)
    mine, _ = built("SASRec", tmp_path, loss="ce", windows="all", train_batch_size=32)
    theirs, bench = built("SASRec@recbole", tmp_path)
    stage = mine.stages()[0]
    steps = [int((batch[2] > 0).sum()) for batch in stage.loader(torch.Generator())]
    assert sum(steps) == len(bench.dataset.inter_feat)  # the same places

    def ours() -> None:
        for batch in stage.loader(torch.Generator()):
            mine.zero_grad()
            stage.loss(batch).backward()

    def recboles() -> None:
        for batch in bench.train_loader:
            theirs.zero_grad()
            theirs.calculate_loss(batch).backward()

    took = least_seconds({"ours": ours, "recbole": recboles}, size(1, 2))
    figure(
        "epoch of SASRec by RecBole, in epochs of ours over the same places",
        took["recbole"] / took["ours"],
        above=20 if FULL else 12,
    )
