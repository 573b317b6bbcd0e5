"""Item vectors that were made elsewhere, looked up by item token: no text is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.text.batching import Progress

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".npz")
_ITEM, _VECTOR = ("item", "item_id"), "vector"
"""Columns of a parquet file."""
_ROWS = 1 << 14
"""Vectors looked at together."""
_ITEMS, _VECTORS = "items", "vectors"
"""Arrays of an npz file."""


@dataclass(frozen=True)
class Looked:
    """The vectors of a catalogue's items, and how well it and the file meet."""

    vectors: npt.NDArray[np.float32]
    """[n, d], a zero row for an item that the file lacks, as a blank text has."""
    known: npt.NDArray[np.bool_]
    """[n] whether the file has the item."""
    lacking: str
    """The first item that it lacks, "" where it lacks none."""
    foreign: int
    """Vectors of the file that are of no item here."""

    def told(self, name: str) -> str:
        """A line for the reader, "" where every item has a vector and every vector an item."""
        parts = []
        if lacking := int((~self.known).sum()):
            verb = "has" if lacking == 1 else "have"
            parts.append(
                f"{lacking:,} of {len(self.known):,} items {verb} no vector (zeros), e.g. '{self.lacking}'"
            )
        if self.foreign:
            noun = "vector is" if self.foreign == 1 else "vectors are"
            parts.append(f"{self.foreign:,} {noun} of no item here")
        return f"{name}: {'; '.join(parts)}" if parts else ""


