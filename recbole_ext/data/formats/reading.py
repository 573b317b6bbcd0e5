"""What all formats share: batches of interactions, lines of plain, gzipped and zipped files, and malformed ones counted."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.progress import say

BATCH = 100_000
"""Rows that a format hands over at a time."""
MOST_MALFORMED = 0.001
"""Share of lines that may be malformed before a file counts as damaged; the first few are always forgiven."""
FORGIVEN = 10


class Batch(NamedTuple):
    """Interactions, column by column."""

    user: list[str]
    item: list[str]
    rating: list[float] | None
    """None where the format has no ratings."""
    time: list[float] | None
    """Seconds since 1970, None where the format has no times."""


Row = tuple[str, str, float | None, float | None]
"""User, item, rating, time."""


def batched(rows: Iterable[Row]) -> Iterator[Batch]:
    """Rows as batches of columns; a column of None is no column."""
    source = iter(rows)
    while chunk := list(itertools.islice(source, BATCH)):
        user, item, rating, time = zip(*chunk, strict=True)
        yield Batch(
            list(user),
            list(item),
            None if rating[0] is None else list(rating),
            None if time[0] is None else list(time),
        )


class Format(Protocol):
    """A module of this package: two functions from files (role -> path) to what they hold.

    Roles are the names of the files in the dataset's YAML. `items` yields `item_id` and text columns of every item of
    the files, in any order; columns are the same for every item, "" where unknown.
    """

    REVISION: int
    """Bumped when a change moves what is read."""

    def interactions(self, files: Mapping[str, Path]) -> Iterator[Batch]: ...

    def items(self, files: Mapping[str, Path]) -> Iterator[dict[str, str]]: ...


@dataclass
class Malformed:
    """Lines of one file that could not be read: skipped, counted and named, and an error once they are too many."""

    path: Path
    unit: str = "line"
    count: int = 0
    first: str = field(default="")

    def add(self, number: int, why: str) -> None:
        """One more; `number`: its line, from 1."""
        self.count += 1
        self.first = self.first or f"{self.unit} {number}: {why}"
        if self.count > FORGIVEN + MOST_MALFORMED * number:
            raise HarnessError(
                f"{self.path}: {self.count} of {number} {self.unit}s are malformed ({self.first}); fetch it again, or check "
                "that it is the file that its name says"
            )

    def report(self) -> None:
        """Say how many were skipped, if any."""
        if self.count:
            say(f"{self.path.name}: {self.count} malformed {self.unit}s skipped ({self.first})")


@contextmanager
def opened(path: Path, member: str | None = None) -> Iterator[BinaryIO]:
    """The bytes of a plain file, of a `.gz`, or of one `member` of a `.zip`, which is never unpacked to disk.

    Raises:
        HarnessError: damaged or truncated, no such member, or an archive with an entry that points outside.
    """
    try:
        if member is not None:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                for name in names:
                    parts = PurePosixPath(name.replace("\\", "/"))
                    if parts.is_absolute() or ".." in parts.parts:
                        raise HarnessError(
                            f"{path}: holds an entry that points outside its folder ('{name}'); it is not the "
                            "official archive, nothing was read"
                        )
                found = [name for name in names if name == member or name.endswith(f"/{member}")]
                if not found:
                    raise HarnessError(
                        f"{path}: holds no {member} (it holds {', '.join(names[:8])})"
                    )
                with archive.open(found[0]) as stream:
                    yield cast(BinaryIO, stream)
        elif path.suffix == ".gz":
            with gzip.open(path) as packed:
                yield cast(BinaryIO, packed)
        else:
            with path.open("rb") as plain:
                yield plain
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise HarnessError(
            f"{path}: damaged or truncated ({' '.join(str(error).split())}); delete it and fetch it again"
        ) from None


def lines(path: Path, member: str | None = None) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line without its end) of every line that is not blank."""
    with opened(path, member) as stream:
        for number, line in enumerate(stream, 1):
            stripped = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").rstrip(b"\r\n")
            if stripped:
                yield number, stripped


def csv_rows(
    path: Path, member: str, encoding: str, **form: Any
) -> Iterator[tuple[int, list[str]]]:
    """(Line that it ends on, fields) of every row after the header; of one that is no csv what is wrong with it, as one field."""
    with opened(path, member) as stream:
        text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
        reader = csv.reader(text, **form)
        next(reader, None)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # e.g. a quote that nothing closes
                row = [str(error)]
            if row:
                yield reader.line_num, row
