"""`figure` prints a number, writes it down with the machine it was measured on, and holds it to its bound."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator

import pytest
import torch
from threadpoolctl import threadpool_limits

from benchmarks.speed.measure import FULL, RESULTS, Figure, Machine, as_line, this_machine


@pytest.fixture(scope="session")
def results() -> list[Figure]:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("")
    return []


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
def figure(machine: Machine, results: list[Figure]) -> Callable[..., None]:
    def put(
        what: str, value: float, *, below: float | None = None, above: float | None = None
    ) -> None:
        """One of `below` and `above` is the bound."""
        bound = f"< {below:g}" if above is None else f"> {above:g}"
        results.append(Figure(what, value, bound, FULL, machine))
        RESULTS.write_text("".join(json.dumps(as_line(one)) + "\n" for one in results))
        print(f"\n{what}: {value:.2f} ({bound})")
        assert value < below if above is None else value > above

    return put
