"""Last.fm of HetRec 2011: who listened to which artist how often.

What is relied on: tab separated with a header; `user_artists.dat` with userID, artistID, weight (times listened), and
`artists.dat` with id, name, url, pictureURL in UTF-8. Public loaders read it with these names and tabs, but none of them is
pinned here: the names are those of the archive's own readme. The listening counts have no times; those of the tags are not
used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from recbole_ext.data.formats.reading import Batch, Malformed, Row, batched, lines
from recbole_ext.data.formats.text import plain

REVISION = 2


def interactions(files: Mapping[str, Path]) -> Iterator[Batch]:
    """Role `archive`: the zip as it is downloaded. The rating is the listening count."""
    return batched(_counts(files["archive"]))


def _counts(path: Path) -> Iterator[Row]:
    malformed = Malformed(path)
    for number, line in lines(path, "user_artists.dat"):
        if number == 1:
            continue
        try:
            user, artist, weight = line.decode("utf-8").split("\t")
            count = float(weight)
        except ValueError as error:
            malformed.add(number, f"user_artists.dat: {error}")
            continue
        yield user, artist, count, None
    malformed.report()


def items(files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
    """`title`: the artist's name."""
    malformed = Malformed(files["archive"])
    for number, line in lines(files["archive"], "artists.dat"):
        if number == 1:
            continue
        fields = line.decode("utf-8", errors="replace").split("\t")
        if len(fields) < 2 or not fields[0]:
            malformed.add(number, f"artists.dat: {len(fields)} fields instead of 4")
            continue
        yield {"item_id": fields[0], "title": plain(fields[1])}
    malformed.report()
