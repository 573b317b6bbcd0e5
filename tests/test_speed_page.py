"""What the page of the speed benchmarks says of the machine that they ran on."""

from __future__ import annotations

import dataclasses
import json

from benchmarks.speed.measure import (
    Figure,
    Machine,
    as_line,
    busy_share,
    from_line,
    least_seconds,
    this_machine,
    vector_instructions,
)
from benchmarks.speed.page import figures_of, page

HERE = Machine("EPYC", "AVX2", 2, 0.01, 0.2)
COUNTS = Figure("counts, in score products", 1.6249, "< 2", True, HERE)


def test_a_benchmark_that_only_checks_has_no_figure(tmp_path):
    tests = [{"extra_info": {}}, {"extra_info": {"figures": [as_line(COUNTS)]}}]
    (tmp_path / "speed.json").write_text(json.dumps({"benchmarks": tests}))
    assert figures_of(tmp_path / "speed.json") == [COUNTS]


def test_a_figure_stands_under_its_machine_with_its_bound_and_whether_that_was_idle():
    busy = dataclasses.replace(HERE, busy=0.734, load=3.14)
    other = Machine("Xeon", "AVX-512", 1, None, 0.0)
    figures = [
        COUNTS,
        dataclasses.replace(COUNTS, what="sweep", machine=busy),
        dataclasses.replace(COUNTS, value=1.2, full=False, machine=other),
    ]
    text = page(from_line(json.loads(json.dumps(as_line(one)))) for one in figures)
    first, second = text.split("\n## ")[1:]
    assert first.startswith("EPYC, AVX2, 2 threads\n")
    assert "| counts, in score products | 1.62 | < 2 | idle: 1% busy, load 0.2 |" in first
    assert "| sweep | 1.62 | < 2 | not idle: 73% busy, load 3.1 |" in first
    assert "Small sizes" not in first
    assert second.startswith("Xeon, AVX-512, 1 thread\n")
    assert "Small sizes" in second
    assert "| counts, in score products | 1.20 | < 2 | load 0.0 |" in second


def test_vector_instructions_are_the_widest_that_the_processor_lists():
    for flags, name in (("avx avx2 avx512f", "AVX-512"), ("avx avx2", "AVX2"), ("avx", "neither")):
        assert vector_instructions(f"model name\t: X\nflags\t\t: fpu {flags}\n") == name
    assert vector_instructions("") == "neither"


def test_the_busy_share_counts_all_but_idle_and_waiting_for_a_disk():
    before = "cpu  10 0 10 100 5 0 0 0 0 0\ncpu0 ..."
    after = "cpu  40 0 20 150 15 0 0 0 0 0\ncpu0 ..."
    assert busy_share(before, after) == 0.4


def test_the_machine_is_read_where_the_benchmarks_run():
    here = this_machine()
    assert here.cpu and here.threads >= 1
    assert here.busy is None or 0 <= here.busy <= 1


def test_ways_take_turns_after_one_that_warms_them_up():
    order: list[str] = []
    took = least_seconds({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert all(0 <= seconds < 1 for seconds in took.values())
