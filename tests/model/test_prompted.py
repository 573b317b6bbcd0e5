"""Models that prompt a language model: what each stage trains, what goes into a prompt, and what comes out as a score."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline.training import Training, score_test
from recbole_ext.trainer.checkpoint import save_weights
from recbole_ext.trainer.setup import Fitted
from tests.model.prompted_data import experiment

NAMES = ("TALLRec", "Prompt4NR", "PersonPrompt", "CoLLM", "SeLLaRec")
MOVES = {
    "TALLRec": {"text": {"lora"}},
    "Prompt4NR": {"soft": {"lora", "soft"}},
    "PersonPrompt": {"text": {"lora"}, "projection": {"users", "items"}},
    "CoLLM": {"text": {"lora"}, "collaborative": {"users", "items"}, "projection": {"projection"}},
    "SeLLaRec": {
        "text": {"lora"},
        "distil": {"semantic"},
        "align": {"users", "items", "semantic", "projection"},
        "projection": {"users", "items", "semantic", "projection", "warm"},
    },
}
"""Table 1 of the paper: stage -> what it moves."""


def built(of, scratch):
    return Training(of, None, scratch).build(of.settings.params)


def untrained(of, scratch):
    model, bench = built(of, scratch)
    return Fitted(model, bench, float("nan"), None)


def scores(fitted, of):
    return score_test(fitted, of).scored.score


def trained(of, scratch):
    return Training(of, None, scratch, scratch).fit(of.settings.params, "test")


def a_batch(model, count=6):
    chosen = slice(0, count)
    of = (model.user, model.item, model.label, model.row)
    user, item, label, row = (torch.from_numpy(column[chosen]) for column in of)
    return user, item, label.float(), row


def of_stages(name, of, scratch, monkeypatch):
    """(Stage, names of parameters that it moved, names below `trainable`), one after the other."""
    cls = of.model.load()
    whole = cls.stages
    model, _ = built(of, scratch)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stages = model.stages()
    for count, stage in enumerate(stages, 1):
        with monkeypatch.context() as patched:
            patched.setattr(cls, "stages", lambda self, n=count: whole(self)[:n])
            after = trained(of, scratch).model.state_dict()
        moved = {key for key in before if not torch.equal(before[key], after[key])}
        yield stage, moved, set(after)
        before = after


@pytest.mark.parametrize("name", NAMES)
def test_each_stage_moves_what_the_paper_says(name, clicks, llama, tmp_path, monkeypatch):
    of, found = experiment(name, clicks, llama), {}
    for stage, moved, every in of_stages(name, of, tmp_path, monkeypatch):
        found[stage.name] = {key.partition(".")[0] for key in moved}
        below = {key for key in every if key.partition(".")[0] in found[stage.name]}
        assert moved == below, "a part of it stands still"
    assert found == MOVES[name]


def test_soft_tokens_are_the_same_in_every_row_and_each_another(clicks, llama, tmp_path):
    model, _ = built(experiment("Prompt4NR", clicks, llama), tmp_path)
    user, item, _, _ = a_batch(model, 40)
    assert len(set(user.tolist())) > 1
    vectors = model.vectors(user, item)
    assert len(vectors) == 6
    assert all(torch.equal(one, one[:1].expand_as(one)) for one in vectors.values())
    assert len({tuple(one[0].tolist()) for one in vectors.values()}) == 6


def test_a_person_has_a_vector_of_its_own_that_only_its_rows_move(clicks, llama, tmp_path):
    of = experiment("PersonPrompt", clicks, llama, projection_weight_decay=0)
    before, _ = built(of, tmp_path)
    start = before.users.weight.detach().clone()
    after = trained(of, tmp_path).model
    moved = (after.users.weight.detach() != start).any(1).numpy()
    np.testing.assert_array_equal(np.flatnonzero(moved), np.unique(before.user))
    assert not start[0].any() and len(torch.unique(start[1:], dim=0)) == len(start) - 1


@pytest.mark.parametrize("loss", ["answer", "all_tokens"])
@pytest.mark.parametrize("name", ["Prompt4NR", "PersonPrompt"])
def test_scores_repeat_and_weights_make_a_round_trip(name, loss, clicks, llama, tmp_path):
    of = experiment(name, clicks, llama, loss=loss)
    first = trained(of, tmp_path / "one")
    again = trained(experiment(name, clicks, llama, loss=loss), tmp_path / "two")
    np.testing.assert_array_equal(scores(first, of), scores(again, of))
    path = tmp_path / "weights.safetensors"
    save_weights(first.model, path)
    other = experiment(name, clicks, llama, loss=loss, seed=99)
    loaded = Training(other, None, tmp_path / "two").load(other.settings.params, path)
    np.testing.assert_array_equal(scores(loaded, of), scores(first, of))


def test_the_text_stage_is_one_for_all_and_trained_once(clicks, llama, tmp_path):
    for name in NAMES:
        trained(experiment(name, clicks, llama), tmp_path)
    told = [json.loads(path.read_text())["stage"] for path in tmp_path.glob(".stages/*/stage.json")]
    assert sorted(told) == ["align", "collaborative", "distil", *["projection"] * 3, "soft", "text"]
    one, two = (
        trained(experiment(name, clicks, llama), tmp_path).model.state_dict()
        for name in ("TALLRec", "SeLLaRec")
    )
    assert one and all(torch.equal(value, two[key]) for key, value in one.items())


def test_weights_start_the_same_in_every_model(clicks, llama, tmp_path):
    one, two = (
        built(experiment(name, clicks, llama), tmp_path)[0].lora.state_dict()
        for name in ("TALLRec", "SeLLaRec")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    other = built(experiment("TALLRec", clicks, llama, seed=7), tmp_path)[0].lora.state_dict()
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_the_backbone_is_no_part_of_the_state(clicks, llama, tmp_path):
    model, _ = built(experiment("SeLLaRec", clicks, llama), tmp_path)
    kinds = {key.partition(".")[0] for key in model.state_dict()}
    assert kinds == {"lora", "users", "items", "projection", "semantic", "warm"}


@pytest.mark.parametrize("longest", [200, 70])
@pytest.mark.parametrize("name", NAMES[1:])
def test_slots_hold_their_vectors_after_truncation(
    name, longest, clicks, llama, tmp_path, monkeypatch
):
    of = experiment(name, clicks, llama, max_length=longest)
    model, _ = built(of, tmp_path)
    if name == "SeLLaRec":
        torch.nn.init.normal_(model.semantic.weight)
    user, item, _, row = a_batch(model, 40)
    prompts = model.token_prompts.of(item.tolist(), row.tolist())
    dropped = sum(prompt.dropped for prompt in prompts)
    assert dropped if longest == 70 else not dropped
    vectors = model.vectors(user, item)
    seen = []
    read = type(model.backbone).read
    monkeypatch.setattr(
        type(model.backbone),
        "read",
        lambda self, embeds, mask: seen.append(embeds) or read(self, embeds, mask),
    )
    model.said(prompts, model.token_template, vectors)
    assert set(vectors) == set(model.token_template.slots)
    for name, vector in vectors.items():
        at = [prompt.slots[name] for prompt in prompts]
        torch.testing.assert_close(seen[0][range(len(at)), at], vector, atol=0, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_permuted_labels_change_no_prompt_and_no_score_of_the_untrained(
    name, clicks, llama, tmp_path
):
    of, other = (experiment(name, clicks, llama) for _ in range(2))
    data = of.problem.data
    last = np.array(
        [data.time[data.user == u].max() == t for u, t in zip(data.user, data.time, strict=True)]
    )  # the label of a row that nothing follows is in no history
    drawn = np.random.default_rng(1).permutation(data.label)
    changed = np.where(last, drawn, data.label)
    assert (changed != data.label).any()
    other.problem.__dict__["data"] = dataclasses.replace(other.problem.data, label=changed)
    one, two = untrained(of, tmp_path), untrained(other, tmp_path)
    np.testing.assert_array_equal(scores(one, of), scores(two, other))
    rows = (one.model.item.tolist(), one.model.row.tolist())
    assert one.model.text_prompts.of(*rows) == two.model.text_prompts.of(*rows)


@pytest.mark.parametrize("loss", ["answer", "all_tokens"])
def test_titles_with_yes_and_no_in_them_move_no_label(loss, clicks, llama, tmp_path):
    """The loss of a batch is that of its rows, each with its own label, whatever its titles say."""
    model, _ = built(experiment("TALLRec", clicks, llama, loss=loss), tmp_path)
    assert any("Yes" in title or "No" in title for title in model.titles)
    model.requires_grad_(False)
    _, item, label, row = a_batch(model, 12)
    prompts = model.text_prompts.of(item.tolist(), row.tolist())
    alone = [
        float(model.cost([prompt], model.text_template, one[None]))
        for prompt, one in zip(prompts, label, strict=True)
    ]
    told = [len(prompt.ids) + 2 - 1 if loss == "all_tokens" else 1 for prompt in prompts]
    together = float(model.cost(prompts, model.text_template, label))
    assert together == pytest.approx(np.average(alone, weights=told), rel=1e-5)
    flipped = float(model.cost(prompts, model.text_template, 1 - label))
    assert abs(flipped - together) > 1e-6


def test_the_loss_over_all_tokens_is_that_of_a_loop_and_leaves_out_slots(clicks, llama, tmp_path):
    """The first token of this prompt is a slot: nothing is left out in its place."""
    mine = tmp_path / "mine.yaml"
    mine.write_text('user: "{slot:user} {target} {slot:item} {history}"\ncue: " :"\n')
    of = experiment("CoLLM", clicks, llama, loss="all_tokens", token_prompt=mine)
    model, _ = built(of, tmp_path)
    user, item, label, row = a_batch(model.eval(), 5)
    prompts = model.token_prompts.of(item.tolist(), row.tolist())
    assert all(prompt.slots["user"] == 0 for prompt in prompts)
    vectors = model.vectors(user, item)
    with torch.no_grad():
        found = float(model.cost(prompts, model.token_template, label, vectors))
        losses = []
        for place, prompt in enumerate(prompts):
            answer = model.backbone.tokenise("Yes." if label[place] else "No.")
            ids = torch.tensor([[*prompt.ids, *answer]])
            embeds = model.backbone.embed(ids).clone()
            for name, at in prompt.slots.items():
                embeds[0, at] = vectors[name][place]
            states = model.backbone.states(embeds, torch.ones_like(ids))
            chances = model.backbone.vocabulary(states)[0].log_softmax(1)
            for at in range(1, ids.shape[1]):
                if at not in prompt.slots.values():
                    losses.append(-float(chances[at - 1, ids[0, at]]))
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_an_answer_that_is_learnt_has_room_in_the_context(clicks, llama, tmp_path):
    """A history that fills the context, of which the answer takes two tokens."""
    context = built(experiment("TALLRec", clicks, llama), tmp_path)[0].backbone.context
    for loss, room in (("answer", context), ("all_tokens", context - 2)):
        model, _ = built(experiment("TALLRec", clicks, llama, loss=loss, max_length=9999), tmp_path)
        prompt = model.text_prompts.filler.fill(["red blue old"] * 500, "new night day")
        assert room - 6 < len(prompt.ids) <= room and prompt.dropped


def test_scores_come_back_in_the_order_that_was_asked_for(clicks, llama, tmp_path):
    model, _ = built(experiment("CoLLM", clicks, llama, eval_batch_rows=4), tmp_path)
    user, item, _, row = a_batch(model, 30)
    whole = model.final_logits(user, item, row)
    one = torch.cat(
        [model.final_logits(*(x[i : i + 1] for x in (user, item, row))) for i in range(30)]
    )
    torch.testing.assert_close(whole, one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("score", ["softmax_yes_no", "prob_diff", "yes_logit"])
def test_scores_lie_within_0_and_1_in_the_order_of_the_logits(score, clicks, llama, tmp_path):
    of = experiment("ZeroShot", clicks, llama, score=score)
    fitted = trained(of, tmp_path)
    found = score_test(fitted, of).scored
    assert found.probabilities == (score == "softmax_yes_no")
    assert found.score.min() >= 0 and found.score.max() <= 1
    data, at = of.problem.data, of.test_labels.row
    with torch.no_grad():
        logits = fitted.model.text_logits(
            torch.from_numpy(data.user[at] + 1),
            torch.from_numpy(data.item[at] + 1),
            torch.from_numpy(at),
        )
    np.testing.assert_array_equal(np.argsort(found.score), np.argsort(logits.numpy()))


def test_a_raw_logit_far_from_0_keeps_its_order(clicks, llama, tmp_path, monkeypatch):
    model, _ = built(experiment("ZeroShot", clicks, llama, score="yes_logit"), tmp_path)
    raw = torch.tensor([-300.0, -40.0, 0.0, 40.0, 41.0, 300.0])
    monkeypatch.setattr(model, "final_logits", lambda user, item, row: raw)
    found = model.predict({model.USER_ID: None, model.ITEM_ID: None, "row": None})
    assert (found.diff() > 0).all() and found.min() >= 0 and found.max() <= 1


def test_what_is_distilled_is_the_state_after_the_line(clicks, llama, tmp_path):
    model, _ = built(experiment("SeLLaRec", clicks, llama), tmp_path)
    found = model.distilled()["semantic.weight"]
    assert not found[0].any()
    ids = [t for text in ("Movie: ", model.titles[4]) for t in model.backbone.tokenise(text)]
    with torch.no_grad():
        hidden = model.backbone.base(torch.tensor([ids])).last_hidden_state[0, -1]
    torch.testing.assert_close(found[4], hidden, atol=1e-5, rtol=1e-5)
    whole, _ = built(experiment("SeLLaRec", clicks, llama, distill_dtype="int"), tmp_path)
    torch.testing.assert_close(whole.distilled()["semantic.weight"], found.trunc())


def test_another_line_of_the_same_name_is_distilled_anew(clicks, llama, tmp_path):
    line = tmp_path / "line.yaml"
    names, runs = set(), set()
    for words in ("{target}", "title {target}"):
        line.write_text(f'user: "{words}"\n')
        of = experiment("SeLLaRec", clicks, llama, item_prompt=line)
        names.add(repr(built(of, tmp_path)[0].distil_stage().fingerprint))
        runs.add(of.run_id)
        assert set(of.fingerprints()) - set(of.fingerprints_of_stages()) == {"item_prompt"}
    assert len(names) == len(runs) == 2
    bundled = experiment("SeLLaRec", clicks, llama)
    assert bundled.fingerprints() == bundled.fingerprints_of_stages()


def test_shuffled_titles_are_the_same_titles_at_other_items(clicks, llama, tmp_path):
    plain, _ = built(experiment("TALLRec", clicks, llama), tmp_path)
    other, _ = built(experiment("TALLRec", clicks, llama, shuffle_text="true"), tmp_path)
    assert plain.titles[0] == other.titles[0] == ""
    assert sorted(plain.titles) == sorted(other.titles) and plain.titles != other.titles


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"align": "false"}, [{"text"}, {"collaborative"}, {"users", "items", "new_projection"}]),
        ({"proj_init": "random"}, [{"users", "items", "new_projection", "semantic", "warm"}]),
        ({"use_warm": "false"}, [{"users", "items", "projection"}]),
        ({"use_ui": "false"}, [{"semantic", "warm"}]),
        ({"freeze_EL": "true"}, [{"users", "items", "projection", "warm"}]),
        (
            {"stage3_order": "warm_then_ui"},
            [{"semantic", "warm"}, {"users", "items", "projection"}],
        ),
        (
            {"stage3_order": "ui_then_warm"},
            [{"users", "items", "projection"}, {"semantic", "warm"}],
        ),
        ({"projection_epochs": 0}, []),
    ],
)
def test_variants_train_in_stage_3_what_they_say(given, wanted, clicks, llama, tmp_path):
    of = experiment("SeLLaRec", clicks, llama, **given)
    model, _ = built(of, tmp_path)
    stages = model.stages()
    if given == {"align": "false"}:
        assert [stage.name for stage in stages] == ["text", "collaborative", "projection"]
        assert set(stages[2].trainable) == wanted[2]
        assert not hasattr(model, "semantic")
    else:
        assert [stage.name for stage in stages[:3]] == ["text", "distil", "align"]
        assert [set(stage.trainable) for stage in stages[3:]] == wanted
    found = scores(trained(of, tmp_path), of)
    assert len(np.unique(found)) > 5


def test_lora_drops_units_in_stage_3_only_where_asked_for(clicks, llama, tmp_path):
    for asked in (False, True):
        of = experiment(
            "CoLLM", clicks, llama, lora_dropout_in_projection=str(asked).lower(), lora_dropout=0.5
        )
        model, _ = built(of, tmp_path)
        for name, value in model.lora.named_parameters():
            if name.endswith(":B"):
                torch.nn.init.normal_(value)
        model.eval()
        stage, batch = model.stages()[-1], a_batch(model)
        values = {float(stage.loss(batch)) for _ in range(3)}
        assert (len(values) > 1) == asked


def test_attention_to_tokens_is_that_of_each_row_alone(clicks, llama, tmp_path):
    model, _ = built(experiment("CoLLM", clicks, llama, eval_batch_rows=4), tmp_path)
    user, item, _, row = a_batch(model, 9)
    found = model.attention(user, item, row, [1, 2])
    assert set(found) == {"user", "item"}
    prompt = model.token_prompts.of([int(item[5])], [int(row[5])])[0]
    ids = torch.tensor([prompt.ids])
    embeds = model.backbone.embed(ids).clone()
    for name, vector in model.vectors(user[5:6], item[5:6]).items():
        embeds[0, prompt.slots[name]] = vector[0]
    alone = model.backbone.attention(embeds, torch.ones_like(ids), [1, 2])
    for name, place in prompt.slots.items():
        torch.testing.assert_close(found[name][:, 5], alone[:, 0, place], atol=1e-6, rtol=1e-4)


def test_attention_drops_no_unit(clicks, llama, tmp_path):
    model, _ = built(experiment("CoLLM", clicks, llama, lora_dropout=0.5), tmp_path)
    for name, value in model.lora.named_parameters():
        if name.endswith(":B"):
            torch.nn.init.normal_(value)
    user, item, _, row = a_batch(model, 9)
    one = model.train().attention(user, item, row, [2])
    other = model.train().attention(user, item, row, [2])
    for name, value in one.items():
        assert torch.equal(value, other[name])


def test_qv_is_the_query_and_the_value(clicks, llama, tmp_path):
    one, two = (
        built(experiment("TALLRec", clicks, llama, lora_modules=given), tmp_path)[0].lora
        for given in ("qv", "[q_proj, v_proj]")
    )
    assert set(one.state_dict()) == set(two.state_dict())
    assert len(one.state_dict()) == 2 * 2 * 2  # layers, projections, A and B


def test_a_template_with_other_slots_is_refused_in_one_line(clicks, llama, tmp_path):
    with pytest.raises(
        HarnessError, match="slots user, item, and what is put in here is user, item, warm"
    ):
        built(experiment("SeLLaRec", clicks, llama, token_prompt="sellarec-ui"), tmp_path)


@pytest.fixture
def encoder(monkeypatch):
    """minilm's place taken by a small encoder with random weights."""
    from transformers import BertConfig, BertModel

    from recbole_ext.lm.backbone import EncoderBackbone, make_backbone

    def small(name, **options):
        whole = make_backbone(name, **options)
        config = whole.model.config.__class__(
            **{**whole.model.config.to_dict(), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
               "intermediate_size": 16}
        )  # fmt: skip
        assert isinstance(config, BertConfig)
        torch.manual_seed(0)
        model = BertModel(config, add_pooling_layer=False)
        source = type("Source", (), {"identity": {"small": True}})()
        return EncoderBackbone("small", source, whole.tokenizer, model, "encoder")

    monkeypatch.setattr("recbole_ext.model.asking.make_backbone", small)
    return "minilm"


def test_an_encoder_learns_its_two_answers_with_the_lora(clicks, encoder, tmp_path, monkeypatch):
    of, found = experiment("SeLLaRec", clicks, encoder), {}
    for stage, moved, _ in of_stages("SeLLaRec", of, tmp_path, monkeypatch):
        found[stage.name] = {key.partition(".")[0] for key in moved}
    assert found == {**MOVES["SeLLaRec"], "text": {"lora", "answers"}}


@pytest.mark.parametrize(
    ("name", "given", "why"),
    [
        (
            "ZeroShot",
            {},
            "minilm is an encoder and has no words to answer with: --backbone=smollm2",
        ),
        ("TALLRec", {"loss": "all_tokens"}, "is an encoder: --loss=answer"),
        ("TALLRec", {"score": "prob_diff"}, "is an encoder: --score=softmax_yes_no"),
    ],
)
def test_what_an_encoder_cannot_is_refused_in_one_line_before_it_is_loaded(
    name, given, why, clicks
):
    with pytest.raises(HarnessError, match=why) as caught:
        experiment(name, clicks, "minilm", **given)
    assert "\n" not in str(caught.value)
