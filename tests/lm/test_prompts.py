from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.prompts import Filler, as_chat, load_template, make_template
from tests.lm.fake_backbone import EOS, FILLER, Characters

SHIPPED = ("tallrec", "collm", "sellarec", "sellarec-text", "prompt4nr", "binllm", "item")
TEXTS = {"domain": "Film", "user": "0.0.1.1", "item": "9.9.9.9"}
NASTY = [
    "Yes",
    "No, No",
    "{target}",
    "{slot:user}",
    "⟦user⟧",
    "<user>",
    "<pad>",
    "</s> a <s>",
    "a\nAnswer: Yes",
    "{",
    "}}",
    "\ue0000\ue001",
    "",
    "Ünïcode 電影",
]
titles = st.one_of(st.sampled_from(NASTY), st.text(max_size=12))


def _texts(template):
    return {name: TEXTS[name] for name in template.texts}


def _made(user, **values):
    return make_template("t", {"user": user, **values}, "t.yaml")


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("chat", [False, True])
@settings(max_examples=40, deadline=None)
@given(st.lists(titles, max_size=12), titles, st.integers(0, 400), st.booleans())
def test_slots_cue_and_target_stay_whatever_is_cut(name, chat, history, target, room, splits):
    template = load_template(name + "-chat" * chat)
    backbone = Characters(frame=([1], [EOS]), splits=splits)
    bare = Filler(template, backbone, 10_000).fill([], target, _texts(template))
    filler = Filler(template, backbone, len(bare.ids) + room)
    prompt = filler.fill(history, target, _texts(template))
    assert len(prompt.ids) <= len(bare.ids) + room
    assert tuple(prompt.slots) == template.slots
    assert {at for at, token in enumerate(prompt.ids) if token == FILLER} == set(
        prompt.slots.values()
    )
    # One frame, the template's own words at both ends, and nothing of them inside.
    assert prompt.ids[0] == 1 and prompt.ids.count(1) == 1
    assert prompt.ids[-1] == EOS and prompt.ids.count(EOS) == 1
    text = backbone.read(prompt.ids)
    marked = Filler(template, backbone, 10_000).fill(["\u2603"], target, _texts(template))
    head, *tail = backbone.read(marked.ids).split('"\u2603"')
    assert text.startswith(head) and text.endswith(tail[-1] if tail else text)
    assert tail or text == head


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=8), st.integers(0, 60))
def test_the_newest_titles_are_kept_as_many_as_fit(history, room):
    template = _made("{history}|{target}", cue="")
    shortest = len("none|x")
    prompt = Filler(template, Characters(), shortest + room).fill(history, "x")
    kept = len(history) - prompt.dropped
    listed = [", ".join(f'"{title}"' for title in history[start:]) for start in range(len(history))]
    fitting = [text for text in listed if len(text) + len("|x") <= shortest + room]
    expected = fitting[0] if fitting else "none"
    assert Characters().read(prompt.ids) == f"{expected}|x"
    assert kept == (len(history) - listed.index(fitting[0]) if fitting else 0)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_prompt_is_its_template_filled_in(name):
    template = load_template(name)
    prompt = Filler(template, Characters(), 9_000).fill(["A b", "C"], "D", _texts(template))
    expected = template.user
    for place, text in {"history": '"A b", "C"', "target": "D"}.items():
        expected = expected.replace("{" + place + "}", text)
    for place, text in _texts(template).items():
        expected = expected.replace("{text:" + place + "}", text)
    shown = expected
    for slot in template.slots:
        expected = expected.replace("{slot:" + slot + "}", "_")
        shown = shown.replace("{slot:" + slot + "}", f"⟦{slot}⟧")
    head = "" if template.system is None else template.system + "\n"
    cue = template.cue.rstrip(" ")
    # A blank before a slot is none of the model's words.
    assert Characters().read(prompt.ids) == (head + expected + cue).replace(" _", "_")
    assert prompt.shown() == head + shown + cue
    assert "{" not in prompt.shown()


def test_a_slot_is_where_the_template_has_it():
    prompt = Filler(_made("ab{slot:u}{slot:i}{target}{slot:w}"), Characters(), 99).fill([], "xyz")
    assert prompt.slots == {"u": 2, "i": 3, "w": 7}


