"""Staged grids, points drawn from them, and trials that are kept."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.core.errors import HarnessError
from recbole_ext.tune.search import Space, Trial, grid, search
from recbole_ext.tune.trials import TrialLog, remembered

STAGES = [{"a": [1, 2, 3], "b": [0]}, {"b": [0, 10, 20]}]


def worth(point):
    return -((point["a"] - 2) ** 2) + point.get("b", 0) / 10


def evaluate(asked):
    for point in reversed(asked.untried):  # any order
        yield Trial(point, worth(point), 1.0)


def test_each_stage_starts_from_the_best_point_so_far():
    found = search(Space(STAGES), evaluate)
    assert found.best == {"a": 2, "b": 20} and found.value == 2.0
    assert [t.point for t in found.trials][3:] == [{"a": 2, "b": b} for b in (0, 10, 20)]
    assert len(Space(STAGES)) == len(found.trials) == 6


def test_ties_go_to_the_point_that_was_written_first():
    found = search(
        Space([{"a": [3, 1, 2]}]),
        lambda asked: (Trial(p, 0.5, 0.0) for p in asked.points[::-1]),
    )
    assert found.best == {"a": 3}


@given(st.integers(1, 12), st.integers(0, 5))
def test_a_limit_draws_different_points_in_the_order_written(limit, seed):
    stage = {"a": list(range(4)), "b": ["x", "y"]}
    every = grid(stage)
    space = Space([stage], limit, seed)
    points = space.points(0)
    assert len(points) == min(limit, 8) == len(space)
    assert points == [p for p in every if p in points]
    assert points == Space([stage], limit, seed).points(0)


def test_the_drawn_points_depend_on_the_seed_and_are_pinned():
    stage = {"a": list(range(100))}
    assert [p["a"] for p in Space([stage], 4, 2026).points(0)] == [15, 40, 64, 65]
    assert Space([stage], 4, 1).points(0) != Space([stage], 4, 2026).points(0)


def test_a_failed_trial_is_a_row_and_not_the_end():
    def breaks(asked):
        for point in asked.points:
            bad = point["a"] == 2
            yield Trial(point, None if bad else worth(point), 1.0, error="nan" if bad else None)

    found = search(Space(STAGES[:1]), breaks)
    assert found.best == {"a": 1, "b": 0} and [t.error for t in found.trials] == [None, "nan", None]
    with pytest.raises(HarnessError, match="all 3 trials failed; the last: no luck"):
        search(
            Space(STAGES[:1]),
            lambda asked: (Trial(p, None, 1.0, error="no luck") for p in asked.points),
        )


def test_a_search_that_was_killed_goes_on_where_it_stopped(tmp_path):
    log = TrialLog(tmp_path / "deep" / "trials.jsonl")
    tried = []

    def dies(asked):
        for number, point in enumerate(asked.untried):
            if number == 2:
                raise KeyboardInterrupt
            tried.append(point)
            yield Trial(point, worth(point), 1.5, 7)

    with pytest.raises(KeyboardInterrupt):
        search(Space(STAGES), remembered(dies, log, {"c": 5}))
    with log.path.open("a") as file:
        file.write('{"params": {"a": 3, "b"')  # the line that a kill tore

    def goes_on(asked):
        tried.extend(asked.untried)
        return evaluate(asked)

    again = TrialLog(log.path)
    found = search(Space(STAGES), remembered(goes_on, again, {"c": 5}))
    assert found.best == {"a": 2, "b": 20}
    assert tried == [
        {"a": 1, "b": 0},
        {"a": 2, "b": 0},
        {"a": 3, "b": 0},
        {"a": 2, "b": 10},
        {"a": 2, "b": 20},
    ]
    assert found.trials[0] == Trial({"a": 1, "b": 0}, -1.0, 1.5, 7)
    # Every finished trial is a whole line, the torn one stands alone.
    lines = log.path.read_text().splitlines()
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    assert len(whole) == 5 and len(lines) == 6


def test_other_defaults_are_other_trials(tmp_path):
    log = TrialLog(tmp_path / "t.jsonl")
    search(Space(STAGES[:1]), remembered(evaluate, log, {"c": 5}))
    made = []

    def counted(asked):
        made.extend(asked.untried)
        return evaluate(asked)

    search(Space(STAGES[:1]), remembered(counted, TrialLog(log.path), {"c": 5}))
    assert made == []
    search(Space(STAGES[:1]), remembered(counted, TrialLog(log.path), {"c": 6}))
    assert len(made) == 3


def test_an_adaptive_search_keeps_its_budget_its_order_and_what_it_knows(tmp_path):
    space = Space([{"a": list(range(8))}], limit=3, adaptive=True)
    assert len(space) == 3 and len(space.points(0)) == 8 and space.searcher == "optuna"
    wanted = iter([7, 2, 5, 0, 1])
    told = []

    def chooses(asked):
        told.append((asked.count, [t.point["a"] for t in asked.known]))
        for a in [next(wanted) for _ in range(asked.count)]:
            yield Trial({"a": a}, worth({"a": a}), 1.0)

    log = TrialLog(tmp_path / "t.jsonl")
    found = search(space, remembered(chooses, log, {}))
    assert [t.point["a"] for t in found.trials] == [7, 2, 5] and found.best == {"a": 2}
    # The same search again asks for nothing, a wider one for what it lacks, a narrower one reads the first trials.
    assert search(space, remembered(chooses, TrialLog(log.path), {})) == found
    wider = dataclasses.replace(space, limit=5)
    again = search(wider, remembered(chooses, TrialLog(log.path), {}))
    assert [t.point["a"] for t in again.trials] == [7, 2, 5, 0, 1]
    narrow = search(
        dataclasses.replace(space, limit=1), remembered(chooses, TrialLog(log.path), {})
    )
    assert [t.point["a"] for t in narrow.trials] == [7]
    assert told == [(3, []), (2, [7, 2, 5])]
