"""Tables on disk: a parquet file for each kind that a run has, from which every metric can be computed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recbole_ext.core.arrays import Bools, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import write_atomically
from recbole_ext.core.table_file import read_parquet
from recbole_ext.core.tokens import numbered
from recbole_ext.evaluator.lists import ListTable
from recbole_ext.evaluator.pointwise import ScoreTable
from recbole_ext.evaluator.ranks import RankTable

RANKS, LISTS, SCORES = "ranks.parquet", "lists.parquet", "scores.parquet"
"""Names of the files of a RankTable, a ListTable and a ScoreTable beside a record."""


_T = TypeVar("_T")


class DamagedRanks(HarnessError):
    """A table that cannot be read; `path` is its file."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: not a readable rank table ({why}); run again with --force")
        self.path = path


def write_ranks(
    table: RankTable, user_tokens: Sequence[str], item_tokens: Sequence[str], path: Path
) -> None:
    """Write the table with tokens for ids, atomically."""
    columns = {name: getattr(table, name) for name in ("above", "tied", "negatives")}
    _write(table, user_tokens, item_tokens, {**columns, **_counts(table.lists)}, path)


def write_lists(
    table: ListTable, user_tokens: Sequence[str], item_tokens: Sequence[str], path: Path
) -> None:
    """Write the table with tokens for ids, atomically."""
    columns: dict[str, Any] = {**_counts(table.lists)}
    columns |= {f"{name}_valid": valid for name, valid in table.valid.items()}
    for name, rules in table.rules.items():
        for rule, (right, named) in rules.items():
            columns |= {f"{name}_right_by_{rule}": right, f"{name}_valid_by_{rule}": named}
    for name, (at, chosen) in table.placed.items():
        columns |= {f"{name}_named_at": at, f"{name}_chose_at": chosen}
    columns["depth"] = np.full(len(table), table.depth or 0)
    _write(table, user_tokens, item_tokens, columns, path)


def write_scores(
    table: ScoreTable, user_tokens: Sequence[str], item_tokens: Sequence[str], path: Path
) -> None:
    """Write the table with tokens for ids, atomically."""
    columns = {"label": table.label, "score": table.score}
    columns["probability"] = np.full(len(table), table.probabilities)
    _write(table, user_tokens, item_tokens, columns, path)


def read_ranks(path: Path) -> tuple[RankTable, list[str], list[str]]:
    """(table, user tokens, item tokens); ids are positions in the sorted tokens that the file holds.

    Raises:
        DamagedRanks: the file is damaged or is no rank table.
    """

    def of(user: Ints, item: Ints, frame: Any) -> RankTable:
        plain = {
            name: frame[name].to_numpy().astype(np.int64) for name in ("above", "tied", "negatives")
        }
        return RankTable(user, item, **plain, lists=_lists(frame))

    return _read(path, of)


def read_lists(path: Path) -> tuple[ListTable, list[str], list[str]]:
    """As `read_ranks`, a ListTable."""

    def of(user: Ints, item: Ints, frame: Any) -> ListTable:
        lists = _lists(frame)
        valid: dict[str, Bools] = {name: _matrix(frame[f"{name}_valid"]) != 0 for name in lists}
        there = set(frame.column_names)
        rules, placed = {}, {}
        for name in lists:
            begin = f"{name}_right_by_"
            found = [c.removeprefix(begin) for c in frame.column_names if c.startswith(begin)]
            if found:
                rules[name] = {
                    rule: (
                        _matrix(frame[f"{name}_right_by_{rule}"]) != 0,
                        _matrix(frame[f"{name}_valid_by_{rule}"]) != 0,
                    )
                    for rule in found
                }
            if f"{name}_named_at" in there:
                placed[name] = _matrix(frame[f"{name}_named_at"]), _matrix(frame[f"{name}_chose_at"])  # fmt: skip
        depth = int(frame["depth"][0].as_py()) or None
        return ListTable(user, item, lists, valid, depth, rules, placed)

    return _read(path, of)


def read_scores(path: Path) -> tuple[ScoreTable, list[str], list[str]]:
    """As `read_ranks`, a ScoreTable."""

    def of(user: Ints, item: Ints, frame: Any) -> ScoreTable:
        label = frame["label"].to_numpy().astype(np.int64)
        score = frame["score"].to_numpy().astype(np.float64)
        return ScoreTable(user, item, label, score, bool(frame["probability"][0].as_py()))

    return _read(path, of)


def _write(
    table: RankTable | ListTable | ScoreTable,
    user_tokens: Sequence[str],
    item_tokens: Sequence[str],
    columns: Mapping[str, Any],
    path: Path,
) -> None:
    """The rows of a table; what has several values to a row becomes a list of one length."""
    import pyarrow as pa
    from pyarrow import parquet

    written: dict[str, Any] = {
        "user": pa.array([user_tokens[u] for u in table.user]).dictionary_encode(),
        "item": pa.array([item_tokens[i] for i in table.item]).dictionary_encode(),
    }
    for name, values in columns.items():
        if values.ndim == 2:
            flat = pa.array(values.ravel().astype(np.int32))
            values = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        written[name] = values
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.table(written), buffer, compression="zstd")
    write_atomically(path, buffer.getvalue().to_pybytes())


def _counts(lists: Mapping[str, tuple[Ints, Ints]]) -> dict[str, Ints]:
    """Columns of drawn lists."""
    ends = ("above", "tied")
    return {
        f"{name}_{end}": counts
        for name, both in lists.items()
        for end, counts in zip(ends, both, strict=True)
    }


def _read(path: Path, of: Callable[[Ints, Ints, Any], _T]) -> tuple[_T, list[str], list[str]]:
    """What `of` makes of users, items and the columns of a file."""
    import pyarrow as pa

    try:
        frame = read_parquet(path)
        users, user = numbered(frame["user"].to_numpy())
        items, item = numbered(frame["item"].to_numpy())
        table = of(user.astype(np.int64), item.astype(np.int64), frame)
    except (pa.ArrowException, OSError, KeyError, ValueError, IndexError) as error:
        raise DamagedRanks(path, " ".join(str(error).split())[:120]) from None
    return table, users, items


def _lists(frame: Any) -> dict[str, tuple[Ints, Ints]]:
    names = [n.removesuffix("_above") for n in frame.column_names if n.endswith("_above")]
    return {
        name: (_matrix(frame[f"{name}_above"]), _matrix(frame[f"{name}_tied"])) for name in names
    }


def _matrix(column: Any) -> Ints:
    """[P, draws] of a column of lists of one length."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.int64).reshape(len(column), -1)
