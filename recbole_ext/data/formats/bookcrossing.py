"""Book-Crossing as its author publishes it: semicolons, quotes, backslashes, latin-1.

What is relied on: `BX-Book-Ratings.csv` with "User-ID";"ISBN";"Book-Rating" and `BX-Books.csv` with
"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher" and image addresses after them, both with a header
(read so by RUCAIBox/RecSysDatasets, conversion_tools, `BOOKCROSSINGDataset`). There are no times. A rating of 0 says
that somebody had to do with the book and did not rate it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from recbole_ext.data.formats.reading import Batch, Malformed, Row, batched, csv_rows
from recbole_ext.data.formats.text import plain

REVISION = 2


def interactions(files: Mapping[str, Path]) -> Iterator[Batch]:
    """Role `archive`: the zip as it is downloaded."""
    return batched(_ratings(files["archive"]))


def _ratings(path: Path) -> Iterator[Row]:
    malformed = Malformed(path)
    for number, row in _rows(path, "BX-Book-Ratings.csv"):
        try:
            user, book, rating = row
            if not (user and book):
                raise ValueError("no user or no book")
            value = float(rating)
        except ValueError as error:
            malformed.add(number, f"BX-Book-Ratings.csv: {error}")
            continue
        yield user, book, value, None
    malformed.report()


def items(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """`title`, `author`, `year` and `publisher` of each book."""
    malformed = Malformed(files["archive"])
    for number, row in _rows(files["archive"], "BX-Books.csv"):
        if len(row) < 5 or not row[0]:
            malformed.add(number, f"BX-Books.csv: {len(row)} fields instead of 8")
            continue
        title, author, year, publisher = map(plain, row[1:5])
        yield {
            "item_id": row[0],
            "title": title,
            "author": author,
            "year": "" if year == "0" else year,
            "publisher": publisher,
        }
    malformed.report()


def _rows(path: Path, member: str) -> Iterator[tuple[int, list[str]]]:
    return csv_rows(path, member, "latin-1", delimiter=";", quotechar='"', escapechar="\\")
