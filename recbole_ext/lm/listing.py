"""Prompts that list items, a title and a vector each, and ask for the title of one of them.

A YAML file below `properties/prompt`:

    user: '{slot:user}{labels} stands for a user, who {text:verb} {history}. .. {candidates}.'
    item: '"{title}"{slot}{labels}'    # of the history and of the candidates
    joiner: ", "
    nothing: nothing                   # in place of an empty history
    cue: " The next one is "
    answer: '"{title}"'

`{slot:user}` is one position that a vector takes, which may be left out, `{slot}` one of each item, `{labels}` words that may be empty. As in `prompts.py`, literals and
titles are turned into tokens each by itself, a blank belonging to the word that follows, and no title is read as a part of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.shape import flaw
from recbole_ext.core.yaml_files import read_yaml
from recbole_ext.lm.prompts import Prompt
from recbole_ext.lm.template import prompt_file
from recbole_ext.lm.words import Words

if TYPE_CHECKING:
    from recbole_ext.lm.backbone import Backbone

_SHAPE = {"user": str, "item": str, "answer": str, "cue": str, "joiner?": str, "nothing?": str}
_PLACE = re.compile(r"\{([^{}]*)\}")
_TEXT = re.compile(r"text:[a-z][a-z0-9_]*")
_Parts = tuple[tuple[str, bool], ...]
"""Words, and names of places where True."""


@dataclass(frozen=True)
class ListTemplate:
    """A prompt with places for listed items."""

    name: str
    user: _Parts
    item: _Parts
    answer: tuple[str, str]
    """Before and after the title."""
    cue: str
    joiner: str
    nothing: str

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the texts that are given with each prompt."""
        return tuple(
            words.removeprefix("text:")
            for words, is_place in self.user
            if is_place and words.startswith("text:")
        )


@dataclass(frozen=True)
class Listed:
    """An item as a prompt names it."""

    title: str
    labels: str = ""


def load_list_template(name: str) -> ListTemplate:
    """The template of `properties/prompt/NAME.yaml`, or of a file of one's own.

    Raises:
        HarnessError: there is none, or it lists no items.
    """
    path = prompt_file(name)
    return make_list_template(name, read_yaml(path), str(path))


def make_list_template(name: str, values: dict[str, Any], where: str) -> ListTemplate:
    """A template of what a YAML file says that stands `where`.

    Raises:
        HarnessError: it says something else.
    """
    bad = flaw(values, _SHAPE)
    if bad is not None:
        raise HarnessError(
            f"{where}: {bad}; a prompt that lists items has user, item, cue and answer"
        )
    parts = {key: _parts(values[key]) for key in ("user", "item", "answer")}
    needed = {"user": ["slot:user", "history", "candidates"], "item": ["title", "slot"], "answer": ["title"]}  # fmt: skip
    for key, places in needed.items():
        found = [words for words, is_place in parts[key] if is_place]
        for place in places:
            if found.count(place) != 1 and not (place == "slot:user" and place not in found):
                raise HarnessError(
                    f"{where}: {key}: {{{place}}} once, not {found.count(place)} times"
                )
        more = [
            one
            for one in found
            if one not in places
            and not (one == "labels" and key != "answer")
            and not (key == "user" and _TEXT.fullmatch(one))
        ]
        if more:
            raise HarnessError(
                f"{where}: {key}: {{{more[0]}}} is no place here{nearest(more[0], places)}"
            )
    before, after = values["answer"].split("{title}")
    joiner, nothing = values.get("joiner", ", "), values.get("nothing", "nothing")
    return ListTemplate(
        name, parts["user"], parts["item"], (before, after), values["cue"], joiner, nothing
    )


def _parts(text: str) -> _Parts:
    """By turns words and names of places; empty words are left out."""
    pieces = enumerate(_PLACE.split(text))
    return tuple((piece, bool(place % 2)) for place, piece in pieces if piece or place % 2)


@dataclass(frozen=True)
class _Atom:
    """Words, or a slot."""

    words: str
    foreign: bool = False
    slot: bool = False


