"""Titles into the places of a template, as tokens; of vectors only their positions are known here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.template import Part, Template, as_chat, load_template, make_template
from recbole_ext.lm.words import Words

if TYPE_CHECKING:
    from recbole_ext.lm.backbone import Backbone

__all__ = [
    "Filler",
    "Part",
    "Prompt",
    "Template",
    "as_chat",
    "load_template",
    "make_template",
]

_MARK = "\ue000{}\ue001"
"""What stands for a part while a chat template is put around it; of Unicode's private use."""
_MARKS = re.compile("\ue000([0-9]+)\ue001")
_Pieces = list[tuple[str, list[int]]]
"""Words with their tokens."""


@dataclass(frozen=True)
class Prompt:
    """The tokens of one filled template; they do not say what is asked about it, and no label goes in."""

    ids: list[int]
    slots: dict[str, int]
    """Name -> position in `ids`; the filler token stands there."""
    dropped: int
    """How many of the oldest titles did not fit."""
    pieces: tuple[str, ...] = field(repr=False)
    """Its words, slots marked."""

    def shown(self, backbone: Backbone | None = None) -> str:
        """Its words for people, with slots as ⟦name⟧. The frame of the backbone ([CLS], [SEP]) is left out."""
        return "".join(self.pieces)


class Filler:
    """Fills one template for one backbone.

    Literals, titles and texts are turned into tokens each by itself, once, and put one after the other, so that the tokens
    of a title depend on nothing beside it (ours; the authors' code takes the tokens of the whole prompt at once). A special
    token that is written out in a title is read as letters, or left out where the tokenizer cannot, so that none ends a
    prompt or looks like a slot.

    Args:
        template: what to fill.
        backbone: its tokenizer, chat template and context.
        max_length: most tokens of a prompt; the context where that is shorter.

    Raises:
        HarnessError: the prompt is a chat and the model knows none, or no title at all would fit.
    """

    def __init__(self, template: Template, backbone: Backbone, max_length: int) -> None:
        self.template = template
        self.length = min(max_length, backbone.context)
        """Most tokens of a prompt."""
        self._backbone = backbone
        self._tokens = Words(backbone)
        self._parts = _spaced(_around(template, backbone))
        self._before, self._after = backbone.frame
        words = sum(len(self._tokens(p.text)) for p, _ in self._parts if p.kind == "literal")
        least = len(self._before) + len(self._after) + words + len(template.slots)
        if least > self.length:
            raise HarnessError(self._too_long(f"its own words take {least:,}"))

    def fill(
        self, history: Sequence[str], target: str, text: Mapping[str, str] | None = None
    ) -> Prompt:
        """The prompt of one row. Where it would be too long the oldest titles are dropped, as many as it takes.

        Args:
            history: titles, oldest first.
            target: a title.
            text: name -> what stands at `{text:NAME}`.

        Raises:
            HarnessError: without any title of the history it is still too long.
            ValueError: `text` has other names than the template.
        """
        text = text or {}
        if set(text) != set(self.template.texts):
            raise ValueError(f"texts {sorted(text)} for {sorted(self.template.texts)}")
        target = _one_line(target)
        # Piece by piece: what is shown, its tokens. The history comes last, into the room that is left.
        filled: list[_Pieces] = []
        for part, blank in self._parts:
            words = {"literal": part.text, "target": blank + target}.get(part.kind)
            if part.kind == "text":
                words = blank + _one_line(text[part.text])
            if part.kind == "slot":
                filled.append([(f"{blank}⟦{part.text}⟧", [self._backbone.filler])])
            elif words is not None:
                filled.append([(words, self._tokens(words, part.kind != "literal"))])
            else:
                filled.append([])
        used = len(self._before) + len(self._after)
        used += sum(len(tokens) for pieces in filled for _, tokens in pieces)
        dropped = 0
        for place, (part, blank) in enumerate(self._parts):
            if part.kind == "history":
                filled[place], dropped = self._history(history, blank, self.length - used)
                used += sum(len(tokens) for _, tokens in filled[place])
            elif part.kind == "target" and self.template.cut and used > self.length:
                ((words, tokens),) = filled[place]
                kept = max(0, len(tokens) - (used - self.length))
                filled[place], used = [(words, tokens[:kept])], used - len(tokens) + kept
        if used > self.length:
            raise HarnessError(
                self._too_long(f"with {_short(target)} and no history it takes {used:,}")
            )
        return self._joined(filled, dropped)

    def _joined(self, filled: list[_Pieces], dropped: int) -> Prompt:
        ids, slots, shown = list(self._before), {}, []
        for (part, _), pieces in zip(self._parts, filled, strict=True):
            if part.kind == "slot":
                slots[part.text] = len(ids)
            for words, tokens in pieces:
                ids += tokens
                shown.append(words)
        return Prompt(ids + self._after, slots, dropped, tuple(shown))

    def _history(self, titles: Sequence[str], blank: str, room: int) -> tuple[_Pieces, int]:
        """The newest titles that fit into so many tokens, and how many older ones do not."""
        before, after = self.template.item
        joiner = self.template.joiner.removesuffix(" ")
        gap = " " if joiner != self.template.joiner else ""
        between = self._tokens(joiner)
        rest: _Pieces = []  # of the titles after the oldest kept, newest first
        fits: _Pieces = []
        kept = 0
        for title in reversed(titles):
            own = f"{before}{_one_line(title)}{after}"
            # The first of the list has the blank before the list, a later one that of the joiner.
            first = self._tokens(blank + own, True)
            if len(first) > room:
                break
            fits, kept = [*rest, (blank + own, first)], kept + 1
            later = self._tokens(gap + own, True)
            rest += [(gap + own, later), (joiner, between)]
            room -= len(later) + len(between)
        if kept == 0:
            words = blank + self.template.nothing
            fits = [(words, self._tokens(words))]
        return fits[::-1], len(titles) - kept

    def _too_long(self, why: str) -> str:
        return (
            f"prompt '{self.template.name}' does not fit into {self.length:,} tokens: {why}; raise --max_length up to "
            f"{self._backbone.context:,}, the context of {self._backbone.name}, or shorten the prompt"
        )


