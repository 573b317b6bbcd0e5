"""A-LLMRec's matching: its losses against loops in double precision, what it is trained on, and what stays frozen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.model.matching import Matching
from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat import score_function
from tests.model.test_sasrec import SMALL
from tests.problems import make_experiment

pytestmark = pytest.mark.usefixtures("one_thread")

OWN = {"encoder": "hash:16", "match_dim": 6, "match_epochs": 3, "match_batch_size": 16}


def fit(tiny_path, folder, name="MatchedSASRec", **given):
    own = OWN if name == "MatchedSASRec" else {}
    of = make_experiment(name, "tiny", tiny_path, **{**SMALL, **own, **given})
    training = Training(of, of.embeddings(), folder / "scratch", folder)
    return training.fit(of.settings.params, name), of


def linear(layer, x):
    return [
        b + sum(w * v for w, v in zip(row, x, strict=True))
        for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def through(autoencoder, x):
    z = [1 / (1 + math.exp(-v)) for v in linear(autoencoder.encoder, x)]
    return z, linear(autoencoder.decoder, z)


def mean_square(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / len(a)


def test_the_losses_are_those_of_a_loop():
    torch.manual_seed(0)
    matching = Matching(5, 9, 4).double()
    states, p, q = (torch.randn(6, 5, dtype=torch.float64) for _ in range(3))
    tp, tq = (torch.randn(6, 9, dtype=torch.float64) for _ in range(2))
    parts = np.zeros(4)
    for row in range(6):
        for sign, x, text in ((1, p[row].tolist(), tp[row].tolist()), (-1, q[row].tolist(), tq[row].tolist())):  # fmt: skip
            z, r = through(matching.items, x)
            z_text, r_text = through(matching.text, text)
            logit = sum(a * b for a, b in zip(states[row].tolist(), r, strict=True)) / 5
            chance = 1 / (1 + math.exp(-logit))
            parts += [
                -math.log(chance if sign > 0 else 1 - chance) / 6,
                mean_square(z, z_text) / 6,
                mean_square(r, x) / 6,
                mean_square(r_text, text) / 6,
            ]
    with torch.no_grad():
        found = matching.loss(states, (p, q), (tp, tq))
    for mine, slow in zip((found.recommendation, found.matching, found.items, found.text), parts, strict=True):  # fmt: skip
        assert float(mine) == pytest.approx(slow, rel=1e-8)
    assert float(found.total(0.5, 0.2)) == pytest.approx(parts @ [1, 1, 0.5, 0.2], rel=1e-8)


def test_it_is_trained_on_last_places_and_items_that_the_user_has_not(tiny_path, tmp_path):
    of = make_experiment("MatchedSASRec", "tiny", tiny_path, **{**SMALL, **OWN})
    model, _ = Training(of, of.embeddings(), tmp_path).build(of.settings.params)
    model.eval()
    given = []
    model.matching.loss = lambda *args: given.append(args) or Matching.loss(model.matching, *args)
    batch = users, *_ = model.stages()[1].loader.batch(np.arange(11))
    model.matching_loss(batch)
    ((states, (positive, negative), (text, _)),) = given
    for row, user in enumerate(users.tolist()):
        mine = model.item[model.user == user].tolist()
        assert torch.equal(positive[row], model.items.weight[mine[-1]])
        assert torch.equal(text[row], model.text[mine[-1]])
        drawn = (model.items.weight == negative[row]).all(1).nonzero()[:, 0].tolist()
        assert len(drawn) == 1 and drawn[0] not in [0, *mine]
        with torch.no_grad():
            alone = model.user_states([mine[:-1]])[0]
        torch.testing.assert_close(states[row], alone, atol=1e-5, rtol=1e-4)
    assert not states.requires_grad and not positive.requires_grad


def test_sasrec_is_shared_with_a_run_without_text_and_nothing_but_the_matching_moves(
    tiny_path, tmp_path, capsys
):
    plain, of = fit(tiny_path, tmp_path, "SASRec")
    capsys.readouterr()
    matched, other = fit(tiny_path, tmp_path)
    told = capsys.readouterr().err
    assert "'collaborative': trained before" in told and "'matching': trains" in told
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, matched.model.state_dict()[name])
    start, _ = Training(other, other.embeddings(), tmp_path / "x").build(other.settings.params)
    for name, value in matched.model.state_dict().items():
        if name.startswith("matching."):
            assert not torch.equal(value, start.state_dict()[name]), name
    fit(tiny_path, tmp_path, encoder="hash:8")  # other text: the matching is another one
    named = [json.loads(p.read_text())["stage"] for p in tmp_path.glob(".stages/*/stage.json")]
    assert sorted(named) == ["collaborative", "matching", "matching"]
    table = fit(tiny_path, tmp_path, scored="table")[0]
    scores = [scores_of(fitted, e) for fitted, e in ((plain, of), (table, other), (matched, other))]
    assert torch.equal(scores[0], scores[1]) and not torch.allclose(scores[0], scores[2])
    with torch.no_grad():
        assert matched.model.item_latents.shape == (31, 6)
        z, r = matched.model.matching.items(matched.model.items.weight[7])
        torch.testing.assert_close(matched.model.item_latents[7], z)
        torch.testing.assert_close(matched.model.item_table[7], r)


def scores_of(fitted, of):
    data = of.problem.data
    history = of.problem.split.pairs(data, *of.problem.seen_at_test)
    return score_function(fitted.model, fitted.bench, data, history)(np.arange(40))


def test_training_it_lowers_each_part_of_its_loss(tiny_path, tmp_path):
    found = []
    for epochs in (1, 40):
        model = fit(tiny_path, tmp_path, match_epochs=epochs, match_learning_rate=0.01)[0].model
        users, seen, following = model.stages()[1].loader.batch(np.arange(40))
        torch.manual_seed(0)
        p, q = following[:, -1], model.negatives(users, 1)[:, 0]
        with torch.no_grad():
            table, text = model.items.weight, model.text
            loss = model.matching.loss(model.states(seen, 1)[:, 0], (table[p], table[q]), (text[p], text[q]))  # fmt: skip
        found.append([float(v) for v in (loss.recommendation, loss.items, loss.text)])
    assert all(after < before for before, after in zip(*found, strict=True))


def test_a_texts_vector_is_a_constant_where_it_is_put_together_again():
    torch.manual_seed(0)
    matching = Matching(5, 9, 4).double()
    states, p, q = (torch.randn(6, 5, dtype=torch.float64) for _ in range(3))
    texts = [torch.randn(6, 9, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    matching.loss(states, (p, q), (texts[0], texts[1])).text.backward()
    for text in texts:
        own = text.detach().clone().requires_grad_(True)
        (matching.text(own)[1] - text.detach()).square().mean().backward()
        torch.testing.assert_close(text.grad, own.grad)


def test_a_tuned_encoder_begins_as_the_frozen_one_and_moves_with_the_matching_only(
    tiny_path, tmp_path
):
    own = {"encoder": "minilm", "text_encoder": "finetuned", "match_epochs": 1}
    of = make_experiment("MatchedSASRec", "tiny", tiny_path, **{**SMALL, **OWN, **own})
    made = Training(of, of.embeddings(), tmp_path / "scratch", tmp_path)
    model, bench = made.build(of.settings.params)
    with torch.no_grad():
        found = model.eval().text_vectors(torch.tensor([3, 1, 17, 0]))
    wanted = bench.dataset.item_vectors[[3, 1, 17, 0]]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)  # batches of other lengths
    start = {name: value.clone() for name, value in model.state_dict().items()}
    fitted = made.fit(of.settings.params, "MatchedSASRec")
    state = fitted.model.state_dict()
    layers = [name for name in state if name.startswith("tuned.") and "layer:0" in name]
    assert layers and all(not torch.equal(state[name], start[name]) for name in layers)
    frozen, _ = fit(tiny_path, tmp_path, match_epochs=1)
    for name, value in frozen.model.state_dict().items():
        assert torch.equal(value, state[name]) != name.startswith("matching."), name
    stages = [json.loads(p.read_text()) for p in tmp_path.glob(".stages/*/stage.json")]
    assert sorted(one["stage"] for one in stages) == ["collaborative", "matching", "matching"]


def test_only_minilm_is_tuned(tiny_path, tmp_path):
    with pytest.raises(HarnessError, match="tunes MiniLM, not --encoder=hash:16"):
        fit(tiny_path, tmp_path, text_encoder="finetuned")
