"""`figure` prints a number, holds it to its bound, and leaves it to pytest-benchmark with the machine it was measured on.

pytest-benchmark times each test as a whole and keeps what it is given beside that; `--benchmark-json` writes it all.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits

from benchmarks.speed.measure import FULL, Figure, Machine, as_line, this_machine


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """A benchmark is a whole test here, once: what is compared within it takes turns, which pytest-benchmark's own loop cannot."""
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    pyfuncitem.funcargs["benchmark"].pedantic(pyfuncitem.obj, kwargs=given, rounds=1)
    return True


@pytest.fixture(autouse=True)
def written_down(benchmark: Any) -> None:
    """Every test here has the fixture, by whose name pytest-benchmark knows its own."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """One at small sizes."""
    before = torch.get_num_threads()
    if FULL:
        yield
        return
    with threadpool_limits(1):
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(threads: None) -> Machine:
    gc.collect()
    return this_machine()


@pytest.fixture
def figure(machine: Machine, benchmark: Any) -> Callable[..., None]:
    def put(
        what: str, value: float, *, below: float | None = None, above: float | None = None
    ) -> None:
        """One of `below` and `above` is the bound."""
        bound = f"< {below:g}" if above is None else f"> {above:g}"
        figures = benchmark.extra_info.setdefault("figures", [])
        figures.append(as_line(Figure(what, value, bound, FULL, machine)))
        print(f"\n{what}: {value:.2f} ({bound})")
        assert value < below if above is None else value > above

    return put
