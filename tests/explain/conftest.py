"""One finished run of a model with neurons, on items with genres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.explain.knobs import Labelled
from recbole_ext.explain.top_items import saved_run

USERS, ITEMS = 60, 40
GENRES = ("red", "blue", "lamp", "chair", "</script>")
HOSTILE = "</script><script>alert('a & b')</script> <!-- \u2028 \"x\" \u202e"
"""The title of item i0."""
MODEL = ["--model=KnotsELSA", "--embedding_size=8", "--width_ratio=8", "--k=6", "--epochs=15", "--sae_epochs=15"]  # fmt: skip
SPLIT = ["--split=users", "--protocols=full", "--ks=5", "--threads=1"]


@dataclass(frozen=True)
class Run:
    """Where a finished run is."""

    records: Path
    data_path: Path

    @property
    def where(self) -> list[str]:
        return [f"--records={self.records}", f"--data-path={self.data_path}", "--dataset=shop"]

    @property
    def show(self) -> list[str]:
        return ["show", "--model=KnotsELSA", *self.where]

    @property
    def folder(self) -> Path:
        (record,) = self.records.glob("*/record.json")
        return record.parent


def write_shop(folder: Path, *, hostile: bool = True) -> Path:
    """Write folder/shop/shop.{inter,item}: two tastes, red and blue, and users with one item each, some of whom have no history
    once that is held out."""
    rng = np.random.default_rng(3)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(USERS):
        liked = np.where(np.arange(ITEMS) % 2 == user % 2, 6.0, 1.0)
        count = int(rng.integers(8, 14))
        chosen = rng.choice(ITEMS, size=count, replace=False, p=liked / liked.sum())
        lines += [f"u{user}\ti{item}\t{1000 + t}" for t, item in enumerate(chosen)]
    lines += [f"lone{user}\ti{user}\t1000" for user in range(30)]
    titles = ["item_id:token\ttitle:token_seq\tgenres:token_seq"]
    for item in range(ITEMS):
        genres = [GENRES[item % 2], GENRES[2 + item % 3]]
        name = HOSTILE if hostile and item == 0 else f"thing number {item}"
        titles.append(f"i{item}\t{name}\t{'|'.join(genres)}")
    target = folder / "shop"
    target.mkdir(parents=True)
    (target / "shop.inter").write_text("\n".join(lines) + "\n")
    (target / "shop.item").write_text("\n".join(titles) + "\n")
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """KnotsELSA, trained for a moment."""
    folder = tmp_path_factory.mktemp("knobs")
    made = Run(folder / "runs", write_shop(folder / "data"))
    before = torch.get_num_threads()
    assert main([*MODEL, *SPLIT, *made.where]) == 0
    torch.set_num_threads(before)
    return made


@pytest.fixture(scope="session")
def view(run: Run) -> Iterator[Labelled]:
    with saved_run(run.records, "KnotsELSA", "shop", run.data_path) as saved:
        yield Labelled.of(saved, None, None)


@pytest.fixture
def test_user(view: Labelled) -> str:
    """One with a history and something held out."""
    problem = view.problem
    users, _ = problem.split.pairs(problem.data, *problem.seen_at_test)
    held = problem.test_task.users
    return problem.data.user_tokens[next(int(u) for u in held if u in users)]
