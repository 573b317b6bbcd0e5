"""A protocol's name is taken apart once, into what everything else asks of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.protocols import KINDS, parsed, protocol_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "protocols.md"
NAMES = ("full", "uni19", "pop100", "expected@7", "recbole-uni100", "ctr")


def test_every_kind_has_a_name_that_says_it():
    found = [protocol_of(name) for name in NAMES]
    assert [p.kind for p in found] == list(KINDS)
    assert [p.m for p in found] == [None, 19, 100, 7, 100, None]
    assert [p.drawn for p in found] == [False, True, True, False, False, False]
    assert [p.corrects for p in found] == [False, True, False, False, False, False]
    assert [p.closed for p in found] == [False, False, False, True, False, False]
    assert [p.by_recbole for p in found] == [False, False, False, False, True, False]
    assert [p.labelled for p in found] == [False, False, False, False, False, True]
    assert [p.joint for p in found] == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    "name", ["", "uni", "uni0", "uni019", "full1", "ctr2", "uni-5", "expected19", "Uni5"]
)
def test_what_is_no_protocol_is_one_line_with_the_nearest(name):
    assert parsed(name) is None
    with pytest.raises(HarnessError, match=re.escape(f"protocol '{name}' is unknown (full, uniM")):
        protocol_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_protocol_is_explained_where_its_heading_leads(name):
    headings = re.findall(r"^#+ (.*)$", DOCS.read_text(), re.M)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert protocol_of(name).anchor in anchors
