"""A backbone whose tokens are characters, so that what a prompt says can be read back from them."""

from __future__ import annotations

from dataclasses import dataclass, field

from recbole_ext.core.errors import HarnessError

FILLER, BOS, EOS = 0, 1, 2
"""None of them a character."""
_FIRST = 3


@dataclass(frozen=True)
class Characters:
    name: str = "characters"
    context: int = 10_000
    frame: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    filler: int = FILLER
    chats: bool = True
    splits: bool = True
    """Whether a special token that is written out can be read as letters."""

    def tokenise(self, text: str, literal: bool = False) -> list[int]:
        special = {"<pad>": FILLER, "<s>": BOS, "</s>": EOS}
        special = {} if literal and self.splits else special
        out: list[int] = []
        while text:
            word = next((word for word in special if text.startswith(word)), None)
            out.append(special[word] if word else ord(text[0]) + _FIRST)
            text = text[len(word or text[0]) :]
        return out

    def chat(self, system: str | None, user: str) -> str:
        if not self.chats:
            raise HarnessError(f"{self.name} has no chat template")
        return f"SYSTEM {system or ''}\nUSER {user}\nMODEL "

    def read(self, ids: list[int]) -> str:
        """Tokens as text: `_` for the filler, `^` and `$` for the frame."""
        names = {FILLER: "_", BOS: "^", EOS: "$"}
        return "".join(names.get(token) or chr(token - _FIRST) for token in ids)
