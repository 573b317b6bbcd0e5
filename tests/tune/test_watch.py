"""What a sweep shows while it runs."""

from __future__ import annotations

import io

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_ext.tune.search import Asked, Trial, axes, grid
from recbole_ext.tune.watch import Board, Event, watching

POINTS = grid({"lr": [0.1, 0.2, 0.3], "layers": [2], "way": ["a/b", "c"]})
ASKED = Asked(POINTS, 4, [Trial(POINTS[0], 0.31, 3.0, 9), Trial(POINTS[1], None, 1.0, error="nan")])


def shown(board):
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=160).print(board.render())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_table_shows_what_runs_the_best_and_the_failures():
    board = Board("BPR sweep", "recall@20", ASKED, began=0.0)
    assert board.headline() == (
        "BPR sweep: 0 of 4 trials (2 known before), best recall@20 0.3100 at lr=0.1, way=a/b"
    )
    board.add(Event("w1", [POINTS[2]]))
    board.add(Event("w2", [POINTS[3]]))
    board.add(Event("w1", [POINTS[2]], [Trial(POINTS[2], 0.25, 2.0, 10)], [(10, 0.25)]))
    board.add(Event("w2", [POINTS[3]], [Trial(POINTS[3], 0.4, 7.0, 20)], over=True))
    board.add(Event("w3", [POINTS[4]], [Trial(POINTS[4], None, 1.0, error="no room")], over=True))
    lines = shown(board)
    assert lines[0].startswith("BPR sweep: 2 of 4 trials (2 known before), about ")
    assert "best recall@20 0.4000 at lr=0.2, way=c" in lines[0]
    cells = [line.split() for line in lines if line.split()[:1] in (["lr"], ["0.2"], ["0.3"])]
    assert cells == [
        ["lr", "way", "epochs", "seconds", "recall@20"],
        ["0.2", "a/b", "10", "0", "0.2500", "running"],
        ["0.2", "c", "20", "7", "0.4000", "over"],
        ["0.3", "a/b", "1", "no", "room"],
    ]


def test_a_family_of_points_is_one_row():
    board = Board("L3AE sweep", "recall@20", Asked(POINTS, 6))
    board.add(Event("w1", POINTS))
    assert board.rows() == [["3 values", "2 values", "", "0", "", "running"]]
    assert list(axes(POINTS)) == ["lr", "way"] and list(axes(POINTS[:1])) == []


def test_elsewhere_lines_and_tensorboard_files(tmp_path, capsys):
    with watching("BPR sweep", "recall@20", ASKED, tmp_path) as tell:
        tell(Event("w1", [POINTS[2]]))
        tell(Event("w1", [POINTS[2]], [Trial(POINTS[2], 0.3, 1.0, 4)], [(2, 0.1), (4, 0.3)]))
        tell(Event("w1", [POINTS[2]], [Trial(POINTS[2], 0.3, 1.0, 6)], [(6, 0.2)]))
        tell(Event("w1", [POINTS[2]], [Trial(POINTS[2], 0.3, 1.0, 6)], over=True))
    (folder,) = tmp_path.iterdir()
    assert folder.name == "lr=0.2,way=a_b"
    events = EventAccumulator(str(folder)).Reload()
    found = [(e.step, round(e.value, 4)) for e in events.Scalars("validation/recall@20")]
    assert found == [(2, 0.1), (4, 0.3), (6, 0.2)]
    assert capsys.readouterr().out == ""
