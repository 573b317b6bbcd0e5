"""The board of a folder of records as a pandas frame, for notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.core.errors import HarnessError
from recbole_ext.core.progress import say
from recbole_ext.leaderboard.board import load_records
from recbole_ext.leaderboard.data import summary_lines
from recbole_ext.leaderboard.groups import groups
from recbole_ext.leaderboard.rows import sections

if TYPE_CHECKING:
    import pandas as pd


NUMBERS = ("mean", "low", "high", "sd_over_seeds", "mean_over_splits", "sd_over_splits")
COUNTS = ("tuned_points", "seeds", "place", "splits")
"""Columns by type; those without a value hold NA. The others are words."""


def board_frame(records: str | Path = "runs") -> pd.DataFrame:
    """What the pages of a board print: a line per row of a table of models, protocol and metric, as `summary.csv` has them.

    A place is among the rows of one dataset, split and table; where candidates differ between rows there is none. Unreadable records are
    left out with a line that says so.

    Args:
        records: a folder of runs, or of published records.

    Raises:
        HarnessError: the folder is not there.
    """
    import pandas as pd

    folder = Path(records).expanduser()
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder of records; `run` writes into runs/, or where --records=DIR says")  # fmt: skip
    found, damaged = load_records(folder)
    for error in damaged:
        say(f"left out: {error}")
    names, *lines = summary_lines(groups(sections(found)))
    frame = pd.DataFrame([list(line) for line in lines], columns=[str(name) for name in names])
    for name in NUMBERS:
        frame[name] = pd.to_numeric(frame[name]).astype("float64")
    for name in COUNTS:
        frame[name] = pd.to_numeric(frame[name]).astype("Int64")
    return frame
