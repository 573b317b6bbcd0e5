"""AlphaRec and the graph models beside it: losses against loops, draws against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_ext.core.contrastive import among, info_nce, picked_scores
from recbole_ext.core.errors import HarnessError
from recbole_ext.model.graph import Bipartite
from recbole_ext.model.unisrec import Experts
from recbole_ext.pipeline.training import Training
from tests.conftest import write_tiny
from tests.problems import make_experiment, pairs_of, random_mask, train


def build(tiny_path, tmp_path, model="AlphaRec", **given):
    experiment = make_experiment(
        model, "tiny", tiny_path, **({"encoder": "hash:16"} if model == "AlphaRec" else {}), **given
    )
    return Training(experiment, experiment.embeddings(), tmp_path).build(experiment.settings.params)


# Losses, against loops in float64: 1e-8 is a hundred thousand units in the last place of sums of some ten terms


def test_info_nce_is_the_papers_sum():
    rng = np.random.default_rng(3)
    positive, negative, tau = rng.uniform(-1, 1, 6), rng.uniform(-1, 1, (6, 5)), 0.15
    total = 0.0
    for p, row in zip(positive, negative, strict=True):
        top = math.exp(p / tau)
        total -= math.log(top / (top + sum(math.exp(n / tau) for n in row)))
    found = info_nce(torch.from_numpy(positive), torch.from_numpy(negative), tau)
    assert found.item() == pytest.approx(total / 6, abs=1e-8)


def test_among_two_views_it_is_info_nce_with_the_rest_of_the_batch():
    rng = np.random.default_rng(4)
    one, two, tau = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), 0.2
    unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (one, two)]
    total = 0.0
    for a in range(5):
        cosines = [sum(unit[0][a] * unit[1][b]) / tau for b in range(5)]
        total -= math.log(math.exp(cosines[a]) / sum(map(math.exp, cosines)))
    found = among(torch.from_numpy(one), torch.from_numpy(two), tau)
    assert found.item() == pytest.approx(total / 5, abs=1e-8)


@pytest.mark.parametrize("count", [1, 6, 12])
def test_scores_of_the_negatives_and_their_gradients_are_those_of_an_index(count):
    # 6 among 5 items: one is there twice. 12: more than all 7 items.
    torch.manual_seed(0)
    picked = torch.randint(0, 5, (4, count))
    weights = torch.randn(4, count, dtype=torch.float64)
    found = []
    for scored in (picked_scores, lambda u, i, p: (u[:, None] * i[p]).sum(2)):
        users = torch.arange(20.0, dtype=torch.float64).view(4, 5).requires_grad_()
        items = torch.linspace(-1, 1, 35, dtype=torch.float64).view(7, 5).requires_grad_()
        scores = scored(users, items, picked)
        (scores.square() * weights).sum().backward()
        found.append((scores, users.grad, items.grad))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def loss_by_loops(model, users, items, negatives):
    """Eqs. 1 to 4 (or BPR) in float64, neighbour by neighbour."""
    with torch.no_grad():
        starts = [v.double().numpy() for v in (model.map(model.text),)]
    item0 = starts[0]
    n_users, n_items = model.n_users, model.n_items
    have = [[] for _ in range(n_users)]
    had = [[] for _ in range(n_items)]
    for user, item in zip(*model.pairs, strict=True):
        have[user].append(item)
        had[item].append(user)
    user0 = np.zeros((n_users, item0.shape[1]))
    for user, mine in enumerate(have):
        if mine:
            user0[user] = sum(item0[i] for i in mine) / len(mine)
    layers = [(user0, item0)]
    for _ in range(model.n_layers):
        up, ip = layers[-1]
        u, i = np.zeros_like(up), np.zeros_like(ip)
        for user, mine in enumerate(have):
            for item in mine:
                weight = 1 / math.sqrt(len(mine) * len(had[item]))
                u[user] += weight * ip[item]
                i[item] += weight * up[user]
        layers.append((u, i))
    u, i = (sum(layer[side] for layer in layers) / len(layers) for side in (0, 1))
    total = 0.0
    for user, item, others in zip(users, items, negatives, strict=True):

        def s(j, user=user):
            return float(u[user] @ i[j] / np.linalg.norm(u[user]) / np.linalg.norm(i[j]))

        if model.loss == "bpr":
            total += math.log1p(math.exp((s(others[0]) - s(item)) / model.tau))
            continue
        top = math.exp(s(item) / model.tau)
        total -= math.log(top / (top + sum(math.exp(s(j) / model.tau) for j in others)))
    return total / len(users)


@pytest.mark.parametrize("loss", ["infonce", "bpr"])
@pytest.mark.parametrize("n_layers", [0, 2])
@pytest.mark.parametrize("mapping", ["mlp", "linear"])
def test_alpharecs_loss_is_the_papers(loss, n_layers, mapping, tiny_path, tmp_path, monkeypatch):
    model, bench = build(
        tiny_path, tmp_path, loss=loss, n_layers=n_layers, mapping=mapping,
        embedding_size=5, num_neg=4, pos_sampling="interaction",
    )  # fmt: skip
    model = model.double()
    for part in ("by_user", "by_item", "users_share", "users_root", "items_root"):
        setattr(model.graph, part, getattr(model.graph, part).double())
    # The weights of neighbours were rounded to float32 when they were made: here they are what they stand for.
    counts = bench.dataset.inter_matrix(form="csr")
    per_user, per_item = (np.asarray(counts.sum(axis)).ravel() for axis in (1, 0))
    for name, n, power in (
        ("users_share", per_user, -1),
        ("users_root", per_user, -0.5),
        ("items_root", per_item, -0.5),
    ):
        exact = np.where(n > 0, np.maximum(n, 1.0) ** power, 0.0)
        setattr(model.graph, name, torch.from_numpy(exact)[:, None])
    model.pairs = counts.nonzero()
    users, items = (torch.from_numpy(side[:20].astype(np.int64)) for side in model.pairs)
    drawn = []
    draw = model.negatives
    monkeypatch.setattr(model, "negatives", lambda u, c: drawn.append(draw(u, c)) or drawn[-1])
    batch = Interaction({model.USER_ID: users, model.ITEM_ID: items})
    found = model.calculate_loss(batch).item()
    wanted = loss_by_loops(model, users.numpy(), items.numpy(), drawn[0].numpy())
    assert found == pytest.approx(wanted, abs=1e-8)


def in_batch_by_loops(model, users, items):
    """-log( e^{s(u,i)/τ} / Σ_{j of the batch} e^{s(u,j)/τ} ) + w |θ|², pair by pair in float64."""
    with torch.no_grad():
        u, i = (side.double().numpy() for side in model())

    def s(user, item):
        return float(u[user] @ i[item] / np.linalg.norm(u[user]) / np.linalg.norm(i[item]))

    total = 0.0
    for user, item in zip(users, items, strict=True):
        every = sum(math.exp(s(user, other) / model.tau) for other in items)
        total -= math.log(math.exp(s(user, item) / model.tau) / every)
    squares = sum(float(x) ** 2 for p in model.parameters() for x in p.detach().reshape(-1))
    return total / len(users) + model.reg_weight * squares


@pytest.mark.parametrize("unit_scores", ["true", "false"])
def test_in_batch_the_others_of_the_batch_are_the_negatives(unit_scores, tiny_path, tmp_path):
    model, _ = build(
        tiny_path, tmp_path, neg_mode="in_batch", reg_weight=0.01, unit_scores=unit_scores,
        user_init="mean_before", embedding_size=5, tau=0.3, pos_sampling="interaction",
    )  # fmt: skip
    assert not hasattr(model, "negatives")
    users, items = [1, 2, 3, 1, 5], [4, 5, 6, 4, 7]  # a pair that is there twice
    batch = Interaction({model.USER_ID: torch.tensor(users), model.ITEM_ID: torch.tensor(items)})
    # float32 cosines over τ = .3 are off by about 1e-6
    found = model.calculate_loss(batch).item()
    assert found == pytest.approx(in_batch_by_loops(model, users, items), abs=1e-5)
    lengths = model()[1][1:].norm(dim=1)
    assert bool(((lengths - 1).abs() < 1e-5).all()) == (unit_scores == "true")


def test_sampled_negatives_are_contrasted_by_cosines_whatever_the_scores_are(tiny_path, tmp_path):
    found = []
    for unit_scores in ("true", "false"):
        model, _ = build(tiny_path, tmp_path, unit_scores=unit_scores, embedding_size=5, num_neg=4)
        users, items = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])
        torch.manual_seed(3)
        batch = Interaction({model.USER_ID: users, model.ITEM_ID: items})
        found.append(model.calculate_loss(batch).item())
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_in_batch_is_not_of_bpr(tiny_path, tmp_path):
    with pytest.raises(HarnessError, match="--neg_mode=in_batch is of --loss=infonce"):
        build(tiny_path, tmp_path, neg_mode="in_batch", loss="bpr")
    with pytest.raises(HarnessError, match="neg_mode=in_bach must be sampled or in_batch"):
        build(tiny_path, tmp_path, neg_mode="in_bach")


# Propagation


def test_a_bipartite_graph_is_its_dense_matrices():
    mask = random_mask(1)
    mask[3] = False  # a user without items
    users, items = pairs_of(mask)
    mask[:, 0] = False
    graph = Bipartite(users, items, *mask.shape)
    r = torch.from_numpy(mask.astype(np.float32))
    du, di = (n.clamp(min=1) ** -0.5 * (n > 0) for n in (r.sum(1), r.sum(0)))
    s = du[:, None] * r * di
    torch.manual_seed(0)
    u0, i0 = (
        torch.randn(mask.shape[0], 3, requires_grad=True),
        torch.randn(mask.shape[1], 3, requires_grad=True),
    )
    wanted_u = (u0 + s @ i0 + s @ s.T @ u0) / 3
    wanted_i = (i0 + s.T @ u0 + s.T @ s @ i0) / 3
    found = graph.convolve(u0, i0, 2)
    # float32 sums of at most nine terms of size one
    torch.testing.assert_close(found, (wanted_u, wanted_i), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(graph.mean(i0), r @ i0 / r.sum(1, keepdim=True).clamp(min=1))
    weights = [torch.randn_like(part) for part in found]
    grads = [
        torch.autograd.grad(
            sum((a * w).sum() for a, w in zip(parts, weights, strict=True)), (u0, i0)
        )
        for parts in (graph.convolve(u0, i0, 2), (wanted_u, wanted_i))
    ]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-6)


def test_propagation_is_that_of_recboles_lightgcn(tiny_path, tmp_path):
    theirs, _ = build(tiny_path, tmp_path, "LightGCN", n_layers=3, embedding_size=8)
    ours, _ = build(tiny_path, tmp_path, n_layers=3, embedding_size=8)
    users, items = theirs.user_embedding.weight, theirs.item_embedding.weight
    found = ours.graph.convolve(users, items, 3)
    for one, two in zip(found, theirs.forward(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_a_linear_mapping_and_the_users_mean_change_places(tiny_path, tmp_path):
    found = []
    for user_init in ("mean_after", "mean_before"):
        model, _ = build(tiny_path, tmp_path, mapping="linear", user_init=user_init)
        found.append(model())
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)
    different = [
        build(tiny_path, tmp_path, user_init=way)[0]()[0] for way in ("mean_after", "mean_before")
    ]
    assert (different[0] - different[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["AlphaRec", "UniSRec"])
def test_users_are_the_map_of_their_mean_text_also_where_they_have_no_items(name, tiny_path, tmp_path):  # fmt: skip
    model, _ = build(tiny_path, tmp_path, name, user_init="mean_before")
    model.eval()  # UniSRec's noise
    users, items = model.start()
    torch.testing.assert_close(items, model.map(model.text), rtol=0, atol=1e-6)
    torch.testing.assert_close(users, model.map(model.graph.mean(model.text)), rtol=0, atol=1e-6)
    assert (model.graph.mean(model.text)[0] == 0).all()  # padding


# The model


def test_shuffled_text_is_the_same_text_elsewhere(tiny_path, tmp_path):
    plain, mixed = (
        build(tiny_path, tmp_path, shuffle_text=way)[0].text for way in ("false", "true")
    )
    assert (mixed[0] == 0).all() and not torch.equal(plain, mixed)
    assert sorted(map(tuple, plain.tolist())) == sorted(map(tuple, mixed.tolist()))
    assert torch.equal(mixed, build(tiny_path, tmp_path, shuffle_text="true")[0].text)


def test_scores_are_of_the_weights_that_are_loaded(tiny_path, tmp_path):
    experiment = make_experiment(
        "AlphaRec", "tiny", tiny_path, encoder="hash:16", epochs=15, eval_step=5
    )
    model = train(experiment, tmp_path).model
    batch = Interaction({model.USER_ID: torch.tensor([1, 2]), model.ITEM_ID: torch.tensor([3, 4])})
    users, items = model()
    wanted = users[[1, 2]] @ items.T
    torch.testing.assert_close(model.full_sort_predict(batch).view(2, -1), wanted)
    torch.testing.assert_close(model.predict(batch), wanted[[0, 1], [3, 4]])
    assert wanted.abs().max() <= 1 + 1e-6


def test_learning_reads_the_text(tmp_path):
    """Two tastes, told apart by a colour in the title: text that was permuted among the items says nothing of them."""
    path = write_tiny(tmp_path, users=300, items=60)
    values = []
    for shuffled in ("false", "true"):
        experiment = make_experiment(
            "AlphaRec", "tiny", path, encoder="hash:64", epochs=20, eval_step=10, n_layers=0, mapping="linear",
            shuffle_text=shuffled, valid_metric="recall@5", learning_rate=0.01,
        )  # fmt: skip
        values.append(train(experiment, tmp_path).value)
    assert values[0] > values[1] + 0.05


def test_mixed_precision_learns_what_full_precision_does(tiny_path, tmp_path):
    found = []
    for half in ("false", "true"):
        experiment = make_experiment(
            "AlphaRec", "tiny", tiny_path, encoder="hash:16", epochs=5, num_neg=8, enable_amp=half
        )
        model = train(experiment, tmp_path).model
        assert all(p.dtype == torch.float32 for p in model.parameters())
        found.append(model()[1])
    # bfloat16 has eight bits: cosines agree to about 1e-2.
    assert 0 < (found[0] - found[1]).abs().max() < 0.05


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss": "infonc"}, "loss=infonc must be infonce or bpr, did you mean infonce?"),
        ({"mapping": "mpl"}, "mapping=mpl must be mlp or linear, did you mean mlp?"),
        ({"user_init": "mean"}, "user_init=mean must be mean_after or mean_before"),
    ],
)  # fmt: skip
def test_a_mistyped_switch_is_one_line(given, said, tiny_path, tmp_path):
    with pytest.raises(HarnessError, match=said.replace("?", r"\?")):
        build(tiny_path, tmp_path, **given)


def test_experts_are_a_mixture_of_whitenings():
    torch.manual_seed(0)
    experts = Experts(wide=4, size=3, n_experts=2, dropout=0.0).double().eval()
    torch.nn.init.normal_(experts.shift)
    text = torch.randn(5, 4, dtype=torch.float64)
    for row, x in zip(experts(text), text, strict=True):
        gates = (experts.gate.weight @ x).softmax(0)
        wanted = sum(
            gates[g] * ((x - experts.shift[:, g, 0]) @ experts.weight[:, g]) for g in range(2)
        )
        torch.testing.assert_close(row, wanted, rtol=0, atol=1e-12)
    assert not torch.equal(experts.train()(text), experts(text))  # the gates' noise


# SimGCL and XSimGCL


def batch_of(model):
    return Interaction(
        {
            model.USER_ID: torch.tensor([1, 2, 3, 1]),
            model.ITEM_ID: torch.tensor([4, 5, 6, 7]),
            model.NEG_ITEM_ID: torch.tensor([8, 9, 10, 11]),
        }
    )


@pytest.mark.parametrize("name", ["SimGCL", "XSimGCL"])
def test_without_noise_and_contrast_what_is_left_is_bpr_on_layers_one_to_k(
    name, tiny_path, tmp_path
):
    model, _ = build(tiny_path, tmp_path, name, eps=0, cl_weight=0, n_layers=2, reg_weight=0.01)
    adjacency = model.norm_adj_matrix.by_rows.to_dense()
    ego = model.get_ego_embeddings()
    final = (adjacency @ ego + adjacency @ adjacency @ ego) / 2
    users, items = final[: model.n_users], final[model.n_users :]
    wanted, squares = 0.0, [0.0, 0.0, 0.0]
    tables = ego[: model.n_users], ego[model.n_users :]
    for user, item, other in zip([1, 2, 3, 1], [4, 5, 6, 7], [8, 9, 10, 11], strict=True):
        gap = (users[user] @ items[item] - users[user] @ items[other]).item()
        wanted -= math.log(1e-10 + 1 / (1 + math.exp(-gap))) / 4
        for place, row in enumerate((tables[0][user], tables[1][item], tables[1][other])):
            squares[place] += row.square().sum().item()
    wanted += 0.01 * sum(math.sqrt(square) for square in squares) / 4
    assert model.calculate_loss(batch_of(model)).item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", ["SimGCL", "XSimGCL"])
def test_the_contrast_adds_what_its_weight_says_and_every_parameter_learns(
    name, tiny_path, tmp_path
):
    model, _ = build(tiny_path, tmp_path, name, cl_weight=0.5)
    losses = []
    for weight in (0.0, 0.5, 1.0):
        model.cl_weight = weight
        torch.manual_seed(5)
        losses.append(model.calculate_loss(batch_of(model)))
    assert losses[1].item() - losses[0].item() == pytest.approx(
        losses[2].item() - losses[1].item(), rel=1e-4
    )
    losses[2].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_noise_has_the_length_eps_and_keeps_the_sign(tiny_path, tmp_path):
    model, _ = build(tiny_path, tmp_path, "SimGCL", n_layers=1)
    clean = model.product(model.get_ego_embeddings())
    noisy = model.layers(clean, 0.3)[0]
    shift = noisy - clean
    moved = clean.abs().sum(1) > 0  # the padding has no neighbours
    torch.testing.assert_close(shift[moved].norm(dim=1), torch.full((int(moved.sum()),), 0.3))
    assert (shift * clean >= 0).all() and (shift[~moved] == 0).all()


def test_the_contrasted_layer_must_be_there(tiny_path, tmp_path):
    with pytest.raises(HarnessError, match="cl_layer=3 must be from 1 to n_layers=2"):
        build(tiny_path, tmp_path, "XSimGCL", cl_layer=3)
    with pytest.raises(HarnessError, match="n_layers=0: must be a whole number from 1"):
        build(tiny_path, tmp_path, "SimGCL", n_layers=0)
