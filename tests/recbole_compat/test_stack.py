"""RecBole's models are found, and what their modules set when they are imported does not stay."""

from __future__ import annotations

import sys

import pytest
import torch

from recbole_ext.recbole_compat.stack import model_class, recbole


@pytest.mark.parametrize("enabled", [False, True])
def test_finding_a_model_leaves_autograd_as_it_was(enabled, monkeypatch):
    recbole()
    kind = "recbole.model.sequential_recommender"
    for module in [name for name in sys.modules if name.startswith(kind)]:
        monkeypatch.delitem(sys.modules, module)
    with torch.autograd.set_detect_anomaly(enabled):
        assert model_class("GRU4Rec").__name__ == "GRU4Rec"
        assert f"{kind}.sine" in sys.modules, "the one that turns it on is not imported any more"
        assert torch.is_anomaly_enabled() == enabled
