"""Whether a record that can be read has what a board takes from it."""

from __future__ import annotations

from recbole_ext.leaderboard.csvfile import render_csv
from recbole_ext.leaderboard.markdown import render_markdown
from recbole_ext.results import ResultRecord


def flaw(record: ResultRecord) -> str | None:
    """Why no board can be written from this record, None for a sound one.

    A run's id covers what was asked for and not what came out, so a result that is incomplete or no number
    passes the reader. A list of needed keys would drift from the tables: a board of this record alone is
    written instead, and the one broken record is named rather than all the others lost with it.
    """
    try:
        record.to_json()  # refuses NaN and infinity
        render_markdown([record])
        render_csv([record])
    except KeyError as error:
        return f"no {error.args[0]}"
    except (AttributeError, TypeError, ValueError) as error:
        return str(error)
    return None
