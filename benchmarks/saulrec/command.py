"""The command line of a table of finished runs: RECORDS --dataset=NAME [--protocol=uni19]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from recbole_ext.core.errors import HarnessError


def print_table(module: str, lines: Callable[[Path, str, str], list[str]]) -> None:
    """Print what a module makes of (records, dataset, protocol), or the line that says why it does not."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("records", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--protocol", default="uni19")
    asked = parser.parse_args()
    try:
        print("\n".join(lines(asked.records, asked.dataset, asked.protocol)))
    except HarnessError as error:
        sys.exit(f"error: {error}")
