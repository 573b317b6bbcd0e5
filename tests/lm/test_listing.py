"""Prompts that list items: what stands where, what is left out where it is too long, and templates that are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.yaml_files import properties
from recbole_ext.lm.batches import padded, splice_listed
from recbole_ext.lm.listing import Listed, ListFiller, load_list_template, make_list_template
from recbole_ext.lm.prompts import Prompt
from tests.lm.fake_backbone import BOS, EOS, FILLER, Characters

VALUES = {
    "user": "{slot:user}{labels} has {text:verb} {history}. One of: {candidates}.",
    "item": '"{title}"{slot}{labels}',
    "cue": " It is ",
    "answer": '"{title}"',
    "nothing": "none",
}
TEXT = {"verb": "bought"}


def filler(most=400, title=20, backbone=None, **given):
    template = make_list_template("t", {**VALUES, **given}, "here")
    return ListFiller(template, backbone or Characters(), most, title)


def listed(*titles, labels=""):
    return [Listed(title, labels) for title in titles]


def test_a_prompt_is_its_words_and_each_slot_is_one_token():
    prompt = filler().fill(listed("Ball", "Kite"), listed("Cat", "Dog"), TEXT)
    read = Characters().read(prompt.ids)
    assert read == '_ has bought "Ball"_, "Kite"_. One of: "Cat"_, "Dog"_. It is'
    assert list(prompt.slots) == ["user", "item1", "item2", "candidate1", "candidate2"]
    assert [read[place] for place in prompt.slots.values()] == ["_"] * 5
    assert sorted(prompt.slots.values()) == [i for i, letter in enumerate(read) if letter == "_"]
    assert prompt.shown() == read.replace("_", "⟦{}⟧").format(*prompt.slots)


def test_labels_stand_behind_their_slots():
    labels = "[3, 1]"
    prompt = filler().fill(listed("Ball", labels=labels), listed("Cat", labels="[2]"), TEXT, "[7]")
    said = Characters().read(prompt.ids)
    assert said == '_[7] has bought "Ball"_[3, 1]. One of: "Cat"_[2]. It is'


def test_the_users_slot_may_be_left_out():
    made = filler(user="Had {history}. One of: {candidates}.")
    prompt = made.fill(listed("Ball"), listed("Cat"), {})
    assert Characters().read(prompt.ids) == 'Had "Ball"_. One of: "Cat"_. It is'
    assert list(prompt.slots) == ["item1", "candidate1"]


def test_an_empty_history_has_words_of_its_own():
    said = Characters().read(filler().fill([], listed("Cat"), TEXT).ids)
    assert said == '_ has bought none. One of: "Cat"_. It is'


def test_an_answer_goes_on_where_the_prompt_ends_and_ends_with_the_end():
    backbone = Characters(frame=([BOS], []))
    made = filler(backbone=backbone)
    assert (
        backbone.read(made.answer("Cat")) == ' "Cat"_'
        and made.answer("Cat")[-1] == made.end == FILLER
    )
    assert backbone.read(made.fill([], listed("Cat"), TEXT).ids).startswith("^_ has")


@pytest.mark.parametrize("title", ["</s> and <pad>", '{slot} {title} "x', "a\nb", "⟦user⟧"])
def test_a_title_is_never_read_as_a_part_of_the_prompt(title):
    prompt = filler(backbone=Characters(splits=False)).fill(
        [], [Listed(filler().shortened(title))], TEXT
    )
    assert prompt.ids.count(FILLER) == 2 and EOS not in prompt.ids[: prompt.slots["user"]]
    assert "\n" not in Characters().read(prompt.ids)


def test_the_oldest_items_are_left_out_and_no_candidate_is():
    history, candidates = listed("aaaa", "bbbb", "cccc"), listed("Cat", "Doggy")
    whole = filler().fill(history, candidates, TEXT)
    room = len(filler().answer("Doggy"))
    for most, dropped in ((len(whole.ids) + room, 0), (len(whole.ids) + room - 1, 1)):
        prompt = filler(most).fill(history, candidates, TEXT)
        assert prompt.dropped == dropped and len(prompt.ids) + room <= most
        expected = filler().fill(history[dropped:], candidates, TEXT)
        assert prompt.ids == expected.ids and prompt.slots == expected.slots
    least = len(filler().fill([], candidates, TEXT).ids) + room
    assert filler(least).fill(history, candidates, TEXT).dropped == 3
    with pytest.raises(HarnessError, match=r"does not fit into .* lower --title_length=20"):
        filler(least - 1).fill(history, candidates, TEXT)
    small = Characters(context=least - 1)
    with pytest.raises(HarnessError, match="the context of characters"):
        filler(least, backbone=small).fill(history, candidates, TEXT)


@given(st.text(st.characters(codec="ascii", categories=("L", "P", "Zs")), max_size=60))
def test_a_title_is_cut_at_a_word_and_fits(title):
    made = filler(title=12)
    short = made.shortened(title)
    assert len(short) + 1 <= 12 and " ".join(title.split()).startswith(short)
    assert made.shortened(short) == short


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"user": "{history}"}, "user: {candidates} once, not 0"),
        ({"user": "{slot:user}{slot:user}{history}{candidates}"}, "user: {slot:user} once, not 2"),
        ({"user": "{slot:user}{history} {candidates}{candidates}"}, "{candidates} once, not 2"),
        ({"item": "{title}"}, "item: {slot} once"),
        ({"item": "{title}{slot}{price}"}, "{price} is no place"),
        ({"answer": "x"}, "answer: {title} once"),
        ({"cue": 3}, "cue: not a text"),
    ],
)
def test_what_lists_no_items_is_no_template(given, why):
    with pytest.raises(HarnessError, match=f"here: .*{why.replace('{', '[{]')}"):
        filler(**given)


def test_the_shipped_template_is_one_and_an_unknown_one_is_said():
    assert load_list_template("allmrec").texts == ("verb", "noun")
    path = properties() / "prompt" / "allmrec.yaml"
    assert replace(load_list_template(str(path)), name="allmrec") == load_list_template("allmrec")
    with pytest.raises(HarnessError, match=r"'allmrek' is unknown.*allmrec"):
        load_list_template("allmrek")
    with pytest.raises(HarnessError, match="a prompt that lists items has"):
        load_list_template("tallrec")


def test_vectors_are_put_at_any_number_of_slots_and_gradients_reach_them():
    prompts = [Prompt([1, 0, 0], {"a": 1, "b": 2}, 0, ()), Prompt([0], {"a": 0}, 0, ())]
    ids, mask = padded([p.ids for p in prompts], 9)
    assert ids.tolist() == [[1, 0, 0], [0, 9, 9]] and mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    embeds, vectors = torch.randn(2, 3, 4), torch.randn(3, 4, requires_grad=True)
    found = splice_listed(embeds, prompts, vectors)
    expected = embeds.clone()
    for vector, (row, place) in zip(vectors, ((0, 1), (0, 2), (1, 0)), strict=True):
        expected[row, place] = vector
    assert torch.equal(found, expected)
    found.sum().backward()
    assert torch.equal(vectors.grad, torch.ones(3, 4))
    with pytest.raises(ValueError, match="3 slots take"):
        splice_listed(embeds, prompts, vectors[:2])
