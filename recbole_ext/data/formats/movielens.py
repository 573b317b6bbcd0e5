"""MovieLens archives of GroupLens: ratings, titles, genres and user tags, in both of the forms that they come in.

What is relied on, and where the same is read in public:

* `ratings.dat`, `movies.dat` (1M, 10M) and `tags.dat` (10M): fields separated by `::`, no header; user, movie, rating, time
  in seconds; movie, title, genres separated by `|`, in latin-1 (RUCAIBox/RecSysDatasets, conversion_tools,
  `ML1MDataset` and `ML10MDataset`);
* `ratings.csv`, `movies.csv`, `tags.csv` (20M, 25M, 32M, latest): quoted csv in UTF-8 with a header; `userId`,
  `movieId`, `rating`, `timestamp`; `title`, `genres`; `tag` (the same, `ML20MDataset`).
"""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from recbole_ext.data.formats.reading import Batch, Malformed, Row, batched, csv_rows, lines, opened
from recbole_ext.data.formats.text import plain

REVISION = 2
MOST_TAGS = 20
_NO_GENRE = "(no genres listed)"


def interactions(files: Mapping[str, Path]) -> Iterator[Batch]:
    """Role `archive`: the zip as it is downloaded."""
    path = files["archive"]
    return _csv_ratings(path) if _has(path, "ratings.csv") else batched(_dat_ratings(path))


def items(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """`title` with its year, `genre`, and `tags`: the movie's distinct tags in lower case, most frequent first."""
    path = files["archive"]
    modern = _has(path, "movies.csv")
    tags = _tags(path, modern)
    malformed = Malformed(path)
    member = "movies.csv" if modern else "movies.dat"
    rows = csv_rows(path, member, "utf-8") if modern else _dat_rows(path, member)
    for number, row in rows:
        if len(row) != 3 or not row[0]:
            malformed.add(number, f"{member}: {len(row)} fields instead of 3")
            continue
        movie, title, genres = row
        yield {
            "item_id": movie,
            "title": plain(title),
            "genre": "" if genres == _NO_GENRE else plain(genres.replace("|", " ")),
            "tags": ", ".join(_most_frequent(tags.get(movie, Counter()))),
        }
    malformed.report()


def _has(path: Path, member: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rsplit("/", 1)[-1] == member for name in archive.namelist())
    except zipfile.BadZipFile:
        return False  # whoever reads it says so


def _csv_ratings(path: Path) -> Iterator[Batch]:
    """By columns: a million rows take about a second."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    malformed = Malformed(path)

    bad: list[arrow_csv.InvalidRow] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        bad.append(row)  # an exception raised in here would be lost
        return "skip"

    def tell() -> None:
        for row in bad:
            fields = f"{row.actual_columns} fields instead of {row.expected_columns}"
            malformed.add(row.number or 1, f"ratings.csv: {fields}")
        bad.clear()

    names = ("userId", "movieId", "rating", "timestamp")
    with opened(path, "ratings.csv") as stream:
        reader = arrow_csv.open_csv(
            pa.input_stream(stream),
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(invalid_row_handler=skip),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=names
            ),
        )
        seen = 1
        for block in reader:
            tell()
            user, movie, rating, time = (column.to_pylist() for column in block.columns)
            try:
                yield Batch(user, movie, list(map(float, rating)), list(map(float, time)))
            except ValueError:  # some row of this block holds what is no number: one by one
                rows = zip(user, movie, rating, time, strict=True)
                yield from batched(_numbers(rows, seen + 1, malformed))
            seen += len(user)
    tell()
    malformed.report()


def _numbers(rows: Iterable[Sequence[str]], begin: int, malformed: Malformed) -> Iterator[Row]:
    """Rows whose rating and time are numbers, the first of which stands on line `begin`."""
    for number, (user, movie, rating, time) in enumerate(rows, begin):
        try:
            values = float(rating), float(time)
        except ValueError as error:
            malformed.add(number, f"ratings: {error}")
            continue
        yield user, movie, *values


def _dat_ratings(path: Path) -> Iterator[Row]:
    malformed = Malformed(path)
    for number, row in _dat_rows(path, "ratings.dat"):
        if len(row) == 4:
            yield from _numbers([row], number, malformed)
        else:
            malformed.add(number, f"ratings.dat: {len(row)} fields instead of 4")
    malformed.report()


def _dat_rows(path: Path, member: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines(path, member):
        yield number, line.decode("latin-1").split("::")


def _tags(path: Path, modern: bool) -> dict[str, Counter[str]]:
    member = "tags.csv" if modern else "tags.dat"
    if not _has(path, member):
        return {}
    found: dict[str, Counter[str]] = defaultdict(Counter)
    malformed = Malformed(path)
    for number, row in csv_rows(path, member, "utf-8") if modern else _dat_rows(path, member):
        if len(row) != 4:
            malformed.add(number, f"{member}: {len(row)} fields instead of 4")
            continue
        tag = plain(row[2]).lower()
        if tag:
            found[row[1]][tag] += 1
    malformed.report()
    return found


def _most_frequent(tags: Mapping[str, int]) -> Iterable[str]:
    return sorted(tags, key=lambda tag: (-tags[tag], tag))[:MOST_TAGS]
