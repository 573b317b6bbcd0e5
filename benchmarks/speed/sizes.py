"""Sizes of the speed benchmarks: small by default, so that they also run where nobody waits; `SPEED=full` for claims."""

from __future__ import annotations

import os

FULL = os.environ.get("SPEED") == "full"
ROUNDS = 5


def size(full: int, small: int) -> int:
    return full if FULL else small
