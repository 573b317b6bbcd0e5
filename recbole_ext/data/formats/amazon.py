"""Amazon reviews of 2018 and 2023: a file of reviews and a file of product metadata per category.

What is relied on, and where the same is read in public:

* 2023 reviews, `Category.jsonl[.gz]`: `user_id`, `parent_asin`, `rating`, `timestamp` in **milliseconds** (read so by
  hyp1231/AmazonReviews2023, benchmark_scripts/kcore_filtering.py; there the time's older name `sortTimestamp`), and
  the same four as `Category.csv[.gz]`, with or without a header (written so by the same file, `write_rating_only`; these
  files hold the *earliest* of duplicated pairs only, see benchmark_scripts/README.md there);
* 2023 metadata, `meta_Category.jsonl[.gz]`: `parent_asin`, `title`, `categories`, `store`, `features`, `description`
  (hyp1231/AmazonReviews2023, seq_rec_results/dataset/process_amazon_2023.py, `clean_metadata`);
* 2018 reviews, `Category.json.gz`: `reviewerID`, `asin`, `overall`, `unixReviewTime` in seconds, and
  `Category.csv`: item, user, rating, time without header (zhengbw0324/LC-Rec, data_process/amazon18_data_process.py,
  `load_review_data` and `load_ratings`);
* 2018 metadata, `meta_Category.json.gz`: `asin`, `title`, `category` (a list in which everything from an entry with
  `</span>` on is page markup), `brand` (sometimes `by` and a line end before the name), `description` (the same file,
  `load_meta_items`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from recbole_ext.data.formats.reading import Batch, Malformed, Row, batched, lines
from recbole_ext.data.formats.text import Page


@dataclass(frozen=True)
class Amazon:
    """One generation of the files."""

    user: str
    item: str
    rating: str
    times: tuple[str, ...]
    """Names of the time, in the order in which they are looked for."""
    per_second: float
    """Units of the time in a second."""
    csv_columns: tuple[str, str, str, str]
    """Order of user, item, rating and time in the csv form, by their names here."""
    text: Mapping[str, tuple[str, ...]]
    """Our column -> their fields; the first that says anything is taken."""
    REVISION: int = 2

    def interactions(self, files: Mapping[str, Path]) -> Iterator[Batch]:
        """Role `reviews`: json lines, or csv by its name."""
        return batched(self._rows(files["reviews"]))

    def _rows(self, path: Path) -> Iterator[Row]:
        malformed = Malformed(path)
        read = self._csv if ".csv" in path.suffixes else self._json
        for number, line in lines(path):
            try:
                row = read(line)
            except (ValueError, KeyError, TypeError) as error:
                if number > 1 or read != self._csv:  # the first line of a csv may be its header
                    malformed.add(number, _why(error))
                continue
            yield row
        malformed.report()

    def items(self, files: Mapping[str, Path]) -> Iterator[dict[str, str]]:
        """Role `meta`; without one there is no text. A product that stands twice is taken as it stands first."""
        if "meta" not in files:
            return
        malformed, page = Malformed(files["meta"]), Page(files["meta"])
        seen: set[str] = set()
        for number, line in lines(files["meta"]):
            try:
                product = orjson.loads(line)
                item = product[self.item]
                if not isinstance(item, str) or not item:
                    raise ValueError(f"{self.item} is no text")
            except (ValueError, KeyError, TypeError) as error:
                malformed.add(number, _why(error))
                continue
            if item in seen:
                continue
            seen.add(item)
            product |= {
                name: _categories(product.get(name), page) for name in self.text["category"]
            }
            found = {
                column: next(filter(None, (clean(product.get(name), page) for name in names)), "")
                for column, names in self.text.items()
            }
            yield {"item_id": item, **found}
        malformed.report()
        page.report()

    def _json(self, line: bytes) -> Row:
        review = orjson.loads(line)
        time = next((review[name] for name in self.times if name in review), None)
        if time is None:
            raise KeyError(self.times[0])
        return self._row(review[self.user], review[self.item], review[self.rating], time)

    def _csv(self, line: bytes) -> Row:
        fields = line.decode("utf-8").split(",")
        if len(fields) != 4:
            raise ValueError(f"{len(fields)} fields instead of 4")
        by_name = dict(zip(self.csv_columns, fields, strict=True))
        return self._row(by_name["user"], by_name["item"], by_name["rating"], by_name["time"])

    def _row(self, user: Any, item: Any, rating: Any, time: Any) -> Row:
        if not (isinstance(user, str) and isinstance(item, str) and user and item):
            raise ValueError("no user or no item")
        return user, item, float(rating), float(time) / self.per_second


def clean(value: Any, page: Page) -> str:
    """What a field says, as a text of `page`: lists joined by commas, dictionaries as `key: value`."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(filter(None, (clean(entry, page) for entry in value)))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {clean(entry, page)}" for key, entry in value.items())
    text = page.text(str(value))
    return text.removeprefix("by ") if str(value).startswith("by\n") else text


def _categories(value: Any, page: Page) -> Any:
    """A list of categories up to the entry that is the page's markup."""
    if not isinstance(value, list):
        return value
    ends = (place for place, entry in enumerate(value) if "</span>" in str(entry))
    end = next(ends, len(value))
    if end < len(value):
        page.empty("entries of category lists from </span> on", str(value[end]), len(value) - end)
    return value[:end]


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return " ".join(str(error).split())[:80]


AMAZON_2023 = Amazon(
    user="user_id",
    item="parent_asin",
    rating="rating",
    times=("timestamp", "sortTimestamp", "sort_timestamp"),
    per_second=1000.0,
    csv_columns=("user", "item", "rating", "time"),
    text={
        "title": ("title",),
        "category": ("categories", "main_category"),
        "brand": ("store",),
        "description": ("description", "features"),
    },
)
AMAZON_2018 = Amazon(
    user="reviewerID",
    item="asin",
    rating="overall",
    times=("unixReviewTime",),
    per_second=1.0,
    csv_columns=("item", "user", "rating", "time"),
    text={
        "title": ("title",),
        "category": ("category", "main_cat"),
        "brand": ("brand",),
        "description": ("description", "feature"),
    },
)
