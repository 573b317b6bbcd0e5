"""The linear models by their sparse side: against a dense one, folded in, tuned, saved, chosen and refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_ext.core import memory
from recbole_ext.core.errors import HarnessError
from recbole_ext.model import linear_autoencoder
from recbole_ext.pipeline.checks import check_memory
from recbole_ext.pipeline.training import Training
from recbole_ext.trainer.checkpoint import save_weights
from tests.problems import make_experiment, train

TEXT = {"encoder": "hash:64", "semantic_norm": "l2"}
SIDED = {
    "EASE": {"reg_weight": 5},
    "L3AE": {**TEXT, "reg_x": 5, "reg_f": 2, "reg_kd": 3},
    "LLMCEASE": {**TEXT, "reg_weight": 5, "alpha": 2},
    "LLMAddEASE": {**TEXT, "reg_weight": 5, "reg_f": 2, "alpha": 0.4},
}
GRIDS = {
    "EASE": [{"reg_weight": w} for w in (2.0, 30.0)],
    "L3AE": [{"reg_x": x, "reg_kd": k} for x in (4.0, 9.0) for k in (0.0, 2.0)],
    "LLMCEASE": [{"reg_weight": x, "alpha": a} for x in (4.0, 9.0) for a in (0.0, 2.0)],
}


def scores(model):
    return model.scores_of(np.arange(1, model.n_users))[:, 1:]


@pytest.fixture
def solved(tiny_path, tmp_path):
    def solve(model, **given):
        return train(
            make_experiment(model, "tiny", tiny_path, **SIDED[model], **given), tmp_path
        ).model

    return solve


@pytest.mark.parametrize("model", SIDED)
def test_at_density_one_scores_are_those_of_the_items_side(model, solved):
    a, b = (scores(solved(model, side=side, density=1)) for side in ("items", "sparse"))
    assert float((a - b).abs().max()) < 1e-5 * float(a.max() - a.min())


@pytest.mark.parametrize("model", SIDED)
def test_who_is_folded_in_scores_as_if_it_had_been_there(model, solved):
    """Users that training lacks: with rows that it has, and with one item each, which shows B row by row."""
    found = solved(model, side="sparse", density=0.4)
    rows, known = found.interactions, scores(found)
    found.interactions = sp.csr_matrix(rows.shape, dtype=np.float32)
    np.testing.assert_allclose(scores(found), known, atol=1e-5)
    found.rows = sp.csr_matrix(np.eye(*rows.shape, k=1, dtype=np.float32))
    b = found.scores_of(np.arange(rows.shape[1] - 1))[:, 1:]  # row i is item i + 1 alone
    assert float(b.diagonal().abs().max()) < 1e-5
    expected = torch.from_numpy(rows[1:, 1:].toarray()) @ b
    np.testing.assert_allclose(known, expected, atol=1e-5)


@pytest.mark.parametrize("model", GRIDS)
def test_a_family_scores_like_separate_fits(model, tiny_path, tmp_path):
    given = {**SIDED[model], "side": "sparse", "density": 0.4, "precision": "float64"}
    experiment = make_experiment(model, "tiny", tiny_path, **given)
    training = Training(experiment, experiment.embeddings(), tmp_path)
    params, users = experiment.settings.params, torch.arange(1, 20)
    shared, _ = training.build(params)
    seen = 0
    for group, scorer in shared.families(GRIDS[model]):
        for point, found in zip(group, scorer(users), strict=True):
            alone, _ = training.build({**params, **point})
            alone.solve()
            np.testing.assert_allclose(found, alone.scores_of(users.numpy()), atol=2e-5)
            seen += 1
    assert seen == len(GRIDS[model])


@pytest.mark.parametrize("model", ["L3AE", "LLMCEASE", "LLMAddEASE", "SemanticEASE"])
def test_very_many_vectors_are_held_in_float32(model, tiny_path, tmp_path, monkeypatch):
    given = {"SemanticEASE": {**TEXT, "reg_f": 2}}.get(model) or {**SIDED[model], "side": "sparse"}
    found = []
    for size in (linear_autoencoder._THIN, 1):
        monkeypatch.setattr(linear_autoencoder, "_THIN", size)
        monkeypatch.setattr(linear_autoencoder, "_ITEMS", 7)  # blocks within 31
        experiment = make_experiment(model, "tiny", tiny_path, **given)
        training = Training(experiment, experiment.embeddings(), tmp_path)
        made, _ = training.build(experiment.settings.params)
        dtype = made.semantics.f.dtype
        made.solve()
        found.append((dtype, scores(made)))
    (wide, a), (narrow, b) = found
    assert (wide, narrow) == (torch.float64, torch.float32)
    assert float((a - b).abs().max()) < 1e-4 * float(a.max() - a.min())


def test_auto_is_sparse_where_nothing_dense_fits_and_saved_weights_stay_so(
    tiny_path, tmp_path, monkeypatch, capsys
):
    experiment = make_experiment("L3AE", "tiny", tiny_path, **SIDED["L3AE"], density=0.2)
    with monkeypatch.context() as little:
        little.setattr(memory, "free_memory", lambda device: 10)
        found = train(experiment, tmp_path).model
    assert "L3AE: side=sparse with a density of 0.19" in capsys.readouterr().err
    told = found.measures()
    assert found.side == "sparse" and 0 < told["p_density"] <= 0.2
    assert 0 < told["p_diagonal_error"] <= told["p_diagonal_error_most"] < 1
    save_weights(found, tmp_path / "w.safetensors")
    again = train(experiment, tmp_path, saved=tmp_path / "w.safetensors").model
    assert again.side == "sparse" and again.measures() == told
    assert torch.equal(scores(again), scores(found))
    for fitted in (found, again):
        assert vars(fitted).keys().isdisjoint(("semantics", *fitted.shared))
    assert train(experiment, tmp_path).model.side == "items"  # 40 users, 30 items


def test_what_does_not_fit_is_refused_with_the_density_that_would(tiny_path, monkeypatch):
    def refused(free, **given):
        monkeypatch.setattr(memory, "free_memory", lambda device: free)
        with pytest.raises(HarnessError) as caught:
            check_memory(make_experiment("EASE", "tiny", tiny_path, **given))
        return str(caught.value)

    sparse = 31 * (5 * 64 * 8 + 64)  # of conjugate gradients, more than a matrix of 31 x 31
    line = refused(sparse + 31 * 20 * 3, side="sparse", density=0.5)
    assert "for a sparse inverse" in line and line.endswith("or --side=sparse --density=0.096")
    assert "--density" not in refused(1000, side="items")


@pytest.mark.parametrize("density", [0, -0.5, 1.5])
def test_a_density_out_of_range_is_one_line(density, tiny_path):
    with pytest.raises(HarnessError, match=r"density=.*above 0 to 1"):
        make_experiment("EASE", "tiny", tiny_path, side="sparse", density=density)


def test_a_dense_side_that_does_not_fit_names_a_density(tiny_path, monkeypatch):
    from recbole_ext.pipeline import checks as module

    monkeypatch.setattr(memory, "free_memory", lambda device: 10**6)
    real = module.planned_bytes
    monkeypatch.setattr(
        module,
        "planned_bytes",
        lambda e, **given: 2 * 10**6 if given.get("side") != "sparse" else real(e, **given),
    )
    experiment = make_experiment("EASE", "tiny", tiny_path, side="users")
    with pytest.raises(HarnessError, match="or --side=sparse --density=1"):
        check_memory(experiment)
    check_memory(make_experiment("EASE", "tiny", tiny_path))  # auto is sparse then


def test_keys_that_came_later_leave_a_run_its_identity(tiny_path):
    old, new = (
        make_experiment("EASE", "tiny", tiny_path, **given) for given in ({}, {"density": 0.1})
    )
    assert "density" not in old.settings.named_params
    assert new.settings.named_params["density"] == 0.1
