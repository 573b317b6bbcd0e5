from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.text import FIELDS, choose_fields, item_texts, texts_fingerprint


def test_the_template_of_the_paper() -> None:
    columns = {"d": ["soft"], "b": ["Acme"], "c": ["Toys"], "t": ["Bear"]}
    fields = {"Description": "d", "Brand": "b", "Category": "c", "Title": "t"}
    assert item_texts(columns, fields) == [
        "Title: Bear; Category: Toys; Brand: Acme; Description: soft"
    ]


def test_missing_and_blank_fields_are_dropped_with_their_label() -> None:
    columns: dict[str, list[object]] = {
        "title": ["A", "", None, "  ", "B"],
        "genre": ["x", "y", float("nan"), "\t\n", None],
    }
    fields = {"Title": "title", "Category": "genre"}
    assert item_texts(columns, fields) == [
        "Title: A; Category: x",
        "Category: y",
        "",
        "",
        "Title: B",
    ]


def test_whitespace_is_collapsed() -> None:
    assert item_texts({"t": [" a\n\tb  c "]}, {"Title": "t"}) == ["Title: a b c"]


def test_columns_of_public_datasets_are_found() -> None:
    assert choose_fields(["item_id", "movie_title", "release_year", "class"]) == {
        "Title": "movie_title",
        "Category": "class",
    }
    amazon = ["item_id", "title", "price", "sales_rank", "brand", "categories", "description"]
    assert list(choose_fields(amazon).items()) == [
        ("Title", "title"),
        ("Category", "categories"),
        ("Brand", "brand"),
        ("Description", "description"),
    ]
    assert choose_fields(["Genres", "Category"]) == {"Category": "Category"}


def test_named_columns_replace_the_search_and_keep_the_order_of_the_template() -> None:
    chosen = choose_fields(["title", "maker", "headline"], {"brand": "maker", "Title": "headline"})
    assert list(chosen.items()) == [("Title", "headline"), ("Brand", "maker")]


@pytest.mark.parametrize(
    ("columns", "wanted", "said"),
    [
        (
            ["movie_title", "year"],
            {"Title": "movie_titel"},
            ["movie_titel", "did you mean movie_t"],
        ),
        (["title"], {"Titel": "title"}, ["Titel", "did you mean Title", "Description"]),
        (["item_id", "year"], None, ["item_id, year", "movie_title", "name the text columns"]),
        ([], None, ["(none)", "name the text columns"]),
    ],
)
def test_error_lines(columns: list[str], wanted: dict[str, str] | None, said: list[str]) -> None:
    with pytest.raises(HarnessError) as caught:
        choose_fields(columns, wanted)
    assert "\n" not in str(caught.value)
    for words in said:
        assert words in str(caught.value)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError):
        item_texts({"a": ["1"], "b": ["1", "2"]}, {"Title": "a", "Brand": "b"})


def test_fingerprint_is_a_known_number() -> None:
    # Worked out by hand from the definition: 8 bytes of length, then UTF-8.
    import hashlib

    raw = b"\x02" + bytes(7) + "é".encode() + bytes(8)
    assert texts_fingerprint(["é", ""]) == hashlib.sha256(raw).hexdigest()


_TEXTS = st.lists(st.text(alphabet="a\x00\x01", max_size=4), max_size=4)


@given(_TEXTS, _TEXTS)
def test_only_equal_lists_have_equal_fingerprints(left: list[str], right: list[str]) -> None:
    assert (texts_fingerprint(left) == texts_fingerprint(right)) == (left == right)


def test_moving_a_boundary_changes_the_fingerprint() -> None:
    lists = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"]]
    assert len({texts_fingerprint(texts) for texts in lists}) == len(lists)


def test_no_column_serves_two_fields() -> None:
    names = [name for columns in FIELDS.values() for name in columns]
    assert len(names) == len(set(names))
    assert list(FIELDS) == ["Title", "Category", "Brand", "Description"]
