"""A table on disk: parquet read whole, parquet or csv by its ending written a piece at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 1 << 16
"""Written together: a group of rows for each small piece would make a large file that is slow to read."""


def read_parquet(source: Path | pa.BufferReader, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a file, or some columns of it.

    Not `parquet.read_table`: its scanner hands the work to Arrow's thread pool, and a process that ends while a thread of it still
    comes up is aborted ("terminate called without an active exception") or hangs, after all was done (apache/arrow #34314, #50482).

    Raises:
        pyarrow.ArrowException, OSError: it is no parquet, or cannot be read.
        KeyError: a column is not there.
    """
    from pyarrow import parquet

    with parquet.ParquetFile(source) as stored:
        if columns is not None and (gone := set(columns) - set(stored.schema_arrow.names)):
            raise KeyError(*sorted(gone))
        return stored.read(columns=columns, use_threads=False)


class TableWriter:
    """Pieces in, one table out; `close` ends it.

    Args:
        stream: that takes the bytes.
        ending: `.parquet` or `.csv`.
        columns: name -> Arrow's name of its kind.
    """

    def __init__(self, stream: IO[bytes], ending: str, columns: Mapping[str, str]) -> None:
        import pyarrow as pa
        from pyarrow import csv, parquet

        self._schema = pa.schema([(name, pa.type_for_alias(of)) for name, of in columns.items()])
        if ending == ".csv":
            self._writer = csv.CSVWriter(stream, self._schema)
        else:
            self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._waiting: list[Any] = []
        self._rows = self._held = 0

    def write(self, columns: Mapping[str, Any]) -> None:
        """A piece: name -> values; a number that is NaN is written as none."""
        import pyarrow as pa

        piece = pa.table(
            [pa.array(columns[f.name], f.type, from_pandas=True) for f in self._schema],
            schema=self._schema,
        )
        self._waiting.append(piece)
        self._held += len(piece)
        if self._held >= _ROWS:
            self._flush()

    def close(self) -> int:
        """Write what is left; how many rows there are in all."""
        self._flush()
        self._writer.close()
        return self._rows

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks())
            self._rows += self._held
            self._waiting, self._held = [], 0
