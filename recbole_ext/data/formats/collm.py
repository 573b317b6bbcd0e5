"""CoLLM's files of MovieLens-1M and Amazon-Book: a zip of pickled pandas frames, one per part of its own split.

What is relied on: `train_ood2.pkl`, `valid_ood2.pkl` and `test_ood2.pkl` with the columns `uid`, `iid`, `label` (1 liked, 0 not)
and `timestamp` (read so by zyang1580/CoLLM, baseline_train_mf_ood.py) and `title`. `valid_small_ood2.pkl`, half of the
validation part, is not used.

A pickle can run code. These are read only when that is asked for (`--allow-pickle`), and even then by a reader that
knows the classes of arrays and frames and refuses every other name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.formats.reading import Batch, opened
from recbole_ext.data.formats.text import plain

if TYPE_CHECKING:
    import pandas as pd

REVISION = 2
PICKLED = True
LABELLED = True
"""What it gives as ratings are labels."""
PARTS = ("train", "valid", "test")
_ADMITTED = {
    "builtins": {"slice"},
    "numpy": {"ndarray", "dtype"},
    "multiarray": {"_reconstruct", "scalar"},
    "numeric": {"_frombuffer"},
    "frame": {"DataFrame"},
    "managers": {"BlockManager"},
    "blocks": {"new_block"},
    "internals": {"_unpickle_block"},
    "base": {"Index", "_new_Index"},
    "range": {"RangeIndex"},
    "numeric_index": {"Int64Index"},
}
"""Last part of a module of NumPy or pandas (or builtins) -> names that data are made of."""


def part(files: Mapping[str, Path], name: str) -> Iterator[Batch]:
    """Interactions of one of `PARTS`; the rating is the label."""
    frame = _frame(files["archive"], f"{name}_ood2.pkl")
    yield Batch(
        frame["uid"].astype(str).tolist(),
        frame["iid"].astype(str).tolist(),
        frame["label"].astype(float).tolist(),
        frame["timestamp"].astype(float).tolist(),
    )


def interactions(files: Mapping[str, Path]) -> Iterator[Batch]:
    """All parts, one after the other."""
    for name in PARTS:
        yield from part(files, name)


def items(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """`title` of every item of every part."""
    import pandas as pd

    seen: set[str] = set()
    for name in PARTS:
        frame = _frame(files["archive"], f"{name}_ood2.pkl")
        for item, title in zip(frame["iid"].astype(str), frame["title"], strict=True):
            if item not in seen:
                seen.add(item)
                yield {"item_id": item, "title": "" if pd.isna(title) else plain(str(title))}


def _frame(path: Path, member: str) -> pd.DataFrame:
    import pandas as pd
    from pandas.compat import pickle_compat  # type: ignore[import-not-found]

    class Reader(pickle_compat.Unpickler):  # type: ignore[misc, name-defined]
        """Of pandas, because frames of its older versions are spelled differently."""

        def find_class(self, module: str, name: str) -> Any:
            last = (
                "numeric_index"
                if module == "pandas.core.indexes.numeric"
                else module.rsplit(".", 1)[-1]
            )
            ours = module.split(".", 1)[0] in ("numpy", "pandas", "builtins")
            if not ours or name not in _ADMITTED.get(last, ()):
                raise HarnessError(
                    f"{path}: {member} wants {module}.{name}, which no table needs; it was not read"
                )
            return super().find_class(module, name)

    with opened(path, member) as stream:
        try:
            found = Reader(stream).load()
        except HarnessError:
            raise
        except Exception as error:  # whatever a damaged pickle does
            raise HarnessError(
                f"{path}: {member} is no readable table ({' '.join(str(error).split())[:100]})"
            ) from None
    needed = {"uid", "iid", "label", "timestamp", "title"}
    if not isinstance(found, pd.DataFrame) or not needed <= set(found.columns):
        raise HarnessError(f"{path}: {member} is no table with {', '.join(sorted(needed))}")
    return found
