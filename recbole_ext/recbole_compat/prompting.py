"""The prompts of a model that asks a language model, in items that count from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from recbole_ext.lm.prompts import Prompt


class Prompting(Protocol):
    """What a model has that offers `registry.PROMPTS`."""

    def prompt_of(self, item: int, row: int) -> Prompt:
        """The filled prompt by which it scores a pair, with its words.

        Args:
            item: RecBole id of the target.
            row: place among the interactions, of which what was liked before is named.
        """


def prompt_of(model: Any, item: int, row: int) -> Prompt:
    """The prompt by which a trained model scores a row: an item that counts from 0, and a place among the interactions."""
    asked: Prompting = model
    return asked.prompt_of(item + 1, row)
