"""RecBole's models are trained in one pass over their weights, to what RecBole's own trainer makes of them."""

from __future__ import annotations

import pytest
import torch

from recbole_ext import recbole_compat
from tests.problems import built_on_tiny


@pytest.mark.parametrize("learner", ["adam", "sgd"])
def test_weights_are_those_of_recboles_trainer(learner, tiny_path, tmp_path):
    from recbole.trainer import Trainer

    weights = []
    for ours in (True, False):
        _, (model, bench) = built_on_tiny(
            tiny_path, tmp_path, "LightGCN", learner=learner, epochs=2, learning_rate=0.01
        )
        before = model.user_embedding.weight.detach().clone()
        if ours:
            trainer = recbole_compat.make_trainer(bench, model, None)
            assert bool(trainer.optimizer.param_groups[0].get("fused")) == (learner == "adam")
            trainer.run_through(bench.train_loader)
        else:
            trainer = Trainer(bench.config, model)
            assert not trainer.optimizer.param_groups[0].get("fused")
            trainer.fit(bench.train_loader, valid_data=None, verbose=False, saved=False)
        assert not torch.equal(before, model.user_embedding.weight)
        weights.append(model.user_embedding.weight.detach())
    # A few dozen steps of 0.01, each to seven digits
    torch.testing.assert_close(*weights, rtol=0, atol=1e-5)
