"""RecBole's atomic files: tab separated, one typed header line (`user_id:token ...`), text read raw.

Quotes are data, `.gz` is read as such, and a file that cannot be read is one line that says where and why.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from recbole_ext.errors import HarnessError, nearest

if TYPE_CHECKING:
    import pandas as pd

TYPES = ("token", "token_seq", "float", "float_seq")


def find_atomic(folder: Path, stem: str) -> Path | None:
    """`folder/stem` or `folder/stem.gz`; None when neither exists."""
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    return None


def read_atomic(path: Path, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read one atomic file.

    Args:
        path: plain or gzipped file.
        needed: columns that must be there.

    Returns:
        One column per field, named without its type: `token` and `token_seq` as str (missing is ""), `float` as
        float64 (missing is NaN), `float_seq` as str.

    Raises:
        HarnessError: a header without types, a missing or doubled column, a row with too many or too few fields, text
            that is not UTF-8, a number that is none, a truncated gzip. Each names file and line.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from pyarrow import csv

    names, types = _header(path)
    missing = [name for name in needed if name not in names]
    if missing:
        raise HarnessError(
            f"{path}: no column '{missing[0]}' (columns: {', '.join(names)}){nearest(missing[0], names)}"
        )
    bad: list[tuple[int, int]] = []

    def refuse(row: csv.InvalidRow) -> str:
        bad.append((row.number, row.actual_columns))
        return "skip"

    try:
        with pa.input_stream(str(path)) as stream:
            table = csv.read_csv(
                stream,
                # One thread, because only then does a bad row carry its number.
                read_options=csv.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
                parse_options=csv.ParseOptions(
                    delimiter="\t",
                    quote_char=False,
                    escape_char=False,
                    newlines_in_values=False,
                    ignore_empty_lines=True,
                    invalid_row_handler=refuse,
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
    except (pa.ArrowException, OSError, EOFError) as error:
        raise HarnessError(f"{path}: {_reason(path, error)}") from None
    if bad:
        number, actual = bad[0]
        raise HarnessError(
            f"{path}, line {_line(path, number)}: {actual} fields, but the header has {len(names)} "
            f"({len(bad)} such lines); separate fields by one tab"
        )
    columns = {}
    for name, kind in zip(names, types, strict=True):
        text = table.column(name).to_pandas()
        empty = np.flatnonzero((text == "").to_numpy())
        if name in needed and len(empty):
            raise HarnessError(
                f"{path}, line {_line(path, empty[0] + 2)}: empty {name}; fill it in or remove the line"
            )
        if kind != "float":
            columns[name] = text
            continue
        numbers = pd.to_numeric(text.where(text != ""), errors="coerce")
        wrong = np.flatnonzero(numbers.isna().to_numpy() & (text != "").to_numpy())
        if len(wrong):
            raise HarnessError(
                f"{path}, line {_line(path, wrong[0] + 2)}: '{text.iloc[wrong[0]]}' is not a number in "
                f"{name}:float; correct it, leave it empty, or call the column {name}:token"
            )
        # Once more by a reader that is exact: pandas' is off in the last bit for a third of the numbers of 17 digits.
        columns[name] = text.where(text != "", "nan").astype("float64")
    return pd.DataFrame(columns)


def _open(path: Path) -> BinaryIO:
    import gzip

    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _header(path: Path) -> tuple[list[str], list[str]]:
    try:
        with _open(path) as stream:
            line = stream.readline().decode("utf-8").rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: {_reason(path, error)}") from None
    if not line:
        raise HarnessError(
            f"{path}: empty; the first line must name the columns, e.g. user_id:token"
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
    return names, [field[1] for field in fields]


def _reason(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "UTF8" in text or "utf-8" in text:
        return f"not UTF-8 ({_utf8_line(path)}); convert it, e.g. iconv -f latin1 -t utf-8"
    if path.suffix == ".gz":
        return f"damaged or truncated gzip ({text}); fetch it again"
    return text


def _line(path: Path, row: int) -> int:
    """Line number in the file of the `row`-th line that is not blank, both from 1: blank lines are no rows."""
    with _open(path) as stream:
        filled = (number for number, line in enumerate(stream, 1) if line.strip(b"\r\n"))
        return next(itertools.islice(filled, row - 1, None))


def _utf8_line(path: Path) -> str:
    with _open(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"line {number}, byte {error.start + 1}"
    return "the whole file decodes on a second look"
