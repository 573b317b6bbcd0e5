"""The linear models against each other, from both sides, saved and folded in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.trainer.checkpoint import save_weights
from tests.problems import make_experiment, train

TEXT = {"encoder": "hash:64", "semantic_norm": "l2"}
SIDED = {
    "EASE": {"reg_weight": 150},
    "L3AE": {**TEXT, "reg_x": 150, "reg_f": 2, "reg_kd": 90},
    "LLMCEASE": {**TEXT, "reg_weight": 150, "alpha": 2},
    "LLMAddEASE": {**TEXT, "reg_weight": 150, "reg_f": 2, "alpha": 0.4},
}


def solved(model, tmp_path, dataset="ml-100k", data_path=None, **given):
    return train(make_experiment(model, dataset, data_path, **given), tmp_path).model


def scores(model, users=slice(1, 200)):
    return model.scores_of(np.arange(model.n_users)[users])[:, 1:]


@pytest.mark.parametrize("model", SIDED)
def test_both_sides_give_the_same_scores(model, tmp_path):
    one, two = (solved(model, tmp_path, side=side, **SIDED[model]) for side in ("items", "users"))
    assert one.side == "items" and two.side == "users"
    assert sum(t.numel() for t in two.state_dict().values()) < one.item_matrix.numel()
    a, b = scores(one), scores(two)
    assert float((a - b).abs().max()) < 1e-4 * float(a.max() - a.min())


def test_both_sides_give_the_same_scores_on_real_data(real_data, tmp_path):
    given = {"min_user": 10, "min_item": 10, "split_seed": 1, **SIDED["L3AE"]}
    one, two = (
        solved("L3AE", tmp_path, "amazon-games-2018", real_data, side=side, **given)
        for side in ("items", "users")
    )
    a, b = scores(one, slice(1, 600)), scores(two, slice(1, 600))
    assert float((a - b).abs().max()) < 1e-4 * float(a.max() - a.min())


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("L3AE", {**TEXT, "reg_x": 200, "reg_kd": 0}), ("EASE", {"reg_weight": 200})),
        (("CEASE", {"reg_weight": 200, "alpha": 0}), ("EASE", {"reg_weight": 200})),
        (("LLMAddEASE", {**TEXT, "reg_weight": 200, "alpha": 0}), ("EASE", {"reg_weight": 200})),
        (("LLMAddEASE", {**TEXT, "reg_f": 3, "alpha": 1}), ("SemanticEASE", {**TEXT, "reg_f": 3})),
        (("LLMCEASE", {**TEXT, "alpha": 3}), ("LLMCEASE", {**TEXT, "alpha": 9, "alpha_is_multiplier": False})),
        (("L3AE", {**TEXT, "reg_x": 110, "reg_kd": 90, "tie_reg_sum": False}), ("L3AE", {**TEXT, "reg_x": 200, "reg_kd": 90})),
    ],
)  # fmt: skip
@pytest.mark.parametrize("side", ["items", "users"])
def test_what_is_the_same_model_scores_the_same(one, two, side, tmp_path):
    found = []
    for name, given in (one, two):
        sided = {} if name == "SemanticEASE" else {"side": side}
        found.append(scores(solved(name, tmp_path, **given, **sided)))
    a, b = found
    assert float((a - b).abs().max()) < 2e-5 * float(a.max() - a.min())


@pytest.mark.parametrize("model", ["CosineText", "SemanticEASE", "EASE", "LLMCEASE"])
def test_factors_survive_saving(model, tmp_path):
    given = {**TEXT} if model != "EASE" else {}
    given |= {"side": "users"} if model in SIDED else {}
    experiment = make_experiment(model, "ml-100k", **given)
    fitted = train(experiment, tmp_path)
    save_weights(fitted.model, tmp_path / "w.safetensors")
    again = train(experiment, tmp_path, saved=tmp_path / "w.safetensors").model
    assert torch.equal(scores(again), scores(fitted.model))


def test_text_alone_by_hand(tmp_path):
    found = solved("CosineText", tmp_path, **TEXT)
    f = torch.from_numpy(
        make_experiment("CosineText", "ml-100k", **TEXT).embeddings().vectors
    ).double()
    f = f / f.norm(dim=1, keepdim=True).clamp_min(1e-12)
    s = f @ f.T
    s.fill_diagonal_(0)
    x = torch.from_numpy(found.interactions[1:200].toarray()[:, 1:]).double()
    # Sums of up to 700 cosines in float32, up to 100 here.
    assert float((x @ s - scores(found)).abs().max()) < 1e-3


def test_the_side_is_the_smaller_and_memory_is_planned_for_it(tmp_path):
    assert solved("EASE", tmp_path).side == "users"  # 943 users, 1,682 items
    plan = make_experiment("EASE", "ml-100k").model.load().planned_bytes
    auto = plan(999, 4999, {"precision": "float32", "side": "auto"})
    assert (
        auto == 8 * 1000**2
        and plan(999, 4999, {"precision": "auto", "side": "items"}) == 16 * 5000**2
    )


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("EASE", {"side": "both"}, "side=both must be auto, items, users or sparse"),
        ("LLMAddEASE", {**TEXT, "alpha": 1.5}, "alpha=1.5: must be a number from 0 to 1"),
        ("LLMCEASE", {**TEXT, "alpha": -1}, "alpha=-1.0: must be a number from 0"),
        ("SemanticEASE", {**TEXT, "reg_f": 0}, "reg_f=0.0: must be a number above 0"),
    ],
)
def test_a_key_out_of_range_is_one_line(model, given, said, tmp_path):
    from recbole_ext.core.errors import HarnessError

    with pytest.raises(HarnessError, match=said):
        solved(model, tmp_path, **given)


def test_tags_are_words_that_several_items_share(tmp_path):
    from recbole_ext.text import make_encoder

    texts = (
        ["Title: red lamp; Category: home"] * 3
        + ["Title: blue lamp"] * 3
        + ["Title: green"] * 2
        + [""] * 4
    )
    encoder = make_encoder("tags:4")
    found = encoder.encode(texts)
    # Of 12 texts 'title' stands in 8, more than half; 'green' in 2, fewer than 3.
    assert found.shape == (12, 4)  # lamp 6, then blue, category, home and red with 3 each, by name
    assert found[0].tolist() == [1, 0, 1, 1] and found[3].tolist() == [1, 1, 0, 0]
    assert not found[6:].any() and encoder.fingerprint != make_encoder("tags").fingerprint
