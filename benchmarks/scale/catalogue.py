"""A generated catalogue of any size, as a folder of a dataset and a file of text vectors, written a piece at a time.

    python -m benchmarks.scale.catalogue --items=100000 --output=DIR
    python run_bench.py --model=L3AE --dataset=scale-100000 --data-path=DIR --encoder=file:DIR/scale-100000/vectors.parquet

What is planted: every item is of one topic, and its text says which, but for noise. A user has a few topics and takes most
of its items from them, in proportion to the items' popularity within the topic, tempered, and the others from the whole
catalogue by popularity. Popularity knows nothing of a user, co-occurrence only of items that were often taken, and text
of every item: that is what tells the unpopular ones apart. Neither clicks nor text know what the other does.

Numbers are drawn by chunks of users, each with a generator of its own: equal for any machine and any memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_USERS, _ROWS = 1 << 15, 1 << 14
"""Users, and vectors, made at a time."""
_ITEMS, _WHO, _TOPICS, _TEXT = range(4)
"""Streams of the generator."""


@dataclass(frozen=True)
class Catalogue:
    """All that the files depend on."""

    items: int
    users_per_item: float = 2.0
    interactions_per_item: float = 50.0
    seed: int = 2026
    popularity: float = 0.9
    """a: the r-th most popular item has a weight of (r + shift)⁻ᵃ."""
    popularity_shift: float = 20.0
    activity: float = 1.8
    """Of the Pareto law of a user's interactions ..."""
    activity_span: float = 60.0
    """.. which is cut off at this many times its least."""
    items_per_topic: int = 250
    topic_sizes: float = 0.5
    """Exponent of the topics' sizes by rank."""
    topics_per_user: int = 3
    topic_shares: tuple[float, ...] = (0.6, 0.25, 0.15)
    """Of a user's topics in what it takes from them."""
    loyal: float = 0.75
    """Share of a user's items that come from its topics."""
    tempered: float = 0.6
    """Power of an item's weight within its topic: below 1 the unpopular ones are taken more often than by popularity."""
    width: int = 384
    groups: int = 40
    """Topics lie around this many centres: neighbouring ones are told apart less easily."""
    topic_noise: float = 0.6
    """Length of what a topic adds to its centre, of length 1 .."""
    text_noise: float = 1.2
    """.. and of what is an item's own."""

    @property
    def name(self) -> str:
        return f"scale-{self.items}"

    @property
    def users(self) -> int:
        return round(self.users_per_item * self.items)

    def generator(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.items, *stream])

    def topics(self) -> Ints:
        """[n] the topic of each item, ascending: items are numbered by topic, and tokens shuffled."""
        count = max(self.groups, self.items // self.items_per_topic)
        sizes = np.arange(1, count + 1) ** -self.topic_sizes
        edges = np.cumsum(sizes) / sizes.sum() * self.items
        return np.searchsorted(edges, np.arange(self.items) + 0.5)

    def weights(self) -> npt.NDArray[np.float64]:
        """[n] popularity, the same in every topic but for chance."""
        rank = self.generator(_ITEMS, 0).permutation(self.items)
        weights: npt.NDArray[np.float64] = (rank + self.popularity_shift) ** -self.popularity
        return weights

    def tokens(self) -> Ints:
        """[n] the number in each item's token."""
        return self.generator(_ITEMS, 1).permutation(self.items)

    def interactions(self) -> Iterator[tuple[Ints, Ints]]:
        """(users [P], items [P]) of a chunk of users, pairs distinct."""
        topic, weights = self.topics(), self.weights()
        first = np.searchsorted(topic, np.arange(topic[-1] + 2))
        everywhere = np.append(0.0, np.cumsum(weights))
        inside = np.append(0.0, np.cumsum(weights**self.tempered))
        of_topic = np.diff(inside[first]) / inside[-1]
        least = self._least_activity()
        shares = np.cumsum(self.topic_shares)[:-1]
        for chunk, begin in enumerate(range(0, self.users, _USERS)):
            users = np.arange(begin, min(begin + _USERS, self.users))
            of = self.generator(_WHO, chunk)
            wanted = self._activity(of, len(users), least)
            chosen = of.choice(len(of_topic), (len(users), self.topics_per_user), p=of_topic)
            # Half as many again, as some are drawn twice.
            drawn = wanted + wanted // 2 + 4
            row = np.repeat(np.arange(len(users)), drawn)
            which = np.searchsorted(shares, of.random(len(row)), side="right")
            at = chosen[row, which]
            low, high = inside[first[at]], inside[first[at + 1]]
            u = of.random(len(row))
            item = np.searchsorted(inside, low + u * (high - low), side="right") - 1
            item = np.clip(item, first[at], first[at + 1] - 1)  # rounding at an edge
            stray = of.random(len(row)) >= self.loyal
            found = np.searchsorted(everywhere, u[stray] * everywhere[-1], side="right") - 1
            item[stray] = np.minimum(found, self.items - 1)
            yield self._distinct(users, row, item, wanted)

    def vectors(self) -> Iterator[npt.NDArray[np.float16]]:
        """Text vectors of unit length, [B, d] at a time, in the order of the items."""
        of, topic = self.generator(_TOPICS), self.topics()
        centres = _unit(of, self.groups, self.width)
        own = _unit(of, int(topic[-1]) + 1, self.width)
        group = of.integers(self.groups, size=len(own))
        meant = centres[group] + np.float32(self.topic_noise) * own
        for chunk, begin in enumerate(range(0, self.items, _ROWS)):
            here = topic[begin : begin + _ROWS]
            noise = _unit(self.generator(_TEXT, chunk), len(here), self.width)
            text = meant[here] + np.float32(self.text_noise) * noise
            yield (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float16)

    def _activity(self, of: np.random.Generator, users: int, least: float) -> Ints:
        u = of.random(users)
        cut = self.activity_span**-self.activity
        return np.rint(least * (1 - u * (1 - cut)) ** (-1 / self.activity)).astype(np.int64)

    def _least_activity(self) -> float:
        """Of a user, so that the mean is what is asked for: that of a Pareto law between 1 and its span."""
        a, span = self.activity, self.activity_span
        mean = a / (a - 1) * (1 - span ** (1 - a)) / (1 - span**-a)
        return self.interactions_per_item / self.users_per_item / mean

    def _distinct(self, users: Ints, row: Ints, item: Ints, wanted: Ints) -> tuple[Ints, Ints]:
        """The first `wanted` different items of each user."""
        key = row * self.items + item
        _, seen = np.unique(key, return_index=True)
        seen.sort()
        row, item = row[seen], item[seen]
        place = np.arange(len(row)) - np.searchsorted(row, np.arange(len(users)))[row]
        kept = place < wanted[row]
        return users[row[kept]], item[kept]

    def write(self, output: Path) -> Path:
        """`output`/NAME with NAME.inter, vectors.parquet and catalogue.json; the folder."""
        folder = output / self.name
        folder.mkdir(parents=True, exist_ok=True)
        tokens, rows = self.tokens(), 0
        with (folder / f"{self.name}.inter").open("wb") as stream:
            stream.write(b"user_id:token\titem_id:token\n")
            for users, items in self.interactions():
                stream.write(_lines(users, tokens[items]))
                rows += len(users)
        self._write_vectors(folder / "vectors.parquet", tokens)
        told = {"users": self.users, "interactions": rows, **dataclasses.asdict(self)}
        (folder / "catalogue.json").write_text(json.dumps(told, indent=1) + "\n")
        return folder

    def _write_vectors(self, path: Path, tokens: Ints) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kind = pa.list_(pa.float16(), self.width)
        schema = pa.schema([("item", pa.string()), ("vector", kind)])
        with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
            begin = 0
            for rows in self.vectors():
                names = [f"i{token:07d}" for token in tokens[begin : begin + len(rows)]]
                flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), self.width)
                file.write_table(pa.table([pa.array(names), flat.cast(kind)], schema=schema))
                begin += len(rows)


def _unit(of: np.random.Generator, rows: int, width: int) -> npt.NDArray[np.float32]:
    found = of.standard_normal((rows, width), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _lines(users: Ints, items: Ints) -> bytes:
    """`u0000001<tab>i0000001<line end>` for each pair."""
    out = np.empty((len(users), 18), dtype=np.uint8)
    out[:, 0], out[:, 8], out[:, 9], out[:, 17] = b"u\ti\n"
    for place in range(7):
        power = 10 ** (6 - place)
        out[:, 1 + place] = users // power % 10 + ord("0")
        out[:, 10 + place] = items // power % 10 + ord("0")
    return out.tobytes()


def main(given: list[str] | None = None) -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    for field in dataclasses.fields(Catalogue):
        if field.type in ("int", "float"):
            kind: Any = {"int": int, "float": float}[str(field.type)]
            needed = field.default is dataclasses.MISSING
            parser.add_argument(
                f"--{field.name}",
                type=kind,
                required=needed,
                default=None if needed else field.default,
            )
    asked = vars(parser.parse_args(given))
    print(Catalogue(**{k: v for k, v in asked.items() if k != "output"}).write(asked["output"]))


if __name__ == "__main__":
    main()
