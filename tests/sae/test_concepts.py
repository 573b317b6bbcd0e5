"""Concepts from files of tags and from item columns: what counts, what does not, and what is said of it."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.interactions import Interactions
from recbole_ext.sae.concepts import (
    OF_TAGS,
    Concepts,
    TagFile,
    Thresholds,
    concepts_of_columns,
)
from recbole_ext.sae.stop_list import KINDS, kind_of

ONE = Thresholds(1, 1)


def data(items=4, users=3, **columns) -> Interactions:
    """Users u0.. who all had item i0."""
    return Interactions(
        name="toy",
        user_tokens=[f"u{i}" for i in range(users)],
        item_tokens=[f"i{i}" for i in range(items)],
        user=np.arange(users),
        item=np.zeros(users, dtype=np.int64),
        time=None,
        time_is_order=False,
        part=None,
        item_columns=columns,
        dropped={},
    )


def written(folder, rows, head=("user_id", "item_id", "tag", "timestamp"), name="tags.tsv"):
    path, tab = folder / name, "\t" if ".tsv" in name else ","
    text = "\n".join(tab.join(map(str, row)) for row in (head, *rows)) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return TagFile(path)


def table(concepts: Concepts) -> dict[str, list[float]]:
    """Concept -> its count on each item."""
    dense = concepts.counts.toarray()
    return {name: dense[:, t].tolist() for t, name in enumerate(concepts.names)}


def test_each_application_counts_in_any_case_and_with_spaces_around(tmp_path):
    rows = [("u0", "i0", " Space Opera", 1), ("u1", "i0", "space opera ", 2), ("u0", "i0", "space opera", 3),
            ("u2", "i3", "SPACE OPERA", 4), ("u2", "i3", "dry", 5)]  # fmt: skip
    found = written(tmp_path, rows).read(data(), at_least=ONE)
    assert table(found) == {"dry": [0, 0, 0, 1], "space opera": [3, 0, 0, 1]}
    assert found.counts.dtype == np.float64 and len(found) == 2
    assert found.presence.toarray().tolist() == [[0, 1], [0, 0], [0, 0], [1, 1]]
    assert found.index(" Space opera") == 1


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.parquet"])
def test_every_form_of_table_says_the_same(tmp_path, name):
    rows = [("u0", 10, "dry", 1), ("u1", 10, "wet", 2), ("u1", 11, "wet", 2)]
    if name.endswith("parquet"):
        frame = pd.DataFrame(rows, columns=["user_id", "item_id", "tag", "timestamp"])
        frame.loc[3] = ["u0", 11, None, 4]
        frame.to_parquet(tmp_path / name)
        file = TagFile(tmp_path / name)
    else:
        file = written(tmp_path, rows, name=name)
    toy = data(2)
    toy.item_tokens[:] = ["10", "11"]
    assert table(file.read(toy, at_least=ONE)) == {"dry": [1, 0], "wet": [1, 1]}


def test_a_quote_in_a_tab_separated_file_is_a_letter(tmp_path):
    rows = [("u0", "i0", '"the end', 1), ("u1", "i1", "dry", 2), ("u1", "i2", 'a "b" c', 2)]
    found = written(tmp_path, rows).read(data(), at_least=ONE)
    assert found.names == ('"the end', 'a "b" c', "dry")
    quoted = [("u0", "i0", '"one, two"', 1), ("u1", "i1", "dry", 2)]
    found = written(tmp_path, quoted, name="t.csv").read(data(), at_least=ONE)
    assert found.names == ("dry", "one, two")


def test_both_thresholds_hold_for_what_is_left(tmp_path):
    rows = [("u0", f"i{i % 10}", "on ten", 1) for i in range(20)]
    rows += [("u0", f"i{i % 9}", "on nine", 1) for i in range(30)]
    rows += [("u0", f"i{i}", "nineteen times", 1) for i in range(19)]
    rows += [("u0", f"i{i + 30}", "elsewhere", 1) for i in range(40)]
    toy = data(items=25)
    assert written(tmp_path, rows).read(toy).names == ("on ten",)
    assert Thresholds(20, 10) == OF_TAGS


def test_what_is_on_other_items_or_empty_is_left_out_and_said(tmp_path, capsys):
    rows = [
        ("u0", "i0", "dry", 1),
        ("u0", "i9", "dry", 2),
        ("u1", "j", "wet", 3),
        ("u1", "i1", " ", 3),
    ]
    found = written(tmp_path, rows).read(data(), at_least=ONE)
    assert table(found) == {"dry": [1, 0, 0, 0]}
    assert "of 4 tags left out 3 on items that toy has not (or empty)" in capsys.readouterr().err


def test_users_that_are_not_trained_on_have_no_say_where_they_are_the_datas_own(tmp_path, capsys):
    rows = [("u0", "i0", "dry", 1), ("u1", "i0", "dry", 2), ("u2", "i1", "wet", 3)]
    file = written(tmp_path, rows)
    unseen = np.array([1, 2])
    assert table(file.read(data(), unseen, at_least=ONE)) == {"dry": [1, 0, 0, 0]}
    said = capsys.readouterr().err
    assert "2 of users that are not trained on; its users are those of toy: 0 of its 3" in said
    everyone = {"dry": [2, 0, 0, 0], "wet": [0, 1, 0, 0]}
    assert table(file.read(data(), None, at_least=ONE)) == everyone
    assert table(file.read(data(), unseen, own_users=False, at_least=ONE)) == everyone
    assert "its users are strangers" in capsys.readouterr().err


def test_users_of_whom_one_is_unknown_are_strangers_whatever_the_others_are_called(
    tmp_path, capsys
):
    rows = [("u0", "i0", "dry", 1), ("u1", "i0", "dry", 2), ("u7", "i1", "dry", 3)]
    file, unseen = written(tmp_path, rows), np.array([1])
    assert table(file.read(data(), unseen, at_least=ONE)) == {"dry": [2, 1, 0, 0]}
    said = capsys.readouterr().err
    assert (
        "strangers, who all count: 1 of its 3 users have names that toy has not; if its filters only"
        in said
    )
    # Said to be the data's own: u7 was filtered out of the data, is tested nowhere, and counts.
    assert table(file.read(data(), unseen, own_users=True, at_least=ONE)) == {"dry": [1, 1, 0, 0]}


def test_a_file_without_users_counts_whole(tmp_path, capsys):
    file = written(tmp_path, [("i0", "dry")], head=("item", "tag"), name="t.csv")
    assert table(file.read(data(), np.array([0]), at_least=ONE)) == {"dry": [1, 0, 0, 0]}
    assert "no users" in capsys.readouterr().err
    with pytest.raises(HarnessError, match="no column 'user'"):
        file.read(data(), own_users=True, at_least=ONE)


def refused(call, *parts):
    with pytest.raises(HarnessError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line, line


def test_what_is_wrong_with_a_file_is_one_line(tmp_path):
    file = written(tmp_path, [("u0", "i0", "dry")], head=("user_id", "item_id", "tga"))
    refused(lambda: file.read(data()), "--tags=", "no column 'tag'", "did you mean tga?")
    file = written(tmp_path, [("u0", "i9", "dry", 1)])
    refused(
        lambda: file.read(data()), "no tag is left", "items must be named as toy does, e.g. 'i0'"
    )
    file = written(tmp_path, [("u0", "i0", "dry", 1)])
    refused(
        lambda: file.read(data(), np.array([0])), "all its tags on items of toy are of users not"
    )
    rows = [("u0", "i0", "dry", 1)] * 7 + [("u0", "i1", "wet", 1)]
    file = written(tmp_path, rows)
    refused(
        lambda: file.read(data()),
        "none of 2 names is applied 20 times and on 10 items; the largest is 'dry', 7 times on 1 items",
    )
    rows = [("u0", f"i{i % 3}", "dvd", 1) for i in range(30)]
    file = written(tmp_path, rows)
    refused(lambda: file.read(data(), at_least=ONE), "the stop list aside", "'dvd', 30 times on 3")
    assert file.read(data(), at_least=ONE, stop=False).names == ("dvd",)


def test_a_concept_that_nobody_used_names_the_nearest():
    few = Concepts(("dry", "space opera"), sp.csr_matrix(np.ones((2, 2))))
    refused(lambda: few.index("spac opera"), "no concept 'spac opera', did you mean space opera?")
    refused(lambda: few.index("xyz"), "no concept 'xyz'; the 2 concepts are e.g. dry, space opera")


def test_the_concepts_of_some_items_keep_their_names():
    few = Concepts(("a", "b"), sp.csr_matrix(np.array([[1.0, 0], [0, 2], [3, 0]])))
    part = few.of_items(np.array([True, False, True]))
    assert part.names == few.names and part.counts.toarray().tolist() == [[1, 0], [3, 0]]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from(["a", "b", "C ", "dvd"])),
        min_size=1,
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_changes_nothing_and_counts_are_those_of_a_loop(
    tmp_path_factory, rows, rng
):
    folder = tmp_path_factory.mktemp("tags")
    events = [(f"u{u}", f"i{i}", tag, 1) for u, i, tag in rows]
    events.append(("u0", "i0", "z", 1))
    toy, unseen = data(users=4), np.array([3])
    expected: dict[str, list[float]] = {}
    for user, item, tag, _ in events:
        if tag != "dvd" and user != "u3" and item in toy.item_tokens:
            expected.setdefault(tag.strip().lower(), [0.0] * 4)[int(item[1])] += 1
    for _ in range(2):
        found = written(folder, events).read(toy, unseen, own_users=True, at_least=ONE)
        assert table(found) == expected and list(found.names) == sorted(expected)
        rng.shuffle(events)


def columns(**values):
    items = max(len(column) for column in values.values())
    return data(items, **values)


def test_a_token_sequence_is_words_and_an_item_has_each_once():
    found = concepts_of_columns(
        columns(genre=["Drama Sci-Fi", "drama Drama", "", "(no genres listed)"]), at_least=ONE
    )
    assert table(found) == {"drama": [1, 1, 0, 0], "sci-fi": [1, 0, 0, 0]}


def test_levels_of_a_path_are_concepts_without_the_root_that_all_have():
    paths = ["Toys > Games, all > Card Games", "Toys > Dolls", "Toys > Toys > Dolls", ""]
    found = concepts_of_columns(columns(categories=paths), at_least=ONE)
    assert table(found) == {
        "card games": [1, 0, 0, 0],
        "dolls": [0, 1, 1, 0],
        "games, all": [1, 0, 0, 0],
        "toys": [0, 0, 1, 0],
    }
    two = ["Toys > Dolls", "Sports > Balls", "Toys > Games|Sports > Games"]
    assert concepts_of_columns(columns(category=two), at_least=ONE).names == (
        "balls", "dolls", "games", "sports", "toys",
    )  # fmt: skip
    # One stray item in a hundred is no second root.
    many = ["Toys > Dolls"] * 99 + ["Food > Cake"]
    assert table(concepts_of_columns(columns(category=many), at_least=ONE)) == {
        "cake": [0] * 99 + [1],
        "dolls": [1] * 99 + [0],
        "food": [0] * 99 + [1],
    }


def test_commas_and_pipes_separate_where_a_column_has_them():
    found = concepts_of_columns(
        columns(tags=["slow, odd end", "Odd End", "x y, slow,"]), at_least=ONE
    )
    assert table(found) == {"odd end": [1, 1, 0], "slow": [1, 0, 1], "x y": [0, 0, 1]}
    found = concepts_of_columns(columns(Genres=["A, b|c", "c"]), at_least=ONE)
    assert table(found) == {"a, b": [1, 0], "c": [1, 1]}
    # One comma in a hundred values is part of a word.
    found = concepts_of_columns(columns(genre=["war film"] * 99 + ["film, war"]), at_least=ONE)
    assert found.names == ("film", "film,", "war")


def test_several_columns_are_one_list_and_some_can_be_named():
    toy = columns(genre=["war", "love"], tags=["war, mud", "own, war"], title=["a", "b"])
    assert table(concepts_of_columns(toy, at_least=ONE)) == {
        "love": [0, 1], "mud": [1, 0], "war": [1, 1],
    }  # fmt: skip
    assert concepts_of_columns(toy, ["title"], ONE).names == ("a", "b")
    assert concepts_of_columns(toy, ["tags"], ONE, stop=False).names == ("mud", "own", "war")


def test_the_stop_list_is_for_peoples_words_and_not_for_a_shops():
    toy = columns(category=["dvd", "vhs"], tags=["dvd", "wet"])
    assert concepts_of_columns(toy, at_least=ONE).names == ("dvd", "vhs", "wet")


def test_ten_items_make_a_concept_of_a_column():
    toy = columns(genre=["war"] * 10 + ["love"] * 9)
    assert concepts_of_columns(toy).names == ("war",)


def test_what_is_wrong_with_columns_is_one_line():
    refused(
        lambda: concepts_of_columns(columns(title=["a"])),
        "toy has no concepts: none of the item columns", "(it has title)", "--tags=FILE",
    )  # fmt: skip
    refused(lambda: concepts_of_columns(data()), "(it has none)")
    toy = columns(genre=["war", "war"])
    refused(
        lambda: concepts_of_columns(toy, ["gener"]), "no item column 'gener', did you mean genre?"
    )
    refused(
        lambda: concepts_of_columns(toy),
        "toy, item column genre: none of 1 names",
        "'war', 2 times on 2",
    )
    refused(lambda: concepts_of_columns(columns(tags=["", "dvd"])), "no item has a concept")


STOPPED = {
    "somebody's": ["zoe's dvds", "big zoe's vhs", "zoe’s movies", "boss' films", "my movies", "my list",
                   "zoe's to see again", "our collection"],
    "medium": ["dvd", "dvds", "dvd-r", "hd-dvd", "bluray", "blu-ray", "bd-r", "vhs", "divx2", "on dvd", "on my computer"],
    "owned": ["owned", "own", "i own", "own it", "bought", "don't own", "not owned"],
    "wish": ["to watch", "to see", "to-see", "want to see", "want to see again", "watchlist", "wish list", "need to buy",
             "in zoe queue", "rewatch", "want"],
    "seen": ["seen", "seen it", "seen 1999", "seen twice", "seen more than once", "seen at the cinema", "watched",
             "not seen", "unseen", "unwatched", "can't remember"],
    "service": ["netflix", "netflixq", "zoe netflix", "tivo", "smallville library", "not smallville lib"],
    "rating": ["3", "4.5", "10", "4/5", "5 stars", "three stars", "favorite", "favourites"],
}  # fmt: skip
KEPT = [
    "classic", "007", "300", "9/11", "11.22.63", "1980s", "ownership", "unseen forces", "seen through a child's eyes",
    "children's films", "women's movies", "a man's list", "library", "must see", "fun to watch", "want ads", "dvd extras",
    "video game", "based on a book", "boring", "overrated", "silent movie", "movie", "buy-out", "star wars", "road to own",
    "get rich quick", "tv", "i don't get it", "watchmen", "queen",
]  # fmt: skip


def test_every_kind_of_the_stop_list_takes_its_own_and_no_concept():
    assert STOPPED.keys() == KINDS.keys()
    found = {
        kind: [name for name in names if kind_of(name) != kind] for kind, names in STOPPED.items()
    }
    assert found == {kind: [] for kind in STOPPED}
    assert [name for name in KEPT if kind_of(name)] == []


def test_what_the_stop_list_takes_is_said_by_kind(tmp_path, capsys):
    rows = [("u0", "i0", tag, 1) for tag in ("zoe's dvds", "dvd", "vhs", "wet")]
    rows += [("u0", "i0", "seen", 1)] * 3
    found = written(tmp_path, rows).read(data(), at_least=ONE)
    assert found.names == ("wet",)
    said = capsys.readouterr().err
    assert "the stop list takes 4 of 5 concepts (2 medium, 1 seen, 1 somebody's)" in said
