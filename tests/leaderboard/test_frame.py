"""The board as a pandas frame."""

from __future__ import annotations

import pandas as pd
import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.leaderboard.frame import board_frame
from tests.leaderboard.factory import BOARD


def test_a_frame_has_the_lines_of_the_summary_with_numbers(tmp_path, capsys):
    for record in BOARD:
        (tmp_path / f"{record.run_id}.json").write_text(record.to_json())
    (tmp_path / f"{'0' * 16}.json").write_text("{}")
    frame = board_frame(tmp_path)
    assert "left out" in capsys.readouterr().err
    one = frame[(frame["dataset"] == "d") & (frame["protocol"] == "full") & (frame["metric"] == "ndcg@10")]  # fmt: skip
    assert [*one["model"]] == ["A", "B", "C", "D"] and [*one["place"]] == [1, 2, 3, 4]
    assert one["mean"].tolist() == [0.5, 0.4, 0.31, 0.2]
    assert one["tuned_points"].isna().tolist() == [True, False, True, True]
    assert one["seeds"].sum() == 5 and one["sd_over_seeds"].notna().sum() == 1


def test_no_records_are_an_empty_frame_and_no_folder_is_a_line(tmp_path):
    frame = board_frame(tmp_path)
    assert frame.empty and "place" in frame and frame["mean"].dtype.kind == "f"
    assert isinstance(frame, pd.DataFrame)
    with pytest.raises(HarnessError, match="no such folder of records"):
        board_frame(tmp_path / "gone")
