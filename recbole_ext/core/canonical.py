"""The one spelling of a value that is hashed or compared."""

from __future__ import annotations

import json
from typing import Any


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value that is hashed: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
