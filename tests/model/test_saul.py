"""SAUL-A and SAUL-D: what they share and move, and what the coder puts into the prompt."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.evaluator.tables import Tables
from recbole_ext.pipeline.training import score_test
from tests.model.listed_data import fit, training

pytestmark = pytest.mark.usefixtures("one_thread")


def build(name, tiny_path, folder, listing_llama, **given):
    made, of = training(name, tiny_path, folder, listing_llama, **given)
    return made.build(of.settings.params)[0].eval()


def test_all_three_share_what_lies_below_and_move_the_projectors_only(
    tiny_path, tmp_path, listing_llama, capsys
):
    plain, _ = fit("ALLMRec", tiny_path, tmp_path, listing_llama)
    below = {k: v for k, v in plain.model.state_dict().items() if "token" not in k}
    moved = []
    for name, sae in (("SAULA", "trains"), ("SAULD", "trained before")):
        capsys.readouterr()
        fitted, _ = fit(name, tiny_path, tmp_path, listing_llama)
        told = capsys.readouterr().err
        assert "'collaborative': trained before" in told and "'matching': trained before" in told
        assert f"'sae': {sae}" in told
        state = fitted.model.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in below.items())
        moved.append({key: value for key, value in state.items() if "token" in key})
        assert {key.split(".")[0] for key in state.keys() - plain.model.state_dict().keys()} == {
            "sae"
        }
        assert not any(p.requires_grad for p in fitted.model.backbone.model.parameters())
        assert fitted.model.measures().keys() == {"spread", "length", "error", "live", "overlap"}
    start = {
        name: build(name, tiny_path, tmp_path, listing_llama).state_dict()
        for name in ("ALLMRec", "SAULA", "SAULD")
    }
    for key, value in moved[0].items():
        assert torch.equal(start["ALLMRec"][key], start["SAULA"][key])  # they begin alike
        assert torch.equal(start["ALLMRec"][key], start["SAULD"][key])
        assert not torch.equal(value, start["SAULA"][key]) and not torch.equal(value, moved[1][key])
    named = [json.loads(p.read_text())["stage"] for p in tmp_path.glob(".stages/*/stage.json")]
    assert sorted(named) == [
        "collaborative",
        "matching",
        "projection",
        "projection",
        "projection",
        "sae",
    ]


@pytest.mark.parametrize("labels_for", ["user", "item", "both"])
def test_the_numbers_of_the_latents_stand_behind_their_slots(
    labels_for, tiny_path, tmp_path, listing_llama
):
    model = build("SAULA", tiny_path, tmp_path, listing_llama, labels_for=labels_for)
    shown = []
    fill = model.filler.fill
    model.filler.fill = lambda *args: shown.append(fill(*args)) or shown[-1]
    with torch.no_grad():
        states = model.user_states([[3, 4]])
        model.asked([[3, 4]], [[7, 8]], states)
        code = model.sae.code(model.items.weight[[3, 4, 7, 8]])
        of_user = model.sae.code(states)
    words = shown[0].shown()
    for row, slot in [(code[0], "item1"), (code[1], "item2"), (code[2], "candidate1"), (code[3], "candidate2"), (of_user[0], "user")]:  # fmt: skip
        kind = "user" if slot == "user" else "item"
        behind = words.split(f"\u27e6{slot}\u27e7")[1]
        if labels_for not in (kind, "both"):
            assert not behind.startswith("[")
            continue
        numbers = json.loads(behind[: behind.index("]") + 1])
        by_value = sorted(row.nonzero()[:, 0].tolist(), key=lambda latent: -float(row[latent]))
        assert numbers == by_value and len(numbers) == 3


def test_shuffled_labels_are_those_of_other_items(tiny_path, tmp_path, listing_llama):
    plain = build("SAULA", tiny_path, tmp_path, listing_llama)
    other = build("SAULA", tiny_path, tmp_path, listing_llama, shuffle_labels=True)
    mine, theirs = plain.item_labels(range(31)), other.item_labels(range(31))
    assert sorted(mine[1:]) == sorted(theirs[1:]) and mine != theirs
    states = torch.randn(4, 8)
    assert plain.user_labels(states) != other.user_labels(states)
    assert plain.stages()[-1].fingerprint != other.stages()[-1].fingerprint


@pytest.mark.parametrize("id_source", ["latent", "recon"])
def test_the_token_after_a_title_is_made_of_what_the_coder_makes_of_its_vector(
    id_source, tiny_path, tmp_path, listing_llama
):
    model = build("SAULD", tiny_path, tmp_path, listing_llama, id_source=id_source)
    with torch.no_grad():
        states = model.user_states([[3, 4]])
        (one,) = model.asked([[3, 4]], [[7, 8]], states)
        found = model.slot_vectors([one], states)
        torch.testing.assert_close(found[0], model.user_token(states)[0])
        for row, item in zip(found[1:], [3, 4, 7, 8], strict=True):
            x = model.items.weight[item][None]
            z, r = model.matching.items(model.sae(x))
            torch.testing.assert_close(row, model.item_token(z if id_source == "latent" else r)[0])
            uncoded, _ = model.matching.items(x)
            assert id_source == "recon" or not torch.allclose(row, model.item_token(uncoded)[0])


def test_the_control_is_as_far_from_x_as_the_coder_is(tiny_path, tmp_path, listing_llama):
    model = build("SAULD", tiny_path, tmp_path, listing_llama, rebuilt="noise")
    items = torch.arange(1, 31)
    with torch.no_grad():
        x = model.items.weight[items]
        made, control = model.sae(x), model.item_input(items)
        torch.testing.assert_close((x - control).norm(dim=1), (x - made).norm(dim=1))
        assert not torch.allclose(made, control)
        assert torch.equal(control, model.item_input(items))


@pytest.mark.parametrize("name", ["SAULA", "SAULD"])
@pytest.mark.parametrize("chosen_by", ["generated", "likelihood"])
def test_they_answer(name, chosen_by, tiny_path, tmp_path, listing_llama):
    fitted, of = fit(name, tiny_path, tmp_path, listing_llama, chosen_by=chosen_by)
    tables = score_test(fitted, of)
    assert isinstance(tables, Tables) and len(tables.ranked) == 40
    assert np.isfinite(tables.per_user("uni5", [1])["hit_pp@1"]).all()


def test_more_latents_than_there_are_are_refused(tiny_path, tmp_path, listing_llama):
    with pytest.raises(HarnessError, match="--sae_k=13 of --sae_dim=12"):
        build("SAULA", tiny_path, tmp_path, listing_llama, sae_k=13)