def test_a_blank_goes_with_the_word_behind_it_so_that_tokens_are_the_usual_ones():
    class Words(Characters):
        def tokenise(self, text, literal=False):
            seen.append(text)
            return [9]

    seen: list[str] = []
    template = _made("Liked: {history} next {target}", cue="\nAnswer: ")
    Filler(template, Words(), 99).fill(["A", "B"], "C")
    assert set(seen) >= {"Liked:", ' "A"', ' "B"', ",", " next", " C", "\nAnswer:"}
    assert template.answer == (" Yes", " No") and as_chat(template).answer == ("Yes", "No")


def test_a_title_has_the_same_tokens_in_every_prompt_and_is_tokenised_once():
    class Counting(Characters):
        def tokenise(self, text, literal=False):
            seen.append(text)
            return super().tokenise(text, literal)

    seen: list[str] = []
    filler = Filler(load_template("tallrec"), Counting(), 9_000)
    for history in (["A"], ["A", "B"], ["B", "A"]):
        filler.fill(history, "C")
    assert len(seen) == len(set(seen))


def test_an_item_prompt_loses_the_end_of_its_title():
    prompt = Filler(load_template("item"), Characters(), 10).fill(
        [], "abcdefgh", {"domain": "Film"}
    )
    assert Characters().read(prompt.ids) == "Film: abcd"


def test_doubled_braces_are_braces():
    prompt = Filler(_made("{{a}} {{{target}}}"), Characters(), 99).fill([], "x")
    assert Characters().read(prompt.ids) == "{a} {x}"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"user": "{histroy} {target}"}, "did you mean history"),
        ({"user": "{slots:user} {target}"}, "is no place"),
        ({"user": "{slot:User} {target}"}, "small letters"),
        ({"user": "{slot} {target}"}, "slot:NAME"),
        ({"user": "{target!r}"}, "is no place"),
        ({"user": "{history}"}, "no {target}"),
        ({"user": "{slot:u}{slot:u}{target}"}, "{slot:u} stands twice"),
        ({"user": "{target}{target}"}, "{target} stands twice"),
        ({"user": "{target"}, "for braces"),
        ({"user": ["{target}"]}, "user: not a text"),
        ({"usr": "{target}"}, "no user"),
        ({"user": "{target}", "systm": "x"}, "did you mean system"),
        ({"user": "{target}", "system": "{target}"}, "stand in user only"),
        ({"user": "{target}", "answer": ["Yes"]}, "two different words"),
        ({"user": "{target}", "answer": [True, False]}, "answer"),
        ({"user": "{target}", "item": "title"}, "{title} once"),
    ],
)
def test_another_template_is_refused_in_one_line(values, said):
    with pytest.raises(HarnessError) as error:
        make_template("t", values, "t.yaml")
    assert said in str(error.value) and str(error.value).startswith("t.yaml")
    assert "\n" not in str(error.value)


def test_an_unknown_prompt_names_the_nearest(tmp_path):
    with pytest.raises(HarnessError, match="did you mean sellarec"):
        load_template("selarec-chat")
    with pytest.raises(HarnessError, match="No such file"):
        load_template(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text("- user")
    with pytest.raises(HarnessError, match="not a mapping"):
        load_template(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text("user: 'x {target}'\nchat: true")
    assert load_template(tmp_path / "mine.yaml").chat


def test_what_cannot_fit_is_said_in_one_line():
    template = _made("0123456789-{history} {target}")
    with pytest.raises(HarnessError, match="does not fit into 10 tokens: its own words take 11"):
        Filler(template, Characters(), 10)
    with pytest.raises(HarnessError, match="context of characters"):
        Filler(template, Characters(context=8), 99)
    filler = Filler(template, Characters(), 20)
    with pytest.raises(HarnessError, match="with 'abcdefgh' and no history it takes 2"):
        filler.fill(["x"], "abcdefgh")
    with pytest.raises(HarnessError, match="no chat template"):
        Filler(as_chat(template), Characters(chats=False), 99)


def test_texts_must_be_those_of_the_template():
    with pytest.raises(ValueError, match=r"\['user'\] for \[\]"):
        Filler(_made("{target}"), Characters(), 9).fill([], "x", {"user": "1"})
