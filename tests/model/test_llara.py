"""LLaRA: its curriculum, what a batch of each kind trains, and what stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.model.llara import Curriculum
from recbole_ext.model.sequences import Windows
from tests.model.listed_data import assert_repeats, fit, training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model(tiny_path, tmp_path, listing_llama):
    made, of = training("LLaRA", tiny_path, tmp_path, listing_llama)
    return made.build(of.settings.params)[0].eval()


def test_vectors_come_with_the_share_of_steps_gone():
    user, item = np.repeat(np.arange(1, 401), 2), np.tile([1, 2], 400)
    windows = Windows(user, item, 5, 4)
    loader = Curriculum(windows, 8, True)
    kinds = [vectors for _, vectors in loader(torch.Generator().manual_seed(0))]
    assert len(kinds) == len(loader) == 800
    # The share of a quarter of 200 batches has an error of at most .035.
    for quarter, share in enumerate((0.125, 0.375, 0.625, 0.875)):
        assert np.mean(kinds[200 * quarter : 200 * (quarter + 1)]) == pytest.approx(share, abs=0.14)
    owners = [
        u for (users, _, _), _ in loader(torch.Generator().manual_seed(0)) for u in users.tolist()
    ]
    assert sorted(owners[:400]) == sorted(owners[400:800]) == list(range(1, 401))
    assert all(vectors for _, vectors in Curriculum(windows, 1, False)(torch.Generator()))


def test_a_batch_without_vectors_trains_the_lora_alone_and_reads_no_item(model):
    batch = model.stages()[-1].loader.loader.batch(np.arange(4))
    trained = {
        "lora": list(model.lora.parameters()),
        "item_token": list(model.item_token.parameters()),
    }
    for parameters in trained.values():
        for parameter in parameters:
            parameter.requires_grad_(True)
    for vectors in (False, True):
        model.zero_grad()
        torch.manual_seed(1)
        model.taught_loss((batch, vectors)).backward()
        moved = {
            name: any(p.grad is not None and bool(p.grad.any()) for p in ps)
            for name, ps in trained.items()
        }
        assert moved == {"lora": True, "item_token": vectors}
    torch.manual_seed(1)
    with torch.no_grad():
        before = float(model.taught_loss((batch, False)))
        model.items.weight.mul_(3)
        torch.manual_seed(1)
        assert float(model.taught_loss((batch, False))) == before and not model.plain


def test_its_vectors_are_projected_item_vectors_and_there_is_no_users(model):
    with torch.no_grad():
        (one,) = model.asked([[3, 4]], [[7, 8]], torch.zeros(1, 1))
        assert one.items == [3, 4, 7, 8] and "user" not in one.prompt.slots
        found = model.slot_vectors([one], torch.zeros(1, 1))
        torch.testing.assert_close(found, model.item_token(model.items.weight[[3, 4, 7, 8]]))


def test_the_lora_and_the_projector_move_and_the_backbones_own_weights_do_not(
    tiny_path, tmp_path, listing_llama, capsys
):
    fit("ALLMRec", tiny_path, tmp_path, listing_llama, heal_batches=2)
    capsys.readouterr()
    fitted, of = fit("LLaRA", tiny_path, tmp_path, listing_llama, heal_batches=2)
    told = capsys.readouterr().err
    assert "'collaborative': trained before" in told and "'heal': trained before" in told
    made, _ = training("LLaRA", tiny_path, tmp_path, listing_llama)
    start = made.build(of.settings.params)[0]
    plain, _ = fit("LLaRA", tiny_path, tmp_path / "plain", listing_llama)
    mine, theirs = plain.model.backbone.model.state_dict(), start.backbone.model.state_dict()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]) != ("lora_" in name), name
    for name, value in plain.model.state_dict().items():
        if name.startswith("item_token"):
            assert not torch.equal(value, start.state_dict()[name])
    healed = {k: v for k, v in fitted.model.state_dict().items() if k.startswith("healed")}
    assert healed and not any("lora" in key for key in healed)
    assert any(not torch.equal(v, start.backbone.layers[0].self_attn.q_proj.base_layer.weight) for k, v in healed.items() if k == "healed.0:self_attn:q_proj:weight")  # fmt: skip


@pytest.mark.parametrize("chosen_by", ["generated", "likelihood"])
def test_it_repeats_and_its_weights_make_a_round_trip(
    chosen_by, tiny_path, tmp_path, listing_llama
):
    assert_repeats("LLaRA", tiny_path, tmp_path, listing_llama, chosen_by=chosen_by)


def test_a_prompt_with_a_user_is_refused(tiny_path, tmp_path, listing_llama):
    made, of = training("LLaRA", tiny_path, tmp_path, listing_llama, prompt="allmrec")
    with pytest.raises(HarnessError, match="LLaRA has no vector of a user"):
        made.build(of.settings.params)
