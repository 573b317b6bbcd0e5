"""RecBole's atomic files: tab separated, one typed header line (`user_id:token ...`), text read raw.

Quotes are data, a line ends with LF or CR LF and with nothing else, `.gz` is read as such. Only the columns that somebody
reads are read and checked, some lines at a time; what cannot be read is one line that says where and why.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.tokens import Numbering

if TYPE_CHECKING:
    import pandas as pd

TYPES = ("token", "token_seq", "float", "float_seq")
Kind = Literal["id", "text", "number", "number if it is", "time"]
"""What a column is read as: `id` must be there and filled; `number if it is` is left out where some value is none; `time` takes
numbers and ISO dates. The type in the header says what it ought to hold, not what it is read for."""
BLOCK = 1 << 17
"""Bytes read at a time; a longer line is read whole."""
_SEPARATORS = {"commas": ",", "semicolons": ";", "spaces": r" +"}
_OTHER_UNICODE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_atomic(path: Path, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Read columns of one atomic file.

    Args:
        path: plain or gzipped file.
        kinds: column -> what it is read as; but for an `id`, a column that is not there is left out.

    Returns:
        A column per name, in the order of `kinds`: `id` as categories, `text` as str (missing is ""), numbers and times as
        float64 (missing is NaN), times in seconds since 1970 where the file has dates.

    Raises:
        HarnessError: a header without types, a missing or doubled column, a row with too many or too few fields, text
            that is not UTF-8, an empty id or one with a NUL byte, a number or time that is none, a truncated gzip. Each names file and line.
    """
    import pandas as pd
    import pyarrow as pa

    types = columns_of(path)
    for name, kind in kinds.items():
        if kind == "id" and name not in types:
            raise HarnessError(
                f"{path}: no column '{name}' (columns: {', '.join(types)}){nearest(name, types)}"
            )
    wanted = {name: kind for name, kind in kinds.items() if name in types}
    numberings = {name: Numbering() for name, kind in wanted.items() if kind == "id"}
    # Counted first: columns that grow are there twice, and in pieces between everything else.
    most = sum(raw.count(b"\n") for raw in _whole_lines(path))
    found: dict[str, Any] = {
        name: []
        if kind == "text"
        else np.empty(most, dtype=np.int32 if kind == "id" else np.float64)
        for name, kind in wanted.items()
    }
    begin = 0
    for block in _blocks(path, list(types)):
        end = begin + len(block.line)
        for name in list(found):
            column = block.column(name)
            values, bad = _READ[wanted[name]](column)
            if block.has_nul and wanted[name] == "id":
                _refuse_nul(path, block, name, column)
            if len(bad) and wanted[name] == "number if it is":
                del found[name]
                continue
            if len(bad):
                raise HarnessError(_wrong(path, block, name, types[name], wanted[name], bad[0]))
            if wanted[name] == "text":
                found[name].append(values)
            elif wanted[name] == "id":
                numbers = numberings[name].of(values.dictionary.to_pylist())
                np.array(numbers, dtype=np.int32).take(values.indices, out=found[name][begin:end])
            else:
                found[name][begin:end] = values
        begin = end
    for name, values in found.items():
        if wanted[name] == "text":
            found[name] = pa.chunked_array(values, pa.string()).to_pandas()
        elif wanted[name] == "id":
            found[name] = numberings.pop(name).categorical(values[:begin])
        else:
            found[name] = values[:begin]
    return pd.DataFrame(found, copy=False)


@dataclass
class Misfits:
    """Values of one column that are not of its type."""

    column: str
    type: str
    count: int
    line: int
    """Of the first, from 1."""
    first: str


def misfits(path: Path) -> list[Misfits]:
    """Columns of numbers that hold anything else, in the file's order."""
    types = columns_of(path)
    found: dict[str, Misfits] = {}
    for block in _blocks(path, list(types)):
        for name, kind in types.items():
            if not kind.startswith("float"):
                continue
            column = block.column(name)
            bad = _not_numbers(column) if kind == "float_seq" else _numbers(column)[1]
            if len(bad):
                of = found.setdefault(
                    name,
                    Misfits(name, kind, 0, int(block.line[bad[0]]), column[bad[0].item()].as_py()),
                )
                of.count += len(bad)
    return [found[name] for name in types if name in found]


