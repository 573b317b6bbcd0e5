"""The three rules by which an output names a title, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.lm.titles import named, quoted

TITLES = ["Red Ball", "Red Ball Set", "Kite, Big", 'The "Best" Kite', "Cat"]


@pytest.mark.parametrize(
    ("output", "exact", "substring", "llara"),
    [
        ('"Red Ball"', [0], [0], [0]),
        ('"red  BALL"', [0], [0], [0]),
        ('"Red Ball Set"', [1], [0, 1], []),  # the short title is inside the long one: a hit by accident, and two of LLaRA's
        ('"Kite, Big"', [2], [2], [2]),
        ('"The "Best" Kite"', [3], [3], [3]),  # first and last quote
        ('"Catalogue of Cats"', [], [4], [4]),
        ('"Red Ball", "Cat"', [], [0, 4], []),  # several titles: a substring each
        ('I recommend "Cat" to you', [4], [4], [4]),
        ("Kite, Big", [2], [2], [2]),  # no quotes: the whole line
        ('"Cat', [4], [4], [4]),
        ('"A dog"\n"Cat"', [], [], []),  # only the first line is read
        ('the Cat said "dog"', [], [], [4]),  # LLaRA's looks at the line, the others between quotes
        ('""', [], [], []),
        ("", [], [], []),
    ],
)  # fmt: skip
def test_an_output_is_read_by_each_rule(output, exact, substring, llara):
    found = named(output, TITLES)
    for right, wanted in ((found.exact, exact), (found.substring, substring), (found.llara, llara)):
        assert right.nonzero()[0].tolist() == wanted


def test_candidates_of_one_title_are_a_tie_and_no_answer_of_llaras():
    found = named('"Cat"', ["cat", "Dog", "Cat"])
    assert found.exact.tolist() == found.substring.tolist() == [True, False, True]
    assert not found.llara.any()


def test_an_empty_title_is_never_named():
    assert not any(rule.any() for rule in vars(named("", ["", " "])).values())


@given(st.text(st.sampled_from('ab", \u00e9'), max_size=12))
def test_a_title_in_quotes_is_read_as_itself(title):
    assert quoted(f'"{title}"') == " ".join(title.lower().split())
