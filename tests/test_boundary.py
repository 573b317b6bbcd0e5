"""RecBole's exceptions are one line; those of our own code stay what they are."""

from __future__ import annotations

import sys

import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.model.pop import Pop
from recbole_ext.recbole_compat.boundary import by_recbole
from tests.problems import make_experiment, train


def test_what_recbole_raises_is_one_line_with_its_own_words(tiny_path, tmp_path):
    experiment = make_experiment("SASRec@recbole", "tiny", tiny_path, hidden_size=9, n_heads=2)
    with pytest.raises(HarnessError) as said:
        train(experiment, tmp_path)
    line = str(said.value)
    assert line.startswith(
        "SASRec@recbole on tiny: RecBole ends in ValueError: The hidden size (9) is not a"
    )
    assert "list SASRec@recbole)" in line and len(line.splitlines()) == 1
    assert isinstance(said.value.__cause__, ValueError)


def test_what_torch_raises_under_recbole_is_recboles():
    import torch
    from recbole.model.layers import MLPLayers

    with (
        pytest.raises(HarnessError, match="X on d: RecBole ends in RuntimeError"),
        by_recbole("X", "d"),
    ):
        MLPLayers([3, 2])(torch.zeros(1, 4))


def test_a_fault_of_ours_is_not_hidden(tiny_path, tmp_path, monkeypatch):
    def broken(self):
        raise KeyError("ours")

    monkeypatch.setattr(Pop, "solve", broken)
    with pytest.raises(KeyError, match="ours"), by_recbole("Pop", "tiny"):
        train(make_experiment("Pop", "tiny", tiny_path), tmp_path)


def test_a_fault_of_ours_below_recbole_is_not_hidden(tiny_path, tmp_path, monkeypatch):
    from recbole_ext.model import simgcl

    def broken(*_):
        raise RuntimeError("ours")

    monkeypatch.setattr(simgcl, "among", broken)
    with pytest.raises(RuntimeError, match="ours"):
        train(make_experiment("SimGCL", "tiny", tiny_path, epochs=1), tmp_path)


def test_what_a_model_prints_stays_off_standard_output(tiny_path, tmp_path, capsys):
    given = {"epochs": 1, "hidden_size": 8, "inner_size": 8, "MAX_ITEM_LIST_LENGTH": 5}
    train(make_experiment("FEARec", "tiny", tiny_path, **given), tmp_path)
    assert capsys.readouterr().out == ""
    with by_recbole("X", "d"):
        print("lost")
    print("kept", file=sys.stdout)
    assert capsys.readouterr().out == "kept\n"
