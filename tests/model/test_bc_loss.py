"""BC loss: both phases and both margins against loops in float64, and what each of them trains."""

from __future__ import annotations

import math

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment

PAIRS = [(1, 4), (2, 5), (3, 6), (1, 4), (7, 9)]


def build(tiny_path, tmp_path, model="BCLoss", **given):
    given = {"embedding_size": 5, "reg_weight": 0.01, "threads": 1, **given}
    experiment = make_experiment(model, "tiny", tiny_path, **given)
    return Training(experiment, experiment.embeddings(), tmp_path).build(experiment.settings.params)


def batch_of(model):
    users, items = (torch.tensor(side) for side in zip(*PAIRS, strict=True))
    return Interaction(
        {model.USER_ID: users, model.ITEM_ID: items, model.NEG_ITEM_ID: items.flip(0)}
    )


def cos(x, y):
    return float(x @ y) / math.sqrt(float(x @ x)) / math.sqrt(float(y @ y))


def info_nce_by_loops(users, items, positive, tau):
    """The items of the other pairs are the negatives, whatever they are."""
    total = 0.0
    for place, user in enumerate(users):
        top = math.exp(positive[place] / tau)
        rest = sum(math.exp(cos(user, j) / tau) for k, j in enumerate(items) if k != place)
        total -= math.log(top / (top + rest))
    return total / len(users)


@pytest.mark.parametrize("margin", ["sigmoid", "angle"])
def test_the_loss_of_both_phases_is_that_of_loops(margin, tiny_path, tmp_path):
    model, bench = build(tiny_path, tmp_path, margin=margin, bc_weight=0.3, pop_epochs=1)
    model = model.double()
    model.norm_adj_matrix = model.norm_adj_matrix.by_rows.to_dense().double().to_sparse_csr()
    rows = bench.dataset.inter_matrix(form="csr")
    degrees = [sorted({int(d) for d in rows.getnnz(axis=axis)}) for axis in (1, 0)]
    assert [len(t.weight) for t in (model.user_pop, model.item_pop)] == [len(d) for d in degrees]
    pop = [
        [
            table.weight[known.index(int(rows.getnnz(axis=axis)[pair[side]]))].detach()
            for pair in PAIRS
        ]
        for side, (axis, table, known) in enumerate(
            zip((1, 0), (model.user_pop, model.item_pop), degrees, strict=True)
        )
    ]
    popular = 0.3 * info_nce_by_loops(*pop, [cos(a, b) for a, b in zip(*pop, strict=True)], 0.1)
    # 1e-8: sums of some hundred terms of size one in float64
    assert model.calculate_loss(batch_of(model)).item() == pytest.approx(popular, abs=1e-8)
    model.steps = model.warm_steps
    found = model.calculate_loss(batch_of(model)).item()
    with torch.no_grad():
        final = [table[[p[s] for p in PAIRS]] for s, table in enumerate(model())]
    positive = []
    for u, i, a, b in zip(*final, *pop, strict=True):
        theta = math.acos(cos(u, i))
        if margin == "sigmoid":
            shift = 1 - 1 / (1 + math.exp(-float(a @ b)))
        else:
            shift = min(math.acos(cos(a, b)), math.pi - theta)
        positive.append(math.cos(theta + shift))
    wanted = 0.7 * info_nce_by_loops(*final, positive, 0.07)
    tables = model.user_embedding.weight.detach(), model.item_embedding.weight.detach()
    ego = sum(
        float(t[n].square().sum()) for pair in PAIRS for t, n in zip(tables, pair, strict=True)
    )
    wanted += 0.01 * ego / 2 / len(PAIRS)
    assert found == pytest.approx(wanted, abs=1e-8)


def test_popularity_learns_first_and_is_frozen_then(tiny_path, tmp_path):
    model, bench = build(tiny_path, tmp_path, pop_epochs=2, train_batch_size=16)
    assert model.warm_steps == 2 * len(bench.train_loader)
    pop = {"user_pop.weight", "item_pop.weight"}
    for step, learns in (
        (0, pop),
        (model.warm_steps, {"user_embedding.weight", "item_embedding.weight"}),
    ):
        model.zero_grad()
        model.steps = step
        model.calculate_loss(batch_of(model)).backward()
        assert {n for n, p in model.named_parameters() if p.grad is not None} == learns


def test_with_bpr_it_is_recboles_lightgcn(tiny_path, tmp_path):
    ours, _ = build(tiny_path, tmp_path, loss="bpr", require_pow="false")
    theirs, _ = build(tiny_path, tmp_path, "LightGCN")
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert torch.equal(ours.calculate_loss(batch_of(ours)), theirs.calculate_loss(batch_of(theirs)))


def test_a_value_that_cannot_be_is_one_line(tiny_path, tmp_path):
    with pytest.raises(HarnessError, match="loss=infonce must be bc or bpr"):
        build(tiny_path, tmp_path, loss="infonce")
    with pytest.raises(HarnessError, match="margin=angel must be sigmoid or angle"):
        build(tiny_path, tmp_path, margin="angel")
