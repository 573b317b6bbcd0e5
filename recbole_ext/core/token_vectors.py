"""Vectors by token, of items or users, in a parquet or npz file that somebody else made: read some at a time, every mistake one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import nearest
from recbole_ext.core.table_file import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".npz")
_VECTOR = "vector"
"""Column of a parquet file."""
_ROWS = 1 << 14
"""Vectors looked at together."""
Refuse = Callable[[str], NoReturn]
"""Raises the error that a file is in, which names it."""


@dataclass(frozen=True)
class Form:
    """How a file says whose vectors it has."""

    one: str
    """What has a vector: item, user."""
    columns: tuple[str, ...]
    """Of tokens in a parquet file, whichever is there first; `vector` is the other."""
    arrays: tuple[str, str]
    """Of an npz file: tokens [m] of text, vectors [m, d]."""

    @property
    def saved(self) -> str:
        """How an npz file is written; rows of unequal lengths fail there."""
        tokens, vectors = self.arrays
        return f"numpy.savez(PATH, {tokens}=numpy.array(tokens, dtype=str), {vectors}=numpy.array(rows, dtype='float32'))"


@dataclass(frozen=True)
class ByToken:
    """The vectors of n tokens, and how well tokens and file meet."""

    vectors: npt.NDArray[np.float32]
    """[n, d], a zero row for a token that the file lacks."""
    known: npt.NDArray[np.bool_]
    """[n] whether the file has the token."""
    lacking: str
    """The first token that it lacks, "" where it lacks none."""
    foreign: int
    """Vectors of the file that are of none of the tokens."""
    stranger: str
    """Of the first of these, "" where there is none."""


def check_file(path: Path, refuse: Refuse) -> None:
    """Refuse a file of another kind, or one that is not there."""
    if path.suffix.lower() not in SUFFIXES:
        refuse(f"its name must end in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        refuse("there is no such file; correct the path")


def read_by_token(path: Path, form: Form, tokens: Sequence[str], refuse: Refuse) -> ByToken:
    """The vectors of tokens.

    Args:
        path: of one of `SUFFIXES`.
        form: what its columns or arrays are called.
        tokens: n as the dataset spells them, order kept.
        refuse: is called where the file is none of this form, two of its vectors are of one token, or one is not finite.
    """
    check_file(path, refuse)
    read = (
        _Parquet(path, form, refuse)
        if path.suffix.lower() == ".parquet"
        else _Npz(path, form, refuse)
    )
    owners, pieces = read()
    if not owners:
        refuse("it has no vectors")
    last = {owner: row for row, owner in enumerate(owners)}
    if len(last) < len(owners):
        twice = next(owner for row, owner in enumerate(owners) if last[owner] != row)
        refuse(f"{form.one} '{twice}' has two vectors; keep one")
    del last
    index = {token: i for i, token in enumerate(tokens)}
    place = np.array([index.get(owner, -1) for owner in owners], dtype=np.int64)
    found, bad = _placed(pieces, place, len(tokens))
    if not found.shape[1]:
        refuse("it has no vectors")
    if bad:
        more = f", and {len(bad) - 1:,} more" if len(bad) > 1 else ""
        refuse(f"the vector of {form.one} '{owners[bad[0]]}'{more} holds NaN or infinity")
    known = np.zeros(len(tokens), dtype=np.bool_)
    known[place[place >= 0]] = True
    lacking = "" if known.all() else tokens[int(np.argmin(known))]
    foreign = np.flatnonzero(place < 0)
    return ByToken(found, known, lacking, len(foreign), owners[foreign[0]] if len(foreign) else "")


def _placed(
    pieces: Iterator[npt.NDArray[Any]], place: npt.NDArray[np.int64], n: int
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
    return found, bad


@dataclass(frozen=True)
class _Parquet:
    """Reads a parquet file of vectors, without pandas, which would make an object of every row."""

    path: Path
    form: Form
    refuse: Refuse

    def __call__(self) -> tuple[list[str], Iterator[npt.NDArray[Any]]]:
        """(Tokens, their vectors, some at a time: beside what is made of them there is no second copy.)"""
        import pyarrow as pa
        import pyarrow.parquet as pq

        owner = self.form.columns[0]
        try:
            names = pq.read_schema(self.path).names
            # As columns of tables are read: `User` and `user:token` are user.
            have = {name.strip().lower().partition(":")[0]: name for name in reversed(names)}
            token = next((have[name] for name in self.form.columns if name in have), None)
            if token is None or _VECTOR not in have:
                lacks = owner if token is None else _VECTOR
                self.refuse(
                    f"no column '{lacks}' (it has {', '.join(names) or 'none'}){nearest(lacks, names)}; "
                    f"a row is {self.form.one} and vector: columns '{owner}' and '{_VECTOR}'"
                )
            column = read_parquet(self.path, [token])[token]
        except (OSError, pa.ArrowException) as error:
            self._unreadable(error)
        tokens = self._tokens(column, token)
        return tokens, self._pieces(tokens, have[_VECTOR])

    def _pieces(self, tokens: list[str], vector: str) -> Iterator[npt.NDArray[Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        begin, width = 0, None
        try:
            with pq.ParquetFile(self.path) as stored:
                # In this process alone, as `read_parquet` says why.
                for batch in stored.iter_batches(_ROWS, columns=[vector], use_threads=False):
                    rows = self._vectors(batch.column(0), tokens[begin : begin + len(batch)])
                    if width is not None and rows.shape[1] != width:
                        self._unequal(tokens[begin], rows.shape[1], tokens[0], width)
                    begin, width = begin + len(batch), rows.shape[1]
                    yield rows
        except (OSError, pa.ArrowException) as error:
            self._unreadable(error)

    def _unreadable(self, error: Exception) -> NoReturn:
        self.refuse(f"it is no readable parquet file ({' '.join(str(error).split())[:120]})")

    def _tokens(self, column: pa.ChunkedArray, name: str) -> list[str]:
        import pyarrow as pa

        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not text and not pa.types.is_integer(kind):
            self.refuse(f"column '{name}' holds {kind}; write {self.form.one} tokens as text")
        if column.null_count:
            self.refuse(
                f"column '{name}' has {column.null_count:,} rows that name no {self.form.one}"
            )
        return [str(token) for token in column.to_pylist()]

    def _vectors(self, column: pa.Array, tokens: list[str]) -> npt.NDArray[Any]:
        import pyarrow as pa
        import pyarrow.compute as pc

        refuse, kind, one = self.refuse, column.type, self.form.one
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not lists and not pa.types.is_fixed_size_list(kind):
            refuse(f"column '{_VECTOR}' holds {kind}; write a list of float for each {one}")
        inner = kind.value_type
        if not pa.types.is_floating(inner) and not pa.types.is_integer(inner):
            refuse(f"column '{_VECTOR}' holds lists of {inner}; write lists of float")
        if column.null_count:
            row = int(pc.index(pc.is_null(column), True).as_py())
            refuse(f"{one} '{tokens[row]}' has no vector; leave its row out")
        lengths = pc.list_value_length(column).to_numpy()
        if len(lengths) and (lengths != lengths[0]).any():
            row = int(np.flatnonzero(lengths != lengths[0])[0])
            self._unequal(tokens[row], lengths[row], tokens[0], lengths[0])
        flat = pc.list_flatten(column)
        if flat.null_count:
            row = int(pc.index(pc.is_null(flat), True).as_py()) // int(lengths[0])
            refuse(f"the vector of {one} '{tokens[row]}' lacks a number")
        return np.asarray(flat.to_numpy()).reshape(len(tokens), -1)

    def _unequal(self, token: str, length: int, first: str, other: int) -> NoReturn:
        self.refuse(
            f"vectors must have one length: that of {self.form.one} '{token}' has {length:,} numbers, that of '{first}' {other:,}"
        )


@dataclass(frozen=True)
class _Npz:
    """Reads an npz file of vectors; nothing pickled is ever opened."""

    path: Path
    form: Form
    refuse: Refuse

    def __call__(self) -> tuple[list[str], Iterator[npt.NDArray[Any]]]:
        import zipfile
        import zlib

        refuse, saved, (owner, vector) = self.refuse, self.form.saved, self.form.arrays
        if not zipfile.is_zipfile(self.path):
            refuse(f"it is no npz file; write it with {saved}")
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                for name in self.form.arrays:
                    if name not in stored.files:
                        have = ", ".join(stored.files) or "none"
                        refuse(
                            f"no array '{name}' (it has {have}){nearest(name, stored.files)}; write it with {saved}"
                        )
                tokens, vectors = self._array(stored, owner), self._array(stored, vector)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            refuse(f"it is no readable npz file ({' '.join(str(error).split())[:120]})")
        if tokens.ndim != 1 or tokens.dtype.kind not in "Uiu":
            refuse(
                f"'{owner}' is {tokens.dtype} of shape {tokens.shape}; write [n] {self.form.one} tokens as text"
            )
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
            refuse(f"'{vector}' is {vectors.dtype} of shape {vectors.shape}; write [n, d] numbers")
        if len(tokens) != len(vectors):
            refuse(f"it has {len(tokens):,} {self.form.one}s and {len(vectors):,} vectors")
        pieces = (vectors[i : i + _ROWS] for i in range(0, len(vectors), _ROWS))
        return [str(token) for token in tokens.tolist()], pieces

    def _array(self, stored: Any, name: str) -> npt.NDArray[Any]:
        try:
            return np.asarray(stored[name])
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            self.refuse(
                f"'{name}' is an array of Python objects, which is not opened; write it with {self.form.saved}"
            )
