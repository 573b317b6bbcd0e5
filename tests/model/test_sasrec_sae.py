"""SASRec with a coder on its item table: shared training, what is put in the vectors' place, and what is said of the coder."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.model.sasrec_sae import _of_latents
from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat import score_function
from tests.model.test_sasrec import SMALL, slow_states
from tests.problems import make_experiment

pytestmark = pytest.mark.usefixtures("one_thread")

CODER = {"sae_dim": 12, "sae_k": 3, "sae_epochs": 4}


def fit(tiny_path, folder, name="SASRecSAE", **given):
    own = CODER if name == "SASRecSAE" else {}
    of = make_experiment(name, "tiny", tiny_path, **{**SMALL, **own, **given})
    fitted = Training(of, None, folder / "scratch", folder).fit(of.settings.params, name)
    return fitted, of


def scores_of(fitted, of):
    data = of.problem.data
    history = of.problem.split.pairs(data, *of.problem.seen_at_test)
    return score_function(fitted.model, fitted.bench, data, history)(np.arange(40))


def test_its_first_stage_is_sasrecs_and_only_the_coder_moves_in_the_second(
    tiny_path, tmp_path, capsys
):
    plain, _ = fit(tiny_path, tmp_path, "SASRec")
    capsys.readouterr()
    coded, of = fit(tiny_path, tmp_path)
    told = capsys.readouterr().err
    assert "'collaborative': trained before" in told and "stage 2 of 2 'sae': trains" in told
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, coded.model.state_dict()[name])
    start, _ = Training(of, None, tmp_path / "scratch").build(of.settings.params)
    assert not torch.equal(start.sae.encoder, coded.model.sae.encoder)
    stages = {json.loads(p.read_text())["stage"] for p in tmp_path.glob(".stages/*/stage.json")}
    assert stages == {"collaborative", "sae"}


def test_the_switch_says_where_what_the_coder_makes_stands(tiny_path, tmp_path):
    plain, of = fit(tiny_path, tmp_path, "SASRec")
    found = {
        coded: fit(tiny_path, tmp_path, coded=coded)[0] for coded in ("none", "candidates", "all")
    }
    scores = {coded: scores_of(fitted, of) for coded, fitted in found.items()}
    assert torch.equal(scores["none"], scores_of(plain, of))
    model = found["all"].model
    with torch.no_grad():
        table = model.rebuilt()
        assert not table[0].any()
        for item in (1, 7, 30):
            alone = model.sae(model.items.weight[item][None])[0]
            torch.testing.assert_close(table[item], alone, atol=1e-6, rtol=1e-5)
        states = plain.model.user_states([[3, 4, 5], [9]])
        torch.testing.assert_close(found["candidates"].model.user_states([[3, 4, 5], [9]]), states)
        read = model.user_states([[3, 4, 5]])[0]
        assert not torch.allclose(read, states[0])
        model.items.weight.copy_(table)  # a plain model of the same table reads the same
        model.coded = "none"
        torch.testing.assert_close(read.double(), slow_states(model, [3, 4, 5])[-1], atol=1e-5, rtol=1e-4)  # fmt: skip
    assert not torch.allclose(scores["candidates"], scores["none"])
    assert not torch.allclose(scores["candidates"], scores["all"])


def test_what_is_said_of_latents_is_a_loop_over_pairs():
    fires = np.random.default_rng(0).random((9, 6)) < 0.3
    fires[:, 2] = False
    live = [j for j in range(6) if fires[:, j].any()]
    overlaps = [
        (fires[:, a] & fires[:, b]).sum() / (fires[:, a] | fires[:, b]).sum()
        for a, b in itertools.permutations(live, 2)
    ]
    found = _of_latents(fires)
    assert found["live"] == pytest.approx(len(live) / 6)
    assert found["overlap"] == pytest.approx(np.mean(overlaps), abs=1e-6)
    assert _of_latents(fires[:, :1] | True) == {"live": 1.0, "overlap": 0.0}


def test_a_coder_with_more_latents_at_a_time_than_there_are_is_one_line(tiny_path, tmp_path):
    with pytest.raises(HarnessError, match="--sae_k=13 of --sae_dim=12 latents"):
        fit(tiny_path, tmp_path, sae_k=13)


def test_training_the_coder_lowers_its_error_and_ablations_are_stages_of_their_own(
    tiny_path, tmp_path
):
    errors = [fit(tiny_path, tmp_path, sae_epochs=n)[0].model.measures()["error"] for n in (1, 300)]
    assert errors[1] < 0.7 * errors[0]
    for switch in ({"sae_tied": "false"}, {"sae_standardise": "false"}, {"sae_beta": 0}):
        fit(tiny_path, tmp_path, **switch)
    named = [json.loads(p.read_text())["stage"] for p in tmp_path.glob(".stages/*/stage.json")]
    assert named.count("sae") == 5 and named.count("collaborative") == 1