@dataclass(frozen=True)
class VectorFile:
    """``file:PATH``: a parquet file with a row per item, `item` (or `item_id`) and `vector`, or an npz file with the arrays
    `items` [n] of text and `vectors` [n, d].

    It stands among the encoders, and yet reads item tokens in place of texts: `of` is what models are given, `encode` refuses.
    """

    path: Path

    @classmethod
    def at(cls, place: str) -> VectorFile:
        """The file that a user names; opened when its content is asked for.

        Raises:
            HarnessError: no such file, or one of another kind.
        """
        file = cls(Path(place).expanduser())
        if file.path.suffix.lower() not in SUFFIXES:
            file._refuse(f"its name must end in {' or '.join(SUFFIXES)}")
        if not file.path.is_file():
            file._refuse("there is no such file; correct the path")
        return file

    @property
    def name(self) -> str:
        """As it stands in records, which hold no folder."""
        return f"file:{self.path.name}"

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the file's content."""
        try:
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            self._refuse(f"it cannot be read ({error.strerror})")

    def encode(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Refuse: what made the vectors is not here.

        Raises:
            HarnessError: always.
        """
        self._refuse(
            "it has vectors of items, and none can be made of a text or a query; take another encoder for that"
        )

    def of(self, tokens: Sequence[str]) -> Looked:
        """The vectors of items.

        Args:
            tokens: n items as the dataset spells them, order kept.

        Raises:
            HarnessError: the file is none of this form, two of its vectors are of one item, one is not finite, or none is of
                an item here.
        """
        read = _Parquet(self) if self.path.suffix.lower() == ".parquet" else _Npz(self)
        items, pieces = read()
        if not items:
            self._refuse("it has no vectors")
        last = {item: row for row, item in enumerate(items)}
        if len(last) < len(items):
            twice = next(item for row, item in enumerate(items) if last[item] != row)
            self._refuse(f"item '{twice}' has two vectors; keep one")
        del last
        index = {token: i for i, token in enumerate(tokens)}
        place = np.array([index.get(item, -1) for item in items], dtype=np.int64)
        found, bad = self._placed(pieces, place, len(tokens))
        if bad:
            more = f", and {len(bad) - 1:,} more" if len(bad) > 1 else ""
            self._refuse(f"the vector of item '{items[bad[0]]}'{more} holds NaN or infinity")
        known = np.zeros(len(tokens), dtype=np.bool_)
        known[place[place >= 0]] = True
        if not known.any():
            self._refuse(
                f"none of its {len(items):,} items is one of this dataset's {len(tokens):,}: it has e.g. '{items[0]}', "
                f"the dataset e.g. '{tokens[0]}'; write tokens as the dataset does"
            )
        lacking = "" if known.all() else tokens[int(np.flatnonzero(~known)[0])]
        return Looked(found, known, lacking, len(items) - int(known.sum()))

    def _placed(
        self, pieces: Iterator[npt.NDArray[Any]], place: npt.NDArray[np.int64], n: int
    ) -> tuple[npt.NDArray[np.float32], list[int]]:
        """([n, d] rows of the file at their `place`, none at -1; rows that are not finite): the one copy of them in float32."""
        found, bad, begin = np.zeros((n, 0), dtype=np.float32), list[int](), 0
        for piece in pieces:
            if not begin:
                found = np.zeros((n, piece.shape[1]), dtype=np.float32)
            # A number beyond float32 becomes infinite here and is told as such.
            with np.errstate(over="ignore"):
                rows = np.asarray(piece, dtype=np.float32)
            bad += (begin + np.flatnonzero(~np.isfinite(rows).all(axis=1))).tolist()
            here = place[begin : begin + len(rows)]
            found[here[here >= 0]] = rows[here >= 0]
            begin += len(rows)
        if not found.shape[1]:
            self._refuse("it has no vectors")
        return found, bad

    def _refuse(self, why: str) -> NoReturn:
        raise HarnessError(f"encoder file:{self.path}: {why}")


@dataclass(frozen=True)
class _Parquet:
    """Reads a parquet file of vectors, without pandas, which would make an object of every row."""

    file: VectorFile

    def __call__(self) -> tuple[list[str], Iterator[npt.NDArray[Any]]]:
        """(Items, their vectors, some at a time: beside what is made of them there is no second copy.)"""
        import pyarrow as pa
        import pyarrow.parquet as pq

        refuse = self.file._refuse
        try:
            have = pq.read_schema(self.file.path).names
            item = next((name for name in _ITEM if name in have), None)
            if item is None or _VECTOR not in have:
                lacks = _ITEM[0] if item is None else _VECTOR
                refuse(
                    f"no column '{lacks}' (it has {', '.join(have) or 'none'}){nearest(lacks, have)}; "
                    f"a row is an item and its vector: columns '{_ITEM[0]}' and '{_VECTOR}'"
                )
            column = pq.read_table(self.file.path, columns=[item])[item]
        except (OSError, pa.ArrowException) as error:
            self._unreadable(error)
        items = self._items(column, item)
        return items, self._pieces(items)

    def _pieces(self, items: list[str]) -> Iterator[npt.NDArray[Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        begin, width = 0, None
        try:
            with pq.ParquetFile(self.file.path) as stored:
                for batch in stored.iter_batches(_ROWS, columns=[_VECTOR]):
                    rows = self._vectors(batch.column(0), items[begin : begin + len(batch)])
                    if width is not None and rows.shape[1] != width:
                        self._unequal(items[begin], rows.shape[1], items[0], width)
                    begin, width = begin + len(batch), rows.shape[1]
                    yield rows
        except (OSError, pa.ArrowException) as error:
            self._unreadable(error)

    def _unreadable(self, error: Exception) -> NoReturn:
        self.file._refuse(f"it is no readable parquet file ({' '.join(str(error).split())[:120]})")

    def _items(self, column: pa.ChunkedArray, name: str) -> list[str]:
        import pyarrow as pa

        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not text and not pa.types.is_integer(kind):
            self.file._refuse(f"column '{name}' holds {kind}; write item tokens as text")
        if column.null_count:
            self.file._refuse(f"column '{name}' has {column.null_count:,} rows without an item")
        return [str(item) for item in column.to_pylist()]

    def _vectors(self, column: pa.Array, items: list[str]) -> npt.NDArray[Any]:
        import pyarrow as pa
        import pyarrow.compute as pc

        refuse, kind = self.file._refuse, column.type
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not lists and not pa.types.is_fixed_size_list(kind):
            refuse(f"column '{_VECTOR}' holds {kind}; write a list of float for each item")
        inner = kind.value_type
        if not pa.types.is_floating(inner) and not pa.types.is_integer(inner):
            refuse(f"column '{_VECTOR}' holds lists of {inner}; write lists of float")
        if column.null_count:
            row = int(pc.index(pc.is_null(column), True).as_py())
            refuse(f"item '{items[row]}' has no vector; leave its row out")
        lengths = pc.list_value_length(column).to_numpy()
        if len(lengths) and (lengths != lengths[0]).any():
            row = int(np.flatnonzero(lengths != lengths[0])[0])
            self._unequal(items[row], lengths[row], items[0], lengths[0])
        flat = pc.list_flatten(column)
        if flat.null_count:
            row = int(pc.index(pc.is_null(flat), True).as_py()) // int(lengths[0])
            refuse(f"the vector of item '{items[row]}' lacks a number")
        return np.asarray(flat.to_numpy()).reshape(len(items), -1)

    def _unequal(self, item: str, length: int, first: str, other: int) -> NoReturn:
        self.file._refuse(
            f"vectors must have one length: that of item '{item}' has {length:,} numbers, that of '{first}' {other:,}"
        )


@dataclass(frozen=True)
class _Npz:
    """Reads an npz file of vectors; nothing pickled is ever opened."""

    file: VectorFile

    def __call__(self) -> tuple[list[str], Iterator[npt.NDArray[Any]]]:
        import zipfile
        import zlib

        refuse = self.file._refuse
        if not zipfile.is_zipfile(self.file.path):
            refuse(f"it is no npz file; write it with {_SAVED}")
        try:
            with np.load(self.file.path, allow_pickle=False) as stored:
                for name in (_ITEMS, _VECTORS):
                    if name not in stored.files:
                        have = ", ".join(stored.files) or "none"
                        refuse(
                            f"no array '{name}' (it has {have}){nearest(name, stored.files)}; write it with {_SAVED}"
                        )
                items, vectors = self._array(stored, _ITEMS), self._array(stored, _VECTORS)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            refuse(f"it is no readable npz file ({' '.join(str(error).split())[:120]})")
        if items.ndim != 1 or items.dtype.kind not in "Uiu":
            refuse(
                f"'{_ITEMS}' is {items.dtype} of shape {items.shape}; write [n] item tokens as text"
            )
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
            refuse(
                f"'{_VECTORS}' is {vectors.dtype} of shape {vectors.shape}; write [n, d] numbers"
            )
        if len(items) != len(vectors):
            refuse(f"it has {len(items):,} items and {len(vectors):,} vectors")
        pieces = (vectors[i : i + _ROWS] for i in range(0, len(vectors), _ROWS))
        return [str(item) for item in items.tolist()], pieces

    def _array(self, stored: Any, name: str) -> npt.NDArray[Any]:
        try:
            return np.asarray(stored[name])
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            self.file._refuse(
                f"'{name}' is an array of Python objects, which is not opened; write it with {_SAVED}"
            )


_SAVED = "numpy.savez(PATH, items=numpy.array(tokens, dtype=str), vectors=numpy.array(rows, dtype='float32'))"
"""How an npz file is written; rows of unequal lengths fail there."""
