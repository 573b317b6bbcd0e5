"""Protocols: among whom a positive is ranked. A name is taken apart here and nowhere else; nothing heavy is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from recbole_ext.core.errors import HarnessError, either, nearest

KINDS = {
    "full": "full",
    "uni": "uniM",
    "pop": "popM",
    "expected@": "expected@M",
    "recbole-uni": "recbole-uniM",
}
"""Kind, which is how its names begin -> the form of its names."""
_NAME = re.compile(rf"({'|'.join(map(re.escape, KINDS))})([1-9]\d*)?")
_EXAMPLES = ("full", "uni19", "uni100", "pop100", "expected@19", "expected@100", "recbole-uni100")


@dataclass(frozen=True)
class Protocol:
    """What a name on the command line, or a key of a record's metrics, stands for."""

    name: str
    kind: str
    """Of `KINDS`."""
    m: int | None
    """Negatives of a list, None for `full`."""

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
    def anchor(self) -> str:
        """Where docs/protocols.md explains it."""
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
    # Full ranking is the one kind without a number.
    if match is None or (match[1] == "full") != (match[2] is None):
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
