"""BinLLM: codes and how they are written, when they are binary in training, and what each stage moves and reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.model import prompt_rows
from recbole_ext.model.binllm import CodedRows, Coder, written
from recbole_ext.trainer.checkpoint import save_weights
from tests.model import prompted_data
from tests.model.prompted_data import write_clicks, write_llama
from tests.model.test_prompted import a_batch, built, of_stages, scores, trained, untrained

OWN = {"code_bits": 16, "code_beta_step": 0.5, "coded_learning_rate": 0.01}


def experiment(clicks, llama, **given):
    return prompted_data.experiment("BinLLM", clicks, llama, **{**OWN, **given})


def test_a_code_is_written_as_bits_or_as_an_address():
    bits = "11000000101010000000000111111111"  # 192.168.1.255
    code = torch.tensor([[1.0 if bit == "1" else -1.0 for bit in bits], [-1.0] * 32])
    assert written(code, "bits") == [bits, "0" * 32]
    assert written(code, "octets") == ["192.168.1.255", "0.0.0.0"]


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_coordinates_are_binary_with_probability_beta_and_the_gradient_is_that_of_tanh(beta):
    torch.manual_seed(0)
    coder = Coder(3, 8, 0.02).double()
    x = torch.randn(500, 3, dtype=torch.float64, requires_grad=True)
    code = coder(x, beta)
    soft = torch.tanh(x @ coder.linear.weight.T + coder.linear.bias)
    sign = torch.where(soft >= 0, 1.0, -1.0).double()
    binary = torch.isclose(code, sign, rtol=0, atol=1e-12)
    assert (binary | torch.isclose(code, soft, rtol=0, atol=1e-12)).all()
    # 4,000 draws: three standard deviations are 0.022 at most.
    assert abs(float(binary.double().mean()) - beta) < 0.025
    weight = torch.randn_like(code)
    (mine,) = torch.autograd.grad((code * weight).sum(), x, retain_graph=True)
    (smooth,) = torch.autograd.grad((soft * weight).sum(), x)
    torch.testing.assert_close(mine, smooth)


def test_codes_that_are_read_are_whole_and_nothing_in_them_is_random():
    coder = Coder(4, 8, 0.02)
    with torch.no_grad():
        one, two = coder(torch.randn(50, 4)), coder(torch.zeros(2, 4))
        coder.linear.bias.zero_()
        assert (coder(torch.zeros(2, 4)) == 1).all()  # 0 counts as above
    assert set(one.unique().tolist()) == {-1.0, 1.0} and torch.equal(two[0], two[1])


def test_beta_grows_with_each_epoch_and_ends_at_1():
    coder = Coder(2, 2, 0.3)
    found = []
    for _ in range(5 * 4):
        found.append(coder.beta(4))
        coder.batches += 1
    assert found == pytest.approx(np.repeat([0, 0.3, 0.6, 0.9, 1.0], 4))


def test_a_training_counts_its_batches_and_keeps_the_count_with_the_weights(
    clicks, llama, tmp_path
):
    of = experiment(clicks, llama, collab_epochs=3, collab_patience=0)
    model = trained(of, tmp_path).model
    per_epoch = len(model.code_stage().loader)
    (facts,) = [f for p in tmp_path.glob(".stages/*/stage.json") if (f := json.loads(p.read_text()))["stage"] == "codes"]  # fmt: skip
    # The best epoch's weights are kept, and the count is one of them.
    assert int(model.coder.batches) == facts["epochs"] * per_epoch > 0


def test_each_stage_moves_what_it_should(clicks, llama, tmp_path, monkeypatch):
    found = {
        stage.name: {key.partition(".")[0] for key in moved}
        for stage, moved, _ in of_stages("BinLLM", experiment(clicks, llama), tmp_path, monkeypatch)
    }
    assert found == {"text": {"lora"}, "codes": {"users", "items", "coder"}, "coded": {"lora"}}


def test_the_text_stage_is_that_of_tallrec(clicks, llama, tmp_path):
    trained(experiment(clicks, llama), tmp_path)
    trained(prompted_data.experiment("TALLRec", clicks, llama), tmp_path)
    told = [json.loads(path.read_text())["stage"] for path in tmp_path.glob(".stages/*/stage.json")]
    assert sorted(told) == ["coded", "codes", "text"]


def test_the_collaborative_logit_is_that_of_a_loop(clicks, llama, tmp_path):
    model, _ = built(experiment(clicks, llama), tmp_path)
    user, item, _, row = a_batch(model, 20)
    with torch.no_grad():
        fast = model.code_logits(user, item, row)
    weight, bias = (
        p.detach().double() for p in (model.coder.linear.weight, model.coder.linear.bias)
    )
    for place, (u, i) in enumerate(zip(user.tolist(), item.tolist(), strict=True)):
        one, two = (
            [1 if float(w @ table.weight[n].detach().double() + b) >= 0 else -1 for w, b in zip(weight, bias, strict=True)]
            for table, n in ((model.users, u), (model.items, i))
        )  # fmt: skip
        assert float(fast[place]) == pytest.approx(
            sum(a * b for a, b in zip(one, two, strict=True)) / 4
        )


@pytest.mark.parametrize("form", ["octets", "bits"])
def test_a_prompt_has_the_codes_of_its_own_user_and_item(
    form, clicks, llama, tmp_path, monkeypatch
):
    model, _ = built(experiment(clicks, llama, code_form=form), tmp_path)
    user, item, _, row = a_batch(model, 12)
    given, fill = [], model.code_filler.fill
    monkeypatch.setattr(model.code_filler, "fill", lambda *of: given.append(of) or fill(*of))
    model.coded(user, item, row.tolist())
    with torch.no_grad():
        users = written(model.coder(model.users.weight), form)
        items = written(model.coder(model.items.weight), form)
    for (history, target, texts), u, i, at in zip(given, user.tolist(), item.tolist(), row.tolist(), strict=True):  # fmt: skip
        assert texts == {"user": users[u], "item": items[i]}
        assert target == model.titles[i]
        assert history == [model.titles[n + 1] for n in model.histories.of(at)[-10:].tolist()]
    assert len(given[0][2]["user"]) == 16 if form == "bits" else given[0][2]["user"].count(".") == 1
    model.coded(user, item, row.tolist())
    assert len(given) == 12  # known by now
    torch.nn.init.constant_(model.coder.linear.bias, 9.0)
    model.coded(user, item, row.tolist())
    assert len(given) == 24 and given[12][2]["user"] != given[0][2]["user"]


def test_the_prompt_that_is_shown_is_the_one_that_is_scored(clicks, llama, tmp_path):
    model, _ = built(experiment(clicks, llama), tmp_path)
    user, item, _, row = a_batch(model, 12)
    scored = model.coded(user, item, row.tolist())
    for place, prompt in enumerate(scored):
        shown = model.prompt_of(int(item[place]), int(row[place]))
        assert shown.ids == prompt.ids
        (person,), (title,) = model.codes(user[place : place + 1], item[place : place + 1])
        assert f"code of the person is {person}, that of the title {title};" in shown.shown()


def test_prompts_that_are_kept_have_an_end_and_are_counted_some_at_a_time(
    clicks, llama, tmp_path, monkeypatch
):
    model, _ = built(experiment(clicks, llama), tmp_path)
    user, item, _, row = a_batch(model, 30)
    monkeypatch.setattr(prompt_rows, "_KEPT", 7)
    monkeypatch.setattr(prompt_rows, "_AT_ONCE", 4)
    for rows in (CodedRows(model, user), model.text_prompts):
        whole = [prompt.ids for prompt in rows.of(item.tolist(), row.tolist())]
        assert [prompt.ids for prompt in rows.of(item.tolist(), row.tolist())] == whole
        assert rows.lengths(item.tolist(), row.tolist()) == [len(ids) for ids in whole]
    assert len(model._coded._known) == len(model.text_prompts._known._known) == 7


def test_scores_depend_on_the_codes_and_weights_make_a_round_trip(tmp_path):
    """With a tokenizer that has digits: other codes are other tokens."""
    extra = [str(n) for n in range(256)]
    words = [*prompted_data.WORDS, *extra]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prompted_data, "WORDS", words)
        llama = f"lm:{write_llama(tmp_path / 'lm')}"
    clicks = write_clicks(tmp_path)
    of = experiment(clicks, llama)
    fitted = trained(of, tmp_path / "a")
    save_weights(fitted.model, tmp_path / "weights.safetensors")
    from recbole_ext.pipeline.training import Training

    other = experiment(clicks, llama, seed=5)
    loaded = Training(other, None, tmp_path).load(other.settings.params, tmp_path / "weights.safetensors")  # fmt: skip
    first = scores(fitted, of)
    np.testing.assert_array_equal(first, scores(loaded, other))
    with torch.no_grad():
        fitted.model.coder.linear.weight.neg_()
    assert np.abs(scores(fitted, of) - first).max() > 1e-6
    start = untrained(of, tmp_path / "b")
    assert not np.array_equal(scores(start, of), first)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"code_bits": 12}, "--code_bits=12 is no multiple"),
        ({"code_prompt": "tallrec"}, "prompt 'tallrec' has the places none, .* --code_prompt"),
        ({"code_prompt": "collm"}, "has the places slot:"),
        ({"prompt": "binllm"}, "which BinLLM does not fill"),
    ],
)
def test_what_cannot_be_is_one_line(given, said, clicks, llama, tmp_path):
    with pytest.raises(HarnessError, match=said):
        built(experiment(clicks, llama, **given), tmp_path)
    if given == {"code_bits": 12}:
        assert built(experiment(clicks, llama, code_bits=12, code_form="bits"), tmp_path)
