"""Prompt templates: YAML files in which titles, texts and slots for vectors have named places.

    system: what the model is asked to do (may be left out)
    user: 'Liked: {history}. Next: {slot:item} {target}'
    cue: "\\nAnswer: "              # ends a plain prompt; a chat's end is its own template's
    answer: ["Yes", "No"]
    item: '"{title}"'              # one title of the history
    joiner: ", "
    nothing: none                  # in place of an empty history

`{history}` are titles, oldest first, `{target}` one title, `{text:NAME}` a text that is given with each prompt, and
`{slot:NAME}` one position that a vector takes. `{{` and `}}` are braces. What is put in is never read as a template.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.shape import Maybe, flaw
from recbole_ext.core.yaml_files import properties, read_yaml

_CHAT = "-chat"
_SHAPE = {
    "user": str,
    "system?": Maybe(str),
    "chat?": bool,
    "cue?": str,
    "answer?": [str],
    "item?": str,
    "joiner?": str,
    "nothing?": str,
    "cut?": bool,
}
_PLACES = ("history", "target", "slot:NAME", "text:NAME")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Part:
    """One piece of a prompt."""

    kind: Literal["literal", "history", "target", "slot", "text"]
    text: str = ""
    """The words of a literal, the name of a slot or of a text."""


@dataclass(frozen=True)
class Template:
    """A prompt with places in it. A blank at the end of a literal belongs to the word that follows, since the tokens of
    most models begin with it; so the `answer` of a plain prompt begins with the blank that ends `cue`."""

    name: str
    system: str | None
    user: str
    parts: tuple[Part, ...]
    """Those of `user`."""
    chat: bool
    """Whether the model's own chat template is put around `system` and `user`."""
    cue: str
    """Behind `user` where it is no chat."""
    answer: tuple[str, str]
    """What label 1 and label 0 are called, with the blank before them."""
    item: tuple[str, str]
    """Before and after each title of the history."""
    joiner: str
    nothing: str
    cut: bool
    """Whether a target that does not fit loses its end, where otherwise it is an error."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in order."""
        return tuple(part.text for part in self.parts if part.kind == "slot")

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the texts, in order."""
        return tuple(part.text for part in self.parts if part.kind == "text")


def _folder() -> Path:
    return properties() / "prompt"


def prompt_file(name: str) -> Path:
    """`properties/prompt/NAME.yaml`, or a file of one's own.

    Raises:
        HarnessError: no prompt has that name.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = sorted(each.stem for each in _folder().glob("*.yaml"))
    if name not in known:
        raise HarnessError(
            f"prompt '{name}' is unknown{nearest(name, known)}; there are {', '.join(known)}, those that list no items also as "
            f"NAME{_CHAT}, or a file of your own, NAME.yaml"
        )
    return _folder() / f"{name}.yaml"


def load_template(name: str | Path) -> Template:
    """The template of `properties/prompt/NAME.yaml`, or of a file of one's own; `NAME-chat` is the same as a chat.

    Raises:
        HarnessError: there is none, or it is not a template.
    """
    given = str(name)
    plain = given.removesuffix(_CHAT)
    chat = plain != given and not (_folder() / f"{given}.yaml").is_file()
    path = prompt_file(plain if chat else given)
    found = make_template(given, read_yaml(path), str(path))
    return as_chat(found) if chat else found


def make_template(name: str, values: dict[str, Any], where: str) -> Template:
    """A template of what a YAML file says that stands `where`.

    Raises:
        HarnessError: it says something else.
    """
    bad = flaw(values, _SHAPE)
    if bad is not None:
        raise HarnessError(f"{where}: {bad}")
    known = [key.rstrip("?") for key in _SHAPE]
    for key in values:
        if key not in known:
            raise HarnessError(
                f"{where}: '{key}' is no key of a prompt{nearest(str(key), known)}; keys are {', '.join(known)}"
            )
    answer = values.get("answer", ["Yes", "No"])
    if len(answer) != 2 or answer[0] == answer[1] or not all(map(str.strip, answer)):
        raise HarnessError(f"{where}: answer: two different words, that of label 1 first")
    parts = _parts(values["user"], f"{where}: user")
    if all(part.kind != "target" for part in parts):
        raise HarnessError(
            f"{where}: user: no {{target}}, which says where the title that is asked about stands"
        )
    system = values.get("system")
    if system is not None:
        system = _words(system, f"{where}: system")
    item = values.get("item", '"{title}"')
    before, *after = item.split("{title}")
    if len(after) != 1:
        raise HarnessError(f"{where}: item: {{title}} once, not {item!r}")
    plain = Template(
        name,
        system,
        values["user"],
        parts,
        False,
        values.get("cue", ""),
        (answer[0], answer[1]),
        (before, after[0]),
        values.get("joiner", ", "),
        values.get("nothing", "none"),
        values.get("cut", False),
    )
    if values.get("chat", False):
        return as_chat(plain)
    blank = " " if plain.cue.endswith(" ") else ""
    return replace(plain, answer=(blank + answer[0], blank + answer[1]))


def as_chat(template: Template) -> Template:
    """The same prompt as a turn of a chat: without the cue, and the answer without a blank, for it begins a turn."""
    yes, no = (word.strip() for word in template.answer)
    return replace(template, chat=True, cue="", answer=(yes, no))


def _parts(text: str, where: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for literal, field, name, conversion in _read(text, where):
        if literal:
            # `{{` ends a piece of the formatter's, not of the prompt.
            if parts and parts[-1].kind == "literal":
                literal = parts.pop().text + literal
            parts.append(Part("literal", literal))
        if field is None:
            continue
        part = _part(field, name or "", bool(conversion), where)
        if part in parts:
            shown = f"{part.kind}:{part.text}" if part.text else part.kind
            raise HarnessError(
                f"{where}: {{{shown}}} stands twice; each place has a name of its own"
            )
        parts.append(part)
    return tuple(parts)


def _part(field: str, name: str, conversion: bool, where: str) -> Part:
    shown = f"{field}:{name}" if name else field
    if field in ("slot", "text") and not conversion:
        if _NAME.fullmatch(name):
            return Part("slot" if field == "slot" else "text", name)
        raise HarnessError(
            f"{where}: {{{shown}}}: write {{{field}:NAME}}, a name of small letters, digits and _"
        )
    if field in ("history", "target") and not name and not conversion:
        return Part("history" if field == "history" else "target")
    raise HarnessError(
        f"{where}: {{{shown}}} is no place{nearest(shown, ['history', 'target', 'slot', 'text'])}; there are "
        f"{', '.join(f'{{{place}}}' for place in _PLACES)}, and {{{{ and }}}} for braces"
    )


def _words(text: str, where: str) -> str:
    """A text without places."""
    pieces = list(_read(text, where))
    if any(field is not None for _, field, _, _ in pieces):
        raise HarnessError(f"{where}: places such as {{target}} stand in user only")
    return "".join(literal for literal, *_ in pieces)


def _read(text: str, where: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(Formatter().parse(text))
    except ValueError as error:
        raise HarnessError(f"{where}: {error}; write {{{{ and }}}} for braces") from None
