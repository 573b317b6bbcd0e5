"""Words as tokens, each piece of a prompt by itself and once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recbole_ext.lm.backbone import Backbone


class Words:
    """Tokens of words; of foreign ones, which somebody else wrote, none means something to the model or to us."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._known: dict[tuple[str, bool], list[int]] = {}
        self._special = {backbone.filler, *backbone.frame[0], *backbone.frame[1]}

    def __call__(self, words: str, foreign: bool = False) -> list[int]:
        """Their token ids."""
        key = (words, foreign)
        if key not in self._known:
            tokens = self._backbone.tokenise(words, literal=foreign) if words else []
            self._known[key] = [t for t in tokens if not (foreign and t in self._special)]
        return self._known[key]
