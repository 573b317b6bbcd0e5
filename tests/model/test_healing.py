"""The healing of a language model: what its prompts are made of, what its loss covers, what it moves, and who shares it."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional

from recbole_ext.core.errors import HarnessError
from recbole_ext.model import healing
from recbole_ext.model.healing import CopyTask, CopyTasks, heal_loss
from tests.model.listed_data import experiment, fit, training

pytestmark = pytest.mark.usefixtures("one_thread")

HEAL = {"heal_batches": 3, "heal_batch_rows": 4, "heal_learning_rate": 0.003}


@pytest.fixture
def model(tiny_path, tmp_path, listing_llama):
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama, **HEAL)
    return made.build(of.settings.params)[0].eval()


def test_tasks_are_lists_of_different_titles_with_one_answer_and_repeat():
    loader = CopyTasks([f"t{i}" for i in range(12)], 20, 5, 3, 6)
    batches = list(loader(torch.Generator().manual_seed(0)))
    assert len(batches) == len(loader) == 20 and all(len(batch) == 5 for batch in batches)
    tasks = [task for batch in batches for task in batch]
    for task in tasks:
        every = [*task.history, *task.candidates]
        assert len(task.candidates) == 6 and len(set(every)) == len(every)
    assert {task.answer for task in tasks} == set(range(6))
    assert {len(task.history) for task in tasks} == {0, 1, 2, 3}
    assert batches == list(loader(torch.Generator().manual_seed(0)))
    assert batches != list(loader(torch.Generator().manual_seed(1)))


def test_fewer_titles_than_a_list_has_make_shorter_lists():
    (batch,) = CopyTasks(["a", "b"], 1, 3, 3, 6)(torch.Generator().manual_seed(0))
    assert all(sorted(task.candidates) == ["a", "b"] and not task.history for task in batch)


def test_its_loss_is_that_of_words_and_answers_in_a_loop_and_the_answer_is_marked(
    model, monkeypatch
):
    tasks = [CopyTask(["red lamp number 0"], ["blue chair number 1", "red table number 2"], 1), CopyTask([], ["red chair number 4"], 0)]  # fmt: skip
    given = []
    real = healing.splice_listed
    monkeypatch.setattr(healing, "splice_listed", lambda *args: given.append(args) or real(*args))
    with torch.no_grad():
        fast = float(heal_loss(model.backbone, model.filler, model.words, tasks, 0.5))
    (_, prompts, vectors) = given[0]
    at, answer, words = 0, [], []
    for task, prompt in zip(tasks, prompts, strict=True):
        own = dict(zip(prompt.slots, vectors[at : at + len(prompt.slots)], strict=True))
        at += len(prompt.slots)
        same = [name for name, vector in own.items() if torch.equal(vector, own["user"])]
        assert same == ["user", f"candidate{task.answer + 1}"]
        said = model.filler.answer(task.candidates[task.answer])
        ids = [*prompt.ids, *said]
        with torch.no_grad():
            embeds = model.backbone.embed(torch.tensor([ids]))
            for name, vector in own.items():
                embeds[0, prompt.slots[name]] = vector
            states = model.backbone.states(embeds, torch.ones(1, len(ids)))[0]
            for place in range(1, len(ids)):
                scores = model.backbone.vocabulary(states[place - 1]).double()
                cost = float(
                    functional.cross_entropy(scores[None], torch.tensor(ids[place : place + 1]))
                )
                if place >= len(prompt.ids):
                    answer.append(cost)
                elif place not in prompt.slots.values():
                    words.append(cost)
    expected = sum(answer) / len(answer) + 0.5 * sum(words) / len(words)
    assert fast == pytest.approx(expected, rel=1e-4)  # float32 sums of other shapes


def test_drawn_words_are_on_average_all_of_them_and_answers_are_never_left_out(model, monkeypatch):
    tasks = [CopyTask(["red lamp number 0"], ["blue chair number 1", "red table number 2"], 1), CopyTask([], ["red chair number 4"], 0)]  # fmt: skip

    def loss(weight, drawn):
        torch.manual_seed(3)  # the vectors at the slots are drawn before the places are
        with torch.no_grad():
            return float(heal_loss(model.backbone, model.filler, model.words, tasks, weight, drawn))

    answers = loss(0.0, 0)
    assert loss(0.0, 1) == answers
    assert loss(1.0, 10_000) == loss(1.0, 0)
    assert loss(1.0, 2) != loss(1.0, 0)

    def drawn_again(state):
        rows = []

        def fixed(*shape, **options):
            rows.append(randn(*shape, **options))
            if len(rows) == len(tasks):  # what is drawn from here on is the places
                torch.manual_seed(state)
            return rows[-1]

        monkeypatch.setattr(torch, "randn", fixed)
        return loss(1.0, 4)

    expected, randn = loss(1.0, 0), torch.randn
    found = torch.tensor([drawn_again(state) for state in range(200)])
    assert len(set(found.tolist())) > 100
    error = float(found.std()) / 200**0.5
    assert abs(float(found.mean()) - expected) < 4 * error


def test_it_trains_the_layers_once_for_all_models_and_nothing_after_it_moves_them(
    tiny_path, tmp_path, listing_llama, capsys
):
    one, _ = fit("ALLMRec", tiny_path, tmp_path, listing_llama, **HEAL)
    capsys.readouterr()
    two, _ = fit("SAULD", tiny_path, tmp_path, listing_llama, **HEAL)
    assert "'heal': trained before" in capsys.readouterr().err
    three, _ = fit("ALLMRec", tiny_path, tmp_path, listing_llama, **HEAL, shuffle_text=True)
    assert "'heal': trained before" in capsys.readouterr().err
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama, **HEAL)
    start = made.build(of.settings.params)[0].backbone.model.state_dict()
    for fitted in (one, two, three):
        for key, value in fitted.model.backbone.model.state_dict().items():
            if ".layers." in key:
                assert torch.equal(value, one.model.backbone.model.state_dict()[key])
                assert not torch.equal(value, start[key]), key
            else:
                assert torch.equal(value, start[key]), key
        for key, value in fitted.model.state_dict().items():
            if key.startswith("healed."):
                inner = fitted.model.backbone.model.state_dict()[
                    f"model.layers.{key[7:].replace(':', '.')}"
                ]
                assert torch.equal(value, inner)  # one and the same
    named = [json.loads(p.read_text()) for p in tmp_path.glob(".stages/*/stage.json")]
    (heal,) = [one for one in named if one["stage"] == "heal"]
    assert "data" not in heal["identity"]["reads"] and heal["identity"]["before"] == {}


def test_more_of_it_makes_the_answers_likelier(model, tiny_path, tmp_path, listing_llama):
    healed, _ = fit("ALLMRec", tiny_path, tmp_path, listing_llama, **{**HEAL, "heal_batches": 60})
    (tasks,) = CopyTasks(model.titles[1:], 1, 20, 3, 6)(torch.Generator().manual_seed(9))
    costs = []
    for one in (model, healed.model):
        torch.manual_seed(0)
        with torch.no_grad():
            costs.append(float(heal_loss(one.backbone, one.filler, one.words, tasks, 0.0)))
    assert costs[1] < 0.7 * costs[0]


def test_without_it_no_layer_is_a_part_of_the_model(tiny_path, tmp_path, listing_llama):
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama)
    model = made.build(of.settings.params)[0]
    assert not any(key.startswith("healed") for key in model.state_dict())
    assert [stage.name for stage in model.stages()] == ["collaborative", "matching", "projection"]


def test_a_prompt_in_which_nothing_marks_the_answer_is_refused(tiny_path, tmp_path, listing_llama):
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama, **HEAL, heal_prompt="llara")
    model, _ = made.build(of.settings.params)
    with pytest.raises(HarnessError, match="--heal_prompt=llara: the answer is marked"):
        model.stages()


def test_layers_are_healed_by_products_in_half_precision_where_weights_are_whole(
    tiny_path, tmp_path, listing_llama
):
    made, of = training("ALLMRec", tiny_path, tmp_path, listing_llama, **HEAL, lm_dtype="mixed")
    model = made.build(of.settings.params)[0]
    before = {name: p.detach().clone() for name, p in model.healed.items()}
    tasks = [CopyTask([], ["red chair number 4", "blue chair number 1"], 0)]
    optimizer = torch.optim.Adam(model.healed.requires_grad_(True).values(), 1e-3)
    heal_loss(model.backbone, model.filler, model.words, tasks, 0.5).backward()
    optimizer.step()
    assert all(p.dtype == torch.float32 for p in model.healed.values())
    assert any(not torch.equal(before[name], p) for name, p in model.healed.items())


@pytest.fixture
def unreadable(tmp_path):
    """A data set whose reading fails."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "tiny.inter").write_text("no header\n")
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"backbone": "minilm"}, "minilm is an encoder and names no title: --backbone=smollm2"),
        (
            {"backbone": "lm:nowhere", "lm_dtype": "bfloat16", **HEAL},
            "--heal_batches trains the language model, .* bfloat16: --lm_dtype=float32, or mixed",
        ),
    ],
)
@pytest.mark.parametrize("name", ["ALLMRec", "SAULA", "SAULD", "LLaRA"])
def test_what_a_backbone_cannot_is_refused_before_anything_is_read(name, asked, why, unreadable):
    with pytest.raises(HarnessError, match=f"^{name}: {why}") as caught:
        experiment(name, unreadable, **asked)
    assert "\n" not in str(caught.value)


def test_half_precision_without_healing_and_healing_with_mixed_are_prepared(unreadable):
    for asked in ({"lm_dtype": "bfloat16"}, {"lm_dtype": "mixed", **HEAL}):
        experiment("LLaRA", unreadable, "lm:nowhere", **asked)
