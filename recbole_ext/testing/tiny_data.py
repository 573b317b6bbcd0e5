"""Data sets small enough to train on in a test: one that any model fits, and five that break models."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np


def write_tiny(folder: Path, users: int = 40, items: int = 30, seed: int = 0) -> Path:
    """Write folder/tiny/tiny.{inter,item}: two tastes, every history at least five long."""
    rng = np.random.default_rng(seed)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(users):
        liked = np.where(np.arange(items) % 2 == user % 2, 5.0, 1.0)
        chosen = rng.choice(
            items, size=int(rng.integers(5, 12)), replace=False, p=liked / liked.sum()
        )
        lines += [
            f"u{user}\ti{item}\t{rng.integers(1, 6)}\t{1000 + t}" for t, item in enumerate(chosen)
        ]
    words = ["red", "blue"], ["lamp", "chair", "table"]
    titles = [f"i{i}\t{words[0][i % 2]} {words[1][i % 3]} number {i}" for i in range(items)]
    return _written(folder, "tiny", lines, titles)


def some(users: int, items: int) -> list[tuple[int, Iterable[int]]]:
    """Five items for each user, none of which all have."""
    return [(u, [(u * 3 + j) % items for j in range(5)]) for u in range(users)]


def pairs(*histories: tuple[int, Iterable[int]]) -> list[tuple[int, int]]:
    return [(user, item) for user, items in histories for item in items]


_BY_TIME = {"split": "global_time"}
NASTY: Mapping[str, tuple[list[tuple[int, int]], Mapping[str, object]]] = {
    "a user with everything": (pairs(*some(8, 9), (8, range(9))), _BY_TIME),
    "an item of everybody": (pairs(*((u, [0, *(1 + (u + j) % 8 for j in range(4))]) for u in range(8))), _BY_TIME),
    "test users unseen in training": (pairs(*some(8, 9)), _BY_TIME),
    "more users than pairs in a batch": (pairs(*some(12, 9)), {"train_batch_size": 8}),
    "one item": (pairs(*((u, [0]) for u in range(6))), _BY_TIME),
}  # fmt: skip
"""Name -> ((user, item) pairs, the keys that make it what it is)."""


def write_nasty(name: str, folder: Path) -> Path:
    """Write folder/nasty/nasty.{inter,item} of one of `NASTY`."""
    pairs, _ = NASTY[name]
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for place, (user, item) in enumerate(pairs):
        time = 1000 + place if name.startswith("test users") else 1000 + (place * 7) % len(pairs)
        if name in ("a user with everything", "an item of everybody"):
            # What must be in training is early.
            time = 1 + place if (user == 8 or item == 0) else 1000 + (place * 7) % 101
        lines.append(f"u{user}\ti{item}\t{time}.5")
    titles = [f"i{item}\tlamp {item}" for item in sorted({item for _, item in pairs})]
    return _written(folder, "nasty", lines, titles)


def labelled(folder: Path, name: str) -> Path:
    """The same data set with labels of 0 and 1, by a hash of each pair, in its file below `folder`."""
    path = folder / name / f"{name}.inter"
    head, *rows = path.read_text().splitlines()
    labels = (zlib.crc32("|".join(row.split("\t")[:2]).encode()) >> 7 & 1 for row in rows)
    told = [f"{row}\t{label}" for row, label in zip(rows, labels, strict=True)]
    path.write_text("\n".join([f"{head}\tlabel:float", *told]) + "\n")
    return folder


def _written(folder: Path, name: str, interactions: list[str], titles: list[str]) -> Path:
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{name}.inter").write_text("\n".join(interactions) + "\n")
    titles = ["item_id:token\ttitle:token_seq", *titles]
    (target / f"{name}.item").write_text("\n".join(titles) + "\n")
    return folder
