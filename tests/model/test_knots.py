"""ELSA, MultVAE and the coder between their halves: formulas by loops, shared stages, unit rows, and what a scale does to a ranking."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat import folded_in, measures
from recbole_ext.testing.model_contract import scores_of
from tests.problems import make_experiment

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = {"split": "users", "protocols": "full", "ks": "5", "embedding_size": 8, "epochs": 4}
CODED = {**SHORT, "sae_epochs": 4, "k": 4}


def fit(name, tiny_path, folder, **given):
    experiment = make_experiment(name, "tiny", tiny_path, **given)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True, parents=True)
    training = Training(experiment, None, scratch, folder)
    return experiment, training.fit(experiment.settings.params, name)


def profile_of(experiment, user):
    """[n_items] what a user is scored from."""
    problem = experiment.problem
    users, items = problem.split.pairs(problem.data, *problem.seen_at_validation)
    x = np.zeros(len(problem.data.item_tokens))
    x[items[users == user]] = 1
    return x


@pytest.mark.parametrize("relu", [True, False])
def test_elsa_scores_and_loss_are_the_papers_number_by_number(relu, tiny_path, tmp_path):
    experiment, fitted = fit("ELSA", tiny_path, tmp_path, **SHORT, relu=relu)
    users = np.arange(40)
    scores = scores_of(experiment, fitted, users)
    a = fitted.model.items.detach().double().numpy()
    losses = []
    for user in users:
        x = profile_of(experiment, user)
        made = np.zeros(len(x))
        for i in range(len(x)):
            made[i] = sum(x[j] * float(a[j] @ a[i]) for j in range(len(x))) - x[i]
        made = np.maximum(made, 0) if relu else made
        # float32 sums of some twenty products of size 1.
        np.testing.assert_allclose(scores[user].numpy(), made, atol=2e-5)
        gap = made / np.linalg.norm(made) - x / np.linalg.norm(x)
        losses.append((gap**2).sum())
    x = torch.tensor(np.array([profile_of(experiment, user) for user in users])).float()
    assert fitted.model.loss(x).item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("name", ["ELSA", "KnotsELSA"])
def test_rows_stay_of_length_1_and_move(name, tiny_path, tmp_path):
    given = CODED if name == "KnotsELSA" else SHORT
    _, fitted = fit(name, tiny_path, tmp_path, **given)
    _, start = fit(name, tiny_path, tmp_path / "short", **{**given, "epochs": 1})
    found = [(fitted.model.items, start.model.items)]
    if name == "KnotsELSA":
        found.append((fitted.model.sae.decoder, start.model.sae.decoder))
    for rows, others in found:
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))
        assert not torch.allclose(rows, others, atol=1e-4)


def test_a_step_moves_no_row_along_itself(tiny_path, tmp_path):
    """One step of plain size: what Adam is given is orthogonal to each row."""
    from recbole_ext.trainer.training import _along_the_sphere

    _, fitted = fit("ELSA", tiny_path, tmp_path, **SHORT)
    model = fitted.model
    model.items.requires_grad_(True)
    x = model.dense(model.interactions, model.trained_users)
    model.loss(x).backward()
    before = model.items.grad.clone()
    _along_the_sphere([model.items])
    radial = (model.items.grad * model.items.detach()).sum(1)
    torch.testing.assert_close(radial, torch.zeros_like(radial), atol=1e-6, rtol=0)
    assert float((before * model.items.detach()).sum(1).abs().max()) > 1e-4


def test_multvae_loss_is_a_likelihood_over_items_and_a_divergence_over_dimensions(
    tiny_path, tmp_path, monkeypatch
):
    _, fitted = fit("MultVAE", tiny_path, tmp_path, **SHORT, annealing=0.1)
    model = fitted.model
    # All weights come from the best epoch, and so does the number of steps that β follows.
    assert int(model.steps) == fitted.epochs * -(-len(model.trained_users) // 1024) > 0
    monkeypatch.setattr(functional, "dropout", lambda x, p: x * 0.5)
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.full_like(x, 0.3))
    x = model.dense(model.interactions, model.trained_users[:3])
    mean, log_variance = (t.detach().double() for t in model.encoder(x * 0.5).chunk(2, dim=1))
    z = mean + 0.3 * (log_variance / 2).exp()
    whole, stopping = 0.0, 0.0
    for row in range(3):
        divergence = sum(
            -0.5 * (1 + float(s) - float(m) ** 2 - np.exp(float(s)))
            for m, s in zip(mean[row], log_variance[row], strict=True)
        )
        beta = min(1.0, 0.1 * (int(model.steps) + 1))
        whole += beta * divergence / 8 - likelihood(model, z[row], x[row])
        stopping -= likelihood(model, model.encode(x)[row].detach().double(), x[row])
    # float32 sums of thirty terms.
    assert model.loss(x).item() == pytest.approx(stopping / 3, rel=1e-5)
    assert model.training_loss(x).item() == pytest.approx(whole / 3, rel=1e-5)


def likelihood(model, z, x):
    logits = model.decoder(z.float()).detach().double()
    denominator = sum(float(v.exp()) for v in logits)
    total = sum(float(x[i]) * (float(logits[i]) - np.log(denominator)) for i in range(len(x)))
    return total / len(x)


@pytest.mark.parametrize("cfae", ["ELSA", "MultVAE"])
def test_the_model_below_is_trained_once_and_is_what_remains_without_a_coder(
    cfae, tiny_path, tmp_path, capsys
):
    experiment, alone = fit(cfae, tiny_path, tmp_path, **SHORT)
    capsys.readouterr()
    _, coded = fit(f"Knots{cfae}", tiny_path, tmp_path, **CODED)
    told = capsys.readouterr().err
    assert "'cfae': trained before" in told and "'sae': trains" in told
    for name, value in alone.model.state_dict().items():
        assert torch.equal(coded.model.state_dict()[name], value)
    other, bare = fit(f"Knots{cfae}", tiny_path, tmp_path, **CODED, sae="none")
    users = np.arange(40)
    plain = scores_of(experiment, alone, users)
    assert torch.equal(scores_of(other, bare, users), plain)
    assert not torch.allclose(scores_of(other, coded, users), plain, atol=1e-3)


def test_stages_differ_where_their_own_keys_do(tiny_path, tmp_path, capsys):
    def told(**given):
        fit("KnotsELSA", tiny_path, tmp_path, **{**CODED, **given})
        err = capsys.readouterr().err
        return "'cfae': trained before" in err, "'sae': trained before" in err

    assert told() == (False, False)
    assert told() == (True, True)
    assert told(rescale=True) == (True, True)  # only of scoring
    assert told(k=3) == (True, False)
    assert told(sae_target="standardised") == (True, False)
    assert told(relu=False) == (False, False)


def order_of(scores, histories):
    return np.argsort(np.where(histories, -np.inf, scores), axis=1, kind="stable")


def test_the_scale_of_what_the_coder_makes_moves_multvae_and_not_elsa(tiny_path, tmp_path):
    users = np.arange(40)
    for cfae, moved in (("ELSA", False), ("MultVAE", True)):
        lists = []
        for rescale in (False, True):
            # Without the ReLU, whose zeros are ties.
            given = {**CODED, "rescale": rescale} | ({"relu": False} if cfae == "ELSA" else {})
            experiment, fitted = fit(f"Knots{cfae}", tiny_path, tmp_path, **given)
            seen = np.array([profile_of(experiment, user) for user in users]) > 0
            lists.append(order_of(scores_of(experiment, fitted, users).numpy(), seen))
        assert (not np.array_equal(*lists)) == moved


def test_an_empty_row_is_scored(tiny_path, tmp_path):
    for cfae in ("ELSA", "MultVAE"):
        _, fitted = fit(f"Knots{cfae}", tiny_path, tmp_path, **CODED)
        model = fitted.model
        x = torch.zeros(1, model.n_items - 1)
        assert bool(model.decode(model.represent(x), x).isfinite().all())


def test_measures_count_every_neuron(tiny_path, tmp_path):
    experiment, fitted = fit("KnotsELSA", tiny_path, tmp_path, **CODED, width_ratio=20)
    found = measures(fitted.model, fitted.bench)
    model = folded_in(fitted.model, fitted.bench)
    problem = experiment.problem
    seen, _ = problem.split.pairs(problem.data, *problem.seen_at_validation)
    live, active, cosine, unseen = set(), 0, 0.0, 0
    rows = [(u, profile_of(experiment, u)) for u in range(40)]
    rows += [(None, row) for row in np.eye(model.n_items - 1)]
    trained = set((model.trained_users - 1).tolist())
    for user, row in rows:
        x = torch.tensor(row[None]).float()
        z = model.encode(x).detach()
        code = model.sae.code(z)[0].detach()[0]
        if user in trained or user is None:
            live |= set(np.flatnonzero(code.numpy() > 0).tolist())
        elif row.any():
            unseen += 1
            active += int((code > 0).sum())
            cosine += float(functional.cosine_similarity(z, model.sae(z)).detach())
    assert found["neurons"] == 160 and unseen == len(set(seen.tolist()) - trained)
    assert found["live"] == len(live) < 160
    assert found["l0"] == pytest.approx(active / unseen)
    assert found["cosine"] == pytest.approx(cosine / unseen, rel=1e-5)


def test_sub_profiles_repeat_and_train_another_coder(tiny_path, tmp_path):
    one, two, whole = (
        fit("KnotsELSA", tiny_path, tmp_path / str(n), **CODED, augment=share)[1]
        for n, share in enumerate((0.5, 0.5, 0.0))
    )
    assert torch.equal(one.model.sae.encoder, two.model.sae.encoder)
    assert not torch.equal(one.model.sae.encoder, whole.model.sae.encoder)


def test_more_active_neurons_than_there_are_is_one_line(tiny_path, tmp_path):
    with pytest.raises(HarnessError, match=r"--k=33 of 32 neurons .* must not be above that"):
        fit("KnotsELSA", tiny_path, tmp_path, **{**CODED, "k": 33})
