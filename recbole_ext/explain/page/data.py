"""What the page of `show --html` holds: one user's lists at every strength of every concept, and the neurons behind them.

Plain data, all that is needed to turn knobs where no model is. Lists are those of `knobs.steered_list`. Items are places in
`Page.items`, concepts places in `Page.concepts`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from recbole_ext.core.errors import HarnessError
from recbole_ext.sae.mapping import MAPS
from recbole_ext.sae.steering import MODES, checked_strength
from recbole_ext.sae.steering_evaluation import ALPHAS

STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "redistribute": ALPHAS,
    "set": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
}
"""Stops of a slider where none are named: the paper's; and, ours, up to the user's strongest activation. `add` has none, since
its strengths are in the units of the code."""
MOST_STRENGTHS = 21
"""Stops of a slider."""


@dataclass(frozen=True)
class Board:
    """What is turned, and how far."""

    strengths: tuple[float, ...] = ALPHAS
    """Stops of the slider, ascending from 0; what they mean is the mode's (`sae.steering`)."""
    by: str = MAPS[0]
    """Which map leads from a concept to neurons."""
    count: int = 5
    """Neurons of a concept."""
    mode: str = MODES[0]
    k: int = 20
    """Length of the lists."""

    def __post_init__(self) -> None:
        given = ",".join(f"{alpha:g}" for alpha in self.strengths)
        if not 2 <= len(self.strengths) <= MOST_STRENGTHS or self.strengths[0] != 0:
            raise HarnessError(
                f"--alpha={given}: a slider has 2 to {MOST_STRENGTHS} strengths, the first of them 0, e.g. 0,0.1,0.2"
            )
        for before, alpha in itertools.pairwise(self.strengths):
            checked_strength(alpha, self.mode)
            if alpha <= before:
                raise HarnessError(f"--alpha={given}: the strengths of a slider must ascend")


@dataclass(frozen=True)
class Item:
    """What a reader sees of an item."""

    token: str
    title: str
    detail: str
    """Its category and brand, "" where there is none."""


@dataclass(frozen=True)
class Label:
    """A concept that a neuron stands for, and how surely: point-biserial r and F1 of `sae.mapping`."""

    concept: int
    correlation: float
    f1: float


@dataclass(frozen=True)
class Knob:
    """A neuron that a concept is turned by, and how surely it stands for it."""

    neuron: int
    correlation: float
    f1: float


@dataclass(frozen=True)
class Card:
    """A neuron."""

    share: float
    """Of the user's code, from 0 to 1."""
    characterises: Label | None
    """By TF-IDF (a); None where its items have no concept."""
    unique: Label | None
    """By TF-IDF (b)."""
    excites: int
    """Items that make it fire, each alone."""
    items: tuple[int, ...]
    """Those that excite it most."""
    codes: tuple[float, ...]
    """How much each of them does."""


@dataclass(frozen=True)
class Turned:
    """A concept, and what it makes of the list."""

    name: str
    on: int
    """Items that carry it."""
    share: float
    """Of the user's code that its neurons have before they are turned, from 0 to 1. Ours."""
    knobs: tuple[Knob, ...]
    """Best first; none where no neuron has anything to do with the concept, and then there are no lists."""
    carried: tuple[int, ...]
    """Items of the history and of the lists that carry it."""
    lists: tuple[tuple[int, ...], ...]
    """One for each strength above 0, best item first."""


@dataclass(frozen=True)
class Page:
    """A whole page."""

    model: str
    dataset: str
    run: str
    user: str
    board: Board
    neurons: int
    """Of the autoencoder, dead ones among them."""
    live: int
    history: tuple[int, ...]
    """By title."""
    held_out: tuple[int, ...]
    """Those that are on the page."""
    held_out_in_all: int
    plain: tuple[int, ...]
    """The list without the autoencoder."""
    before: tuple[int, ...]
    """The list at strength 0, which is the model's own."""
    items: tuple[Item, ...]
    cards: dict[int, Card]
    """Neuron -> its card, for those of concepts and the user's strongest."""
    concepts: tuple[Turned, ...]
    """By name."""
    strongest_concepts: tuple[int, ...]
    """Those whose neurons have the largest shares of the user's code, largest first. Ours."""
    strongest_neurons: tuple[int, ...]
    """Those with the largest shares themselves."""
    opened: int | None
    """The concept that is seen first; None where none can be turned."""