def columns_of(path: Path) -> dict[str, str]:
    """Column -> its type, in the file's order.

    Raises:
        HarnessError: the first line is no header of an atomic file, or the file is not UTF-8.
    """
    try:
        with _open(path) as stream:
            raw = stream.readline()
        other = next((name for bom, name in _OTHER_UNICODE.items() if raw.startswith(bom)), None)
        if other or b"\0" in raw:
            other = other or "utf-16"
            raise HarnessError(
                f"{path}: {other.upper()}, not UTF-8; convert it, e.g. iconv -f {other} -t utf-8"
            )
        line = raw.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise HarnessError(_not_utf8(path, 1, error.start)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise HarnessError(_unreadable(path, error)) from None
    if not line:
        raise HarnessError(
            f"{path}: empty; the first line must name the columns, e.g. user_id:token"
        )
    if "\r" in line:
        raise HarnessError(
            f"{path}: its lines end in a lone CR; end them in LF, e.g. tr '\\r' '\\n'"
        )
    if separator := _separator(line):
        raise HarnessError(
            f"{path}, line 1: its fields are separated by {separator}; separate them by one tab"
        )
    fields = [field.rsplit(":", 1) for field in line.split("\t")]
    for field in fields:
        if len(field) != 2 or field[1] not in TYPES:
            raise HarnessError(
                f"{path}, line 1: '{':'.join(field)}' is not name:type with type one of {', '.join(TYPES)}"
            )
    names = [field[0] for field in fields]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise HarnessError(f"{path}, line 1: column '{sorted(doubled)[0]}' stands twice")
    return {name: kind for name, kind in fields}


@dataclass(frozen=True)
class _Block:
    """Some lines of a file, taken apart."""

    names: list[str]
    fields: Any
    """Strings of pyarrow, [rows x columns] row by row."""
    line: npt.NDArray[np.int64]
    """[rows] line in the file, from 1."""
    has_nul: bool
    """Whether a byte of them is 0, as of a file that was cut off or half written; in text it is in nobody's way."""

    def column(self, name: str) -> Any:
        """[rows] strings of pyarrow."""
        width = len(self.names)
        return self.fields.take(np.arange(self.names.index(name), len(self.fields), width))


def _blocks(path: Path, names: list[str]) -> Iterator[_Block]:
    """All rows of a file, some at a time; blank lines are no rows.

    Raises:
        HarnessError: text that is not UTF-8, a damaged gzip, or, after the last row, rows with another number of fields.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    number, odd, first = 2, 0, ""
    for raw in _whole_lines(path):
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            above = raw.count(b"\n", 0, error.start)
            begin = raw.rfind(b"\n", 0, error.start) + 1
            raise HarnessError(_not_utf8(path, number + above, error.start - begin)) from None
        ends = np.flatnonzero(np.frombuffer(raw, dtype=np.uint8) == ord("\n")) + 1
        offsets = np.append(0, ends).astype(np.int32)
        lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(raw))
        lines = pc.ascii_rtrim(lines, "\r\n")
        line = np.arange(number, number + len(ends))
        number += len(ends)
        filled = pc.not_equal(lines, "")
        if not pc.all(filled).as_py():
            lines, line = lines.filter(filled), line[filled.to_numpy(zero_copy_only=False)]
        rows = pc.split_pattern(lines, "\t")
        width = pc.list_value_length(rows).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(width != len(names))
        if len(bad):
            odd += len(bad)
            text = lines[bad[0].item()].as_py()
            first = first or f"line {line[bad[0]]}: {_fields(text, width[bad[0]], len(names))}"
            rows, line = rows.filter(width == len(names)), line[width == len(names)]
        yield _Block(names, rows.flatten(), line, b"\0" in raw)
    if odd:
        raise HarnessError(f"{path}, {first} ({odd} such lines); separate fields by one tab")


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The file after its first line, about `BLOCK` bytes at a time, each piece ending in a line end."""
    try:
        with _open(path) as stream:
            stream.readline()
            rest = b""
            # A line that is longer than a block doubles what is read, so that it is not copied over and over.
            while more := stream.read(max(BLOCK, len(rest))):
                cut = more.rfind(b"\n") + 1
                if cut:
                    yield rest + more[:cut]
                    rest = more[cut:]
                else:
                    rest += more
            if rest:
                yield rest + b"\n"
    except (OSError, EOFError, zlib.error) as error:
        raise HarnessError(_unreadable(path, error)) from None


_Read = tuple[Any, npt.NDArray[np.int64]]
"""(Values of a block, which of them are wrong)."""


def _ids(column: Any) -> _Read:
    import pyarrow.compute as pc

    empty = pc.equal(column, "").to_numpy(zero_copy_only=False)
    return column.dictionary_encode(), np.flatnonzero(empty)


def _text(column: Any) -> _Read:
    return column, np.empty(0, dtype=np.int64)


def _numbers(column: Any) -> _Read:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    filled = pc.not_equal(column, "")
    text = pc.if_else(filled, column, None)
    try:
        values = text.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = pd.to_numeric(text.to_pandas(), errors="coerce").to_numpy(dtype=np.float64)
    return values, np.flatnonzero(filled.to_numpy(zero_copy_only=False) & ~np.isfinite(values))


def _times(column: Any) -> _Read:
    """Numbers as they are, ISO dates as seconds since 1970; without a zone they are UTC."""
    import pandas as pd

    values, other = _numbers(column)
    if not len(other):
        return values, other
    dates = pd.to_datetime(
        column.take(other).to_pandas(), format="ISO8601", utc=True, errors="coerce"
    )
    known = dates.notna().to_numpy()
    # Whole seconds apart: nanoseconds since 1970 are more digits than a double has.
    nanoseconds = dates[known].dt.as_unit("ns").astype("int64").to_numpy()
    values = values.copy()
    values[other[known]] = nanoseconds // 10**9 + nanoseconds % 10**9 / 1e9
    return values, other[~known]


def _not_numbers(column: Any) -> npt.NDArray[np.int64]:
    """Rows of a list of numbers that hold anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pc.split_pattern(column, " ")
    bad = _numbers(words.flatten())[1]
    return np.unique(pc.list_parent_indices(words).take(pa.array(bad)).to_numpy())


_READ = {
    "id": _ids,
    "text": _text,
    "number": _numbers,
    "number if it is": _numbers,
    "time": _times,
}


def _wrong(path: Path, block: _Block, name: str, kind: str, read_as: Kind, row: np.int64) -> str:
    at, value = f"{path}, line {block.line[row]}", block.column(name)[row.item()].as_py()
    if read_as == "id":
        return f"{at}: empty {name}; fill it in or remove the line"
    if read_as == "time":
        return (
            f"{at}: '{value}' is neither a number nor an ISO date (2014-03-12, 2014-03-12T09:30:00Z) in {name}:{kind}; "
            "correct it, or give the column another name if it holds no times"
        )
    if name == "label":  # read by min_label, by keep_label, or by min_rating under that name
        remedy = (
            "which a threshold reads, or keep_label; correct it, leave it empty, or ask for none"
        )
    else:
        remedy = "which min_rating reads; correct it, leave it empty, or name another column, e.g. --rating_field=stars"
    return f"{at}: '{value}' is not a number in {name}:{kind}, {remedy}"


def _refuse_nul(path: Path, block: _Block, name: str, column: Any) -> None:
    for line, token in zip(block.line, column.to_pylist(), strict=True):
        if "\0" in token:
            raise HarnessError(
                f"{path}, line {line}: a NUL byte in {name}; the file is damaged: make it anew, or drop them: tr -d '\\000'"
            )


def _fields(line: str, width: int, expected: int) -> str:
    text = f"{width} fields, but the header has {expected}"
    separator = _separator(line) if width == 1 else None
    return f"{text}: this line is separated by {separator}" if separator else text


def _separator(line: str) -> str | None:
    """What a line without tabs separates its fields by, if by anything."""
    if "\t" in line:
        return None
    return next((name for name, by in _SEPARATORS.items() if re.search(by, line.strip())), None)


def _open(path: Path) -> BinaryIO:
    import gzip

    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _not_utf8(path: Path, line: int, byte: int) -> str:
    return f"{path}: not UTF-8 (line {line}, byte {byte + 1}); convert it, e.g. iconv -f latin1 -t utf-8"


def _unreadable(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    return (
        f"{path}: damaged or truncated gzip ({text}); fetch it again"
        if path.suffix == ".gz"
        else f"{path}: {text}"
    )
