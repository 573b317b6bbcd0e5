"""A RankTable on disk: one parquet file per run, from which every metric can be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.errors import HarnessError
from recbole_ext.evaluator.ranks import RankTable


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
        columns[f"{name}_above"] = pa.array(above.tolist(), pa.list_(pa.int32(), above.shape[1]))
        columns[f"{name}_tied"] = pa.array(tied.tolist(), pa.list_(pa.int32(), tied.shape[1]))
    temporary = path.with_name(f".{path.name}")
    parquet.write_table(pa.table(columns), temporary, compression="zstd")
    temporary.replace(path)


def read_ranks(path: Path) -> tuple[RankTable, list[str], list[str]]:
    """(table, user tokens, item tokens); ids are positions in the sorted tokens that the file holds.

    Raises:
        HarnessError: the file is damaged or is no rank table.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        frame = parquet.read_table(path)
        users, user = np.unique(np.array(frame["user"].to_pylist(), dtype=str), return_inverse=True)
        items, item = np.unique(np.array(frame["item"].to_pylist(), dtype=str), return_inverse=True)
        plain = {
            name: frame[name].to_numpy().astype(np.int64) for name in ("above", "tied", "negatives")
        }
        lists = {
            name.removesuffix("_above"): tuple(
                np.array(frame[f"{name.removesuffix('_above')}{end}"].to_pylist(), dtype=np.int64)
                for end in ("_above", "_tied")
            )
            for name in frame.column_names
            if name.endswith("_above")
        }
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise HarnessError(
            f"{path}: not a readable rank table ({' '.join(str(error).split())[:120]}); run again with --force"
        ) from None
    table = RankTable(user, item, **plain, lists={k: (v[0], v[1]) for k, v in lists.items()})
    return table, users.tolist(), items.tolist()