def _around(template: Template, backbone: Backbone) -> tuple[Part, ...]:
    """The parts of the whole prompt: with the system message and the cue, or what the chat template puts around them.

    Raises:
        HarnessError: the model has no chat template.
    """
    if not template.chat:
        head = [] if template.system is None else [Part("literal", template.system + "\n")]
        tail = [Part("literal", template.cue)] if template.cue else []
        return tuple(_merged([*head, *template.parts, *tail]))
    marked = "".join(
        part.text if part.kind == "literal" else _MARK.format(place)
        for place, part in enumerate(template.parts)
    )
    # By turns a literal and the number of a part.
    pieces = _MARKS.split(backbone.chat(template.system, marked))
    whole = [
        template.parts[int(piece)] if place % 2 else Part("literal", piece)
        for place, piece in enumerate(pieces)
    ]
    if [p for p in whole if p.kind != "literal"] != [
        p for p in template.parts if p.kind != "literal"
    ]:
        raise HarnessError(
            f"prompt '{template.name}': the chat template of {backbone.name} changes the message; use the plain form, "
            f"{template.name.removesuffix('-chat')}"
        )
    return tuple(_merged(whole))


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Literals beside each other as one."""
    out: list[Part] = []
    for part in parts:
        if part.kind == "literal" and out and out[-1].kind == "literal":
            out[-1] = Part("literal", out[-1].text + part.text)
        elif part.kind != "literal" or part.text:
            out.append(part)
    return out


def _spaced(parts: tuple[Part, ...]) -> list[tuple[Part, str]]:
    """Each part with the blank that the literal before it ended with; of the prompt's end it is the answer's."""
    out: list[tuple[Part, str]] = []
    blank = ""
    for part in parts:
        if part.kind != "literal":
            out.append((part, blank))
            blank = ""
            continue
        words = part.text.removesuffix(" ")
        blank = part.text[len(words) :]
        out.append((Part("literal", words), ""))
    return out


def _one_line(title: str) -> str:
    """Without line breaks, behind which a title could go on as another part of the prompt."""
    return " ".join(title.split())


def _short(title: str) -> str:
    return f"'{title[:40]}..'" if len(title) > 43 else f"'{title}'"
