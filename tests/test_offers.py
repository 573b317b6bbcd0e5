"""What a model offers: said by its row, asked for by nobody's name."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.registry import INTENTION, TRANSFER
from recbole_ext.registry.find import find_model, offering, require
from tests.problems import make_experiment


def test_what_a_model_lacks_is_one_line_with_those_that_have_it():
    require(find_model("AlphaRec"), INTENTION)
    with pytest.raises(HarnessError) as refused:
        require(find_model("EASE"), TRANSFER, "--train: ")
    assert str(refused.value) == (
        "--train: EASE has parameters of users or items, which no other dataset has; take AlphaRec or UniSRec"
    )


def test_a_row_of_another_package_offers_too(installed, monkeypatch):
    import recbole_ext_toys

    row = dataclasses.replace(recbole_ext_toys.TWO_STAGES, offers=(INTENTION,))
    monkeypatch.setattr(recbole_ext_toys, "TWO_STAGES", row)
    assert offering(INTENTION) == ["AlphaRec", "UniSRec", "TwoStages"]
    assert offering(TRANSFER) == ["AlphaRec", "UniSRec"]


def test_a_broken_package_is_no_part_of_another_models_line(installed, monkeypatch):
    monkeypatch.setitem(sys.modules, "recbole_ext_toys", None)
    assert offering(INTENTION) == ["AlphaRec", "UniSRec"]


def test_a_model_with_parameters_of_items_is_not_trained_elsewhere(tiny_path):
    from recbole_ext.data.union import Union
    from recbole_ext.pipeline.prepare import prepare

    target = make_experiment("EASE", "tiny", tiny_path)
    other = make_experiment("EASE", "ml-100k")
    sources = Union.of([other.problem], target.problem)
    with pytest.raises(HarnessError, match="--train: EASE has parameters of users or items"):
        prepare(target.model, target.settings, target.problem, sources=sources)
