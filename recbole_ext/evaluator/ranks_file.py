"""A RankTable on disk: one parquet file per run, from which every metric can be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.core.tokens import numbered
from recbole_ext.evaluator.ranks import RankTable


class DamagedRanks(HarnessError):
    """A rank table that cannot be read; `path` is its file."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: not a readable rank table ({why}); run again with --force")
        self.path = path


def write_ranks(
    table: RankTable, user_tokens: Sequence[str], item_tokens: Sequence[str], path: Path
) -> None:
    """Write the table with tokens for ids, atomically."""
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "user": pa.array([user_tokens[u] for u in table.user]).dictionary_encode(),
        "item": pa.array([item_tokens[i] for i in table.item]).dictionary_encode(),
        "above": table.above,
        "tied": table.tied,
        "negatives": table.negatives,
    }
    for name, (above, tied) in table.lists.items():
        for end, counts in (("above", above), ("tied", tied)):
            flat = pa.array(counts.ravel().astype(np.int32))
            columns[f"{name}_{end}"] = pa.FixedSizeListArray.from_arrays(flat, counts.shape[1])
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), buffer, compression="zstd")
    write_atomically(path, buffer.getvalue().to_pybytes())


def read_ranks(path: Path) -> tuple[RankTable, list[str], list[str]]:
    """(table, user tokens, item tokens); ids are positions in the sorted tokens that the file holds.

    Raises:
        DamagedRanks: the file is damaged or is no rank table.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        frame = parquet.read_table(path)
        users, user = numbered(frame["user"].to_numpy())
        items, item = numbered(frame["item"].to_numpy())
        plain = {
            name: frame[name].to_numpy().astype(np.int64) for name in ("above", "tied", "negatives")
        }
        lists = {
            name.removesuffix("_above"): tuple(
                _matrix(frame[f"{name.removesuffix('_above')}{end}"]) for end in ("_above", "_tied")
            )
            for name in frame.column_names
            if name.endswith("_above")
        }
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DamagedRanks(path, " ".join(str(error).split())[:120]) from None
    table = RankTable(
        user.astype(np.int64),
        item.astype(np.int64),
        **plain,
        lists={k: (v[0], v[1]) for k, v in lists.items()},
    )
    return table, users, items


def _matrix(column: Any) -> Ints:
    """[P, draws] of a column of lists of one length."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.int64).reshape(len(column), -1)
