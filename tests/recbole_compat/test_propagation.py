"""RecBole's SGL with graphs by rows and its contrast in blocks is what it is without; LightGCN's graph is held to RecBole's by `tests/model/test_parity.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.recbole_compat.propagation import SymmetricMatrix
from tests.problems import built_on_tiny


@pytest.mark.parametrize("kind", ["ED", "ND", "RW"])
def test_losses_gradients_and_scores_are_recboles(kind, tiny_path, tmp_path):
    """The same draws: one model by rows, the other given back what its own class makes."""
    found = []
    for ours in (True, False):
        _, (model, bench) = built_on_tiny(tiny_path, tmp_path, "SGL", type=kind)
        if not ours:
            theirs = type(model)(bench.config, bench.dataset)
            theirs.load_state_dict(model.state_dict())
            model = theirs
        else:
            assert isinstance(model.train_graph, SymmetricMatrix)
        torch.manual_seed(0)
        np.random.seed(0)
        model.train()
        batch = next(iter(bench.train_loader))
        loss = model.calculate_loss(batch)
        loss.backward()
        grads = [p.grad for p in model.parameters()]
        assert all(grad.abs().sum() > 0 for grad in grads)
        with torch.no_grad():
            scores = model.full_sort_predict(batch)
        found.append([loss.detach(), scores, *grads])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