class ListFiller:
    """Fills one template for one backbone.

    Args:
        template: what to fill.
        backbone: its tokenizer and context.
        max_length: most tokens of a prompt with its answer; the context where that is shorter.
        title_length: most tokens of a title.
    """

    def __init__(
        self, template: ListTemplate, backbone: Backbone, max_length: int, title_length: int
    ) -> None:
        self.template, self.title_length = template, title_length
        self.length = min(max_length, backbone.context)
        self._backbone = backbone
        self._tokens = Words(backbone)
        end = getattr(getattr(backbone, "tokenizer", None), "eos_token_id", None)
        self.end: int = backbone.filler if end is None else int(end)
        """Token that ends an answer; the filler where the tokenizer has no end of a text."""

    def shortened(self, title: str) -> str:
        """A title on one line, without its last words where it has too many tokens, or without its last letters where it is one word."""
        title = " ".join(title.split())
        while len(self._tokens(f" {title}", True)) > self.title_length:
            head = title.rpartition(" ")[0]
            title = head or title[: len(title) // 2]
        return title

    def answer(self, title: str) -> list[int]:
        """Tokens of an answer, its end included."""
        blank = " " if self.template.cue.endswith(" ") else ""
        before, after = self.template.answer
        return [*self._tokens(f"{blank}{before}{title}{after}", True), self.end]

    def fill(
        self,
        history: Sequence[Listed],
        candidates: Sequence[Listed],
        text: Mapping[str, str],
        labels: str = "",
    ) -> Prompt:
        """The prompt of a user. Its slots are `user`, `item1` .. of the history that is kept, oldest first, and `candidate1` ..; where it
        would be too long for its longest answer the oldest items of the history are dropped, never a candidate.

        Args:
            history: oldest first.
            candidates: in the order in which they are named.
            text: name -> what stands at `{text:NAME}`.
            labels: of the user.

        Raises:
            HarnessError: without history it is still too long.
        """
        room = max(len(self.answer(one.title)) for one in candidates)
        for dropped in range(len(history) + 1):
            prompt = self._filled(history[dropped:], candidates, text, labels, dropped)
            if len(prompt.ids) + room <= self.length:
                return prompt
        raise HarnessError(
            f"prompt '{self.template.name}' does not fit into {self.length:,} tokens: with {len(candidates)} candidates and no history it and "
            f"its answer take {len(prompt.ids) + room:,}; lower --title_length={self.title_length}, or raise --max_length up to "
            f"{self._backbone.context:,}, the context of {self._backbone.name}"
        )

    def _filled(
        self,
        history: Sequence[Listed],
        candidates: Sequence[Listed],
        text: Mapping[str, str],
        labels: str,
        dropped: int,
    ) -> Prompt:
        atoms: list[_Atom] = []
        for words, is_place in self.template.user:
            if not is_place:
                atoms.append(_Atom(words))
            elif words == "slot:user":
                atoms.append(_Atom("user", slot=True))
            elif words == "labels":
                atoms.append(_Atom(labels))
            elif words == "history":
                atoms += self._listed(history, "item") or [_Atom(self.template.nothing)]
            elif words == "candidates":
                atoms += self._listed(candidates, "candidate")
            else:
                atoms.append(_Atom(text[words.removeprefix("text:")]))
        return self._joined([*atoms, _Atom(self.template.cue)], dropped)

    def _listed(self, items: Sequence[Listed], name: str) -> list[_Atom]:
        atoms: list[_Atom] = []
        for number, item in enumerate(items, 1):
            if number > 1:
                atoms.append(_Atom(self.template.joiner))
            own = ""  # a title and the words around it are one piece
            for words, is_place in self.template.item:
                if is_place and words in ("slot", "labels"):
                    atoms += [_Atom(own, True)] if own else []
                    slot = words == "slot"
                    atoms.append(_Atom(f"{name}{number}" if slot else item.labels, slot=slot))
                    own = ""
                else:
                    own += item.title if is_place else words
            atoms += [_Atom(own, True)] if own else []
        return atoms

    def _joined(self, atoms: Sequence[_Atom], dropped: int) -> Prompt:
        ids, slots, shown, blank = list(self._backbone.frame[0]), {}, [], ""
        for atom in atoms:
            if atom.slot:
                slots[atom.words] = len(ids)
                ids.append(self._backbone.filler)
                shown.append(f"⟦{atom.words}⟧")
                blank = ""
                continue
            words = blank + atom.words
            blank = " " if words.endswith(" ") else ""
            if words := words.removesuffix(" "):
                shown.append(words)
                ids += self._tokens(words, atom.foreign)
        return Prompt(ids, slots, dropped, tuple(shown))
