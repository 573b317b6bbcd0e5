"""Training and test lists as LightGCN and its followers share them: a line per user, `user item item ...`.

What is relied on: numbers separated by single spaces, the user first, users without items allowed (read so by
gusye1234/LightGCN-PyTorch, code/dataloader.py, `Loader`). No ratings, no times, no text; the split is the source's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from recbole_ext.data.formats.reading import Batch, Malformed, Row, batched, lines

REVISION = 1
PARTS = ("train", "test")


def part(files: Mapping[str, Path], name: str) -> Iterator[Batch]:
    """Interactions of one of `PARTS`, which are the roles too."""
    return batched(_pairs(files[name]))


def _pairs(path: Path) -> Iterator[Row]:
    malformed = Malformed(path)
    for number, line in lines(path):
        words = line.decode("ascii", errors="replace").split()
        if not all(word.isdigit() for word in words):
            malformed.add(number, f"'{next(w for w in words if not w.isdigit())}' is no number")
            continue
        for item in words[1:]:
            yield words[0], item, None, None
    malformed.report()


def interactions(files: Mapping[str, Path]) -> Iterator[Batch]:
    """Both parts, one after the other."""
    for name in PARTS:
        yield from part(files, name)


def items(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """Nothing: the files name no items."""
    yield from ()
