"""Protocols: among whom a positive is ranked, or that labelled pairs are told apart. A name is taken apart here and nowhere
else; nothing heavy is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from recbole_ext.core.errors import HarnessError, either, nearest

Scoring = Literal["full", "candidates", "pointwise"]
"""What a model scores: every item for a user, the items of a given list, or single (user, item) pairs."""
SCORINGS: tuple[Scoring, ...] = get_args(Scoring)
SCORES = {
    "full": "scores every item",
    "candidates": "scores given lists only",
    "pointwise": "scores single pairs only",
}
"""Scoring -> what a model with it does."""

KINDS = {
    "full": "full",
    "uni": "uniM",
    "pop": "popM",
    "expected@": "expected@M",
    "recbole-uni": "recbole-uniM",
    "ctr": "ctr",
}
"""Kind, which is how its names begin -> the form of its names."""
_NAME = re.compile(rf"({'|'.join(map(re.escape, KINDS))})([1-9]\d*)?")
_NUMBERLESS = {kind for kind, form in KINDS.items() if kind == form}
_SERVED_BY: dict[str, tuple[Scoring, ...]] = {
    "uni": ("full", "candidates", "pointwise"),
    "pop": ("full", "candidates", "pointwise"),
    "ctr": ("full", "pointwise"),
}
"""Kind -> what scores can serve it; the others need a score of every item."""
_EXAMPLES = (
    "full",
    "uni19",
    "uni100",
    "pop100",
    "expected@19",
    "expected@100",
    "recbole-uni100",
    "ctr",
)


@dataclass(frozen=True)
class Protocol:
    """What a name on the command line, or a key of a record's metrics, stands for."""

    name: str
    kind: str
    """Of `KINDS`."""
    m: int | None
    """Negatives of a list, None where there are no lists."""

    @property
    def drawn(self) -> bool:
        """Frozen lists are drawn, several to a positive: it needs enough negatives, and has a spread over draws."""
        return self.kind in ("uni", "pop")

    @property
    def corrects(self) -> bool:
        """Full ranking can be estimated from it: its lists are uniform."""
        return self.kind == "uni"

    @property
    def closed(self) -> bool:
        """A mean over all draws in closed form, whose drawn twin says the same."""
        return self.kind == "expected@"

    @property
    def by_recbole(self) -> bool:
        """RecBole's own evaluator scores the model, and tells means only."""
        return self.kind == "recbole-uni"

    @property
    def labelled(self) -> bool:
        """Pairs of the test part are told apart by their labels, and nothing is ranked among other items."""
        return self.kind == "ctr"

    @property
    def sampled(self) -> bool:
        """Ranked among some negatives only."""
        return self.m is not None

    def unserved(self, scoring: Scoring) -> str | None:
        """Why a model that scores so has no number under it; None where it has."""
        if scoring in _SERVED_BY.get(self.kind, ("full",)):
            return None
        return f"the model {SCORES[scoring]}"

    @property
    def anchor(self) -> str:
        """Where docs/protocols.md explains it."""
        if self.labelled:
            return "labelled-pairs-ctr"
        if self.closed:
            return "expected-sampled-metric"
        return "recboles-own-sampled-protocol" if self.by_recbole else "who-is-ranked-against-whom"

    @property
    def joint(self) -> bool:
        """A user's whole list is ranked, all its positives in it."""
        return self.kind == "full"


@cache
def parsed(name: str) -> Protocol | None:
    """The protocol of a name, None for a name that is none."""
    match = _NAME.fullmatch(name)
    if match is None or (match[1] in _NUMBERLESS) != (match[2] is None):
        return None
    return Protocol(name, match[1], int(match[2]) if match[2] else None)


def protocol_of(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        HarnessError: no such protocol.
    """
    found = parsed(name)
    if found is None:
        forms = either(KINDS.values())
        raise HarnessError(
            f"protocol '{name}' is unknown ({forms}, e.g. uni100){nearest(name, _EXAMPLES)}"
        )
    return found


def at_most(kind: str, m: int) -> str:
    """The protocol with the most negatives that there are, as it is typed; nothing where there are none."""
    return f" (--protocols=full,{kind}{m})" if m > 0 else ""
