"""The three ways to write a board, under one name."""

from __future__ import annotations

from recbole_ext.leaderboard.csvfile import render_csv
from recbole_ext.leaderboard.markdown import render_markdown
from recbole_ext.leaderboard.terminal import render_text

__all__ = ["render_csv", "render_markdown", "render_text"]
