"""KAR: the adaptor against a loop over experts, and what it adds to each backbone."""

from __future__ import annotations

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_ext.core.errors import HarnessError
from recbole_ext.model.kar import HybridExperts
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment

SMALL = {"embedding_size": 5, "n_layers": 2, "eps": 0.0, "threads": 1}


def build(tiny_path, tmp_path, model="KAR", **given):
    text = {"encoder": "hash:16", "expert_hidden": 6} if model == "KAR" else {}
    experiment = make_experiment(model, "tiny", tiny_path, **{**SMALL, **text, **given})
    return Training(experiment, experiment.embeddings(), tmp_path).build(experiment.settings.params)


def batch_of(model):
    return Interaction(
        {
            model.USER_ID: torch.tensor([1, 2, 3, 1]),
            model.ITEM_ID: torch.tensor([4, 5, 6, 7]),
            model.NEG_ITEM_ID: torch.tensor([8, 9, 10, 11]),
        }
    )


@torch.no_grad()
@pytest.mark.parametrize("n_shared", [0, 2])
def test_a_view_is_a_gated_sum_of_shared_and_own_experts(n_shared):
    torch.manual_seed(0)
    adapt = HybridExperts(2, 4, 6, 3, n_shared=n_shared, n_own=3, dropout=0.0).double()
    text = torch.randn(5, 4, dtype=torch.float64)

    def layer(linear, x):
        return [max(0.0, float(w @ x + b)) for w, b in zip(linear.weight, linear.bias, strict=True)]

    for view in (0, 1):
        experts = [*adapt.shared, *adapt.own[view]]
        for row, x in zip(adapt(text, view), text, strict=True):
            logits = [
                float(w @ x + b)
                for w, b in zip(adapt.gates[view].weight, adapt.gates[view].bias, strict=True)
            ]
            gates = torch.tensor(logits, dtype=torch.float64).exp()
            gates /= gates.sum()
            wanted = torch.zeros(3, dtype=torch.float64)
            for gate, expert in zip(gates, experts, strict=True):
                inner = torch.tensor(layer(expert[0], x), dtype=torch.float64)
                wanted += gate * torch.tensor(layer(expert[3], inner), dtype=torch.float64)
            torch.testing.assert_close(row, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("backbone", "plain"), [("lightgcn", "LightGCN"), ("simgcl", "SimGCL"), ("xsimgcl", "XSimGCL")]
)
def test_it_is_the_backbone_on_id_vectors_with_what_is_said_added(
    backbone, plain, tiny_path, tmp_path
):
    """The L2 term is of id vectors alone: without it, the backbone with those sums for id vectors has the same loss and scores."""
    given = {"reg_weight": 0, "learning_rate": 0.01}
    without = {} if plain != "LightGCN" else {"eps": None}
    ours, _ = build(tiny_path, tmp_path, backbone=backbone, **given)
    other = {k: v for k, v in {**SMALL, **given, **without}.items() if v is not None}
    experiment = make_experiment(plain, "tiny", tiny_path, **other)
    theirs, _ = Training(experiment, None, tmp_path).build(experiment.settings.params)
    nodes = ours.get_ego_embeddings().detach()
    assert (nodes != torch.cat([ours.user_embedding.weight, ours.item_embedding.weight])).any()
    theirs.user_embedding.weight.data = nodes[: ours.n_users]
    theirs.item_embedding.weight.data = nodes[ours.n_users :]
    batch = batch_of(ours)
    torch.testing.assert_close(ours.calculate_loss(batch), theirs.calculate_loss(batch))
    torch.testing.assert_close(ours.full_sort_predict(batch), theirs.full_sort_predict(batch))


@pytest.mark.parametrize("backbone", ["lightgcn", "simgcl", "xsimgcl"])
def test_experts_and_gates_learn(backbone, tiny_path, tmp_path):
    model, _ = build(tiny_path, tmp_path, backbone=backbone, n_shared=1, n_own=2)
    model.calculate_loss(batch_of(model)).backward()
    learns = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    for part in (
        "user_embedding.",
        "item_embedding.",
        "adapt.shared.0.",
        "adapt.gates.0.",
        "adapt.gates.1.",
    ):
        assert any(name.startswith(part) for name in learns)
    for view in (0, 1):
        assert any(name.startswith(f"adapt.own.{view}.") for name in learns)


def test_a_value_that_cannot_be_is_one_line(tiny_path, tmp_path):
    with pytest.raises(HarnessError, match="backbone=din must be xsimgcl, simgcl or lightgcn"):
        build(tiny_path, tmp_path, backbone="din")
    with pytest.raises(HarnessError, match="n_own=0: must be a whole number from 1"):
        build(tiny_path, tmp_path, n_own=0)
