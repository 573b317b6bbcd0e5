"""RLMRec: both forms' losses against loops over nodes, and what is dropped and masked against what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.sparse import by_rows
from recbole_ext.model.graph import Thinned
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment

CON = {"kd_weight": 0.5, "kd_tau": 0.3}
GEN = {"re_weight": 0.5, "re_tau": 0.3, "mask_ratio": 0.2}
SMALL = {"encoder": "hash:16", "embedding_size": 5, "n_layers": 2, "reg_weight": 0.01, "threads": 1}


def build(tiny_path, tmp_path, name, **given):
    experiment = make_experiment(name, "tiny", tiny_path, **{**SMALL, **given})
    return Training(experiment, experiment.embeddings(), tmp_path).build(experiment.settings.params)


def in_float64(tiny_path, tmp_path, name, **given):
    """A model whose weights are double, and whose graph is a dense matrix in double, made of its pairs."""
    model, bench = build(tiny_path, tmp_path, name, **given)
    model = model.double()
    model.norm_adj_matrix = adjacency(model, bench).to_sparse_csr()
    model.norm_adj_matrix.by_rows = model.norm_adj_matrix
    return model, bench


def adjacency(model, bench):
    """[n_nodes, n_nodes] D^-½ A D^-½, in float64, edge by edge."""
    pairs = list(zip(*bench.dataset.inter_matrix(form="csr").nonzero(), strict=True))
    degree = [0] * (model.n_users + model.n_items)
    for user, item in pairs:
        degree[user] += 1
        degree[model.n_users + item] += 1
    found = torch.zeros(len(degree), len(degree), dtype=torch.float64)
    for user, item in pairs:
        other = model.n_users + item
        found[user, other] = found[other, user] = 1 / math.sqrt(degree[user] * degree[other])
    return found


def batch_of(model):
    return Interaction(
        {
            model.USER_ID: torch.tensor([1, 2, 3, 1]),
            model.ITEM_ID: torch.tensor([4, 5, 6, 4]),
            model.NEG_ITEM_ID: torch.tensor([8, 9, 10, 11]),
        }
    )


BATCH = list(zip([1, 2, 3, 1], [4, 5, 6, 4], [8, 9, 10, 11], strict=True))


def ell(a, b, others, tau):
    """-cos(a, b)/τ + log Σ e^(cos(a, c)/τ), term by term."""

    def cos(x, y):
        return float(x @ y) / math.sqrt(float(x @ x)) / math.sqrt(float(y @ y))

    return -cos(a, b) / tau + math.log(sum(math.exp(cos(a, c) / tau) for c in others))


def final_by_loops(model, start, matrix, noises=None, eps=0.0):
    """Σ over layers 0..K, neighbour by neighbour; noise as given."""
    layer, total = start.copy(), start.copy()
    for k in range(model.n_layers):
        following = np.zeros_like(layer)
        for node, neighbour in zip(*np.nonzero(matrix), strict=True):
            following[node] += matrix[node, neighbour] * layer[neighbour]
        if noises is not None:
            for node, drawn in enumerate(noises[k]):
                following[node] += eps * np.sign(following[node]) * drawn / np.linalg.norm(drawn)
        layer = following
        total += layer
    return total


def ranked_by_loops(model, final):
    users, items = final[: model.n_users], final[model.n_users :]
    total = sum(math.log1p(math.exp(float(users[u] @ (items[j] - items[i])))) for u, i, j in BATCH)
    squares = sum(float(x) ** 2 for p in model.parameters() for x in p.detach().reshape(-1))
    return total / len(BATCH) + 0.01 * squares


def contrast_by_loops(model, one, two):
    n, total = model.n_users, 0.0
    for u, i, _ in BATCH:
        total += ell(one[u], two[u], two[1:n], model.tau)
        total += ell(one[n + i], two[n + i], two[n + 1 :], model.tau)
    return total / len(BATCH)


def text_adds_con(model, final):
    n, said, total = model.n_users, model.map(model.text).detach().numpy(), 0.0
    for u, i, j in BATCH:
        total += ell(final[u], said[u], said[1:n], model.kd_tau)
        total += ell(final[n + i], said[n + i], [said[n + x] for _, x, _ in BATCH], model.kd_tau)
        total += ell(final[n + j], said[n + j], [said[n + x] for _, _, x in BATCH], model.kd_tau)
    return 0.5 * total / len(BATCH)


def text_adds_gen(model, final, hidden):
    made = model.map(torch.from_numpy(final)).detach().numpy()
    said = model.text.numpy()
    total = sum(ell(made[v], said[v], [said[w] for w in hidden], model.re_tau) for v in hidden)
    return 0.5 * total / len(hidden)


# 1e-8: sums of some thousand terms of size one in float64 agree to about 1e-12, and lengths are compared without their 1e-12.
@pytest.mark.parametrize("backbone", ["lightgcn", "simgcl"])
@pytest.mark.parametrize(("name", "given"), [("RLMRecCon", CON), ("RLMRecGen", GEN)])
def test_the_loss_is_that_of_loops_over_nodes(
    name, given, backbone, tiny_path, tmp_path, monkeypatch
):
    model, bench = in_float64(
        tiny_path, tmp_path, name, **given, backbone=backbone, edge_drop=0.3, cl_weight=0.4, eps=0.2
    )
    if name == "RLMRecGen":  # one that starts at 0 would hide a wrong sign
        torch.nn.init.normal_(model.blank)
    noises, rand_like = [], torch.rand_like
    monkeypatch.setattr(torch, "rand_like", lambda x: noises.append(rand_like(x)) or noises[-1])
    hidden, masks = [], getattr(model, "masked", None)
    if masks:
        monkeypatch.setattr(model, "masked", lambda: hidden.append(masks()) or hidden[-1])
    torch.manual_seed(4)
    matrix = adjacency(model, bench).numpy()
    if backbone == "lightgcn":
        kept = []
        draw = Thinned.draw

        def drawn(self, share):
            times = draw(self, share)
            kept.append(times(torch.eye(len(matrix), dtype=torch.float64)).numpy())
            return times

        monkeypatch.setattr(Thinned, "draw", drawn)
    found = model.calculate_loss(batch_of(model)).item()
    if backbone == "lightgcn":
        assert 0 < (kept[0] == 0)[matrix != 0].mean() < 1
        matrix = kept[0]
    start = model.get_ego_embeddings().detach().numpy().copy()
    if masks:
        start[hidden[0].numpy()] = model.blank.detach().numpy()
    final = final_by_loops(model, start, matrix)
    wanted = ranked_by_loops(model, final)
    if backbone == "simgcl":
        drawn = [noise.numpy() for noise in noises]
        views = [
            final_by_loops(model, start, matrix, drawn[2 * v : 2 * v + 2], 0.2) for v in (0, 1)
        ]
        wanted += 0.4 * contrast_by_loops(model, *views)
    wanted += (
        text_adds_gen(model, final, hidden[0].tolist()) if masks else text_adds_con(model, final)
    )
    assert found == pytest.approx(wanted, abs=1e-8)


@pytest.mark.parametrize("backbone", ["lightgcn", "simgcl"])
@pytest.mark.parametrize(("name", "given"), [("RLMRecCon", CON), ("RLMRecGen", GEN)])
def test_every_parameter_learns_and_scores_are_of_the_sum_of_layers(
    name, given, backbone, tiny_path, tmp_path
):
    model, bench = build(tiny_path, tmp_path, name, **given, backbone=backbone)
    model.calculate_loss(batch_of(model)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    matrix, start = adjacency(model, bench).float(), model.get_ego_embeddings()
    final = start + matrix @ start + matrix @ (matrix @ start)
    users, items = final[: model.n_users], final[model.n_users :]
    scores = model.full_sort_predict(batch_of(model)).view(4, -1)
    # float32 sums of some ten terms of size one
    torch.testing.assert_close(scores, users[[1, 2, 3, 1]] @ items.T, rtol=1e-4, atol=1e-5)


def test_gradients_of_a_thinned_product_are_those_of_its_dense_matrix():
    torch.manual_seed(0)
    dense = torch.rand(6, 6, dtype=torch.float64) * (torch.rand(6, 6) < 0.6)
    dense = torch.triu(dense, 1) + torch.triu(dense, 1).T
    import scipy.sparse as sp

    times = Thinned(by_rows(sp.csr_matrix(dense.numpy()), torch.float64)).draw(0.4)
    kept = times(torch.eye(6, dtype=torch.float64))
    assert ((kept == dense) | (kept == 0)).all() and (kept != kept.T).any()
    x = torch.rand(6, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(6, 3, dtype=torch.float64)
    (times(x) * weights).sum().backward()
    torch.testing.assert_close(x.grad, kept.T @ weights)


def test_masked_nodes_are_the_share_asked_for_and_never_padding(tiny_path, tmp_path):
    model, _ = build(tiny_path, tmp_path, "RLMRecGen", mask_ratio=1.0)
    nodes = set(model.masked().tolist())
    assert nodes == set(range(1, model.n_users + model.n_items)) - {model.n_users}
    model.mask_ratio = 0.25
    assert len(set(model.masked().tolist())) == len(nodes) // 4
    model.mask_ratio = 1e-9
    assert len(model.masked()) == 1


def test_a_users_text_is_the_mean_of_its_training_items(tiny_path, tmp_path):
    model, bench = build(tiny_path, tmp_path, "RLMRecCon")
    rows = bench.dataset.inter_matrix(form="csr")
    for user in (1, 5, 9):
        mine = [bench.dataset.item_vectors[i] for i in rows[user].indices]
        torch.testing.assert_close(model.text[user], sum(mine) / len(mine))
    torch.testing.assert_close(model.text[model.n_users :], bench.dataset.item_vectors)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("RLMRecCon", {"backbone": "sgl"}, "backbone=sgl must be simgcl or lightgcn"),
        ("RLMRecCon", {"kd_tau": 0}, "kd_tau=0.0: must be a number above 0"),
        ("RLMRecGen", {"mask_ratio": 1.5}, "mask_ratio=1.5: must be a number above 0 to 1"),
        ("RLMRecGen", {"n_layers": 0}, "n_layers=0: must be a whole number from 1"),
    ],
)
def test_a_value_that_cannot_be_is_one_line(name, given, said, tiny_path, tmp_path):
    with pytest.raises(HarnessError, match=said):
        build(tiny_path, tmp_path, name, **given)
