"""Shared data: the tiny made-up dataset of `recbole_ext.testing`, and real ones beside the checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything that reads it is imported
os.environ.pop(
    "COLUMNS", None
)  # boards are as wide as their default, whatever terminal a worker is told of
if "PYTEST_XDIST_WORKER" in os.environ:  # one of as many as there are processors
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from recbole_ext.core import environment

    # What a command takes where `--threads` does not say, and leaves to the tests that follow it. Workers with two threads each on
    # two processors wait for each other: small steps take four times as long.
    environment.usable_cpus = lambda: 1

from recbole_ext.lm.smollm2 import INSTALL_SMOLLM2, SMOLLM2_MODULE
from recbole_ext.registry.find import plugged_in
from recbole_ext.testing import write_tiny

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


SLOW_FILES = ("tests/tune/", "tests/test_faults", "tests/contract/", "tests/model/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that several workers end together."""

    def place(item: pytest.Item) -> int:
        slow = [i for i, name in enumerate(SLOW_FILES) if item.nodeid.startswith(name)]
        return slow[0] if slow else len(SLOW_FILES)

    items.sort(key=place)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real datasets beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data beside the checkout: tests on real files are left out")
    return SHARED


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Embeddings of tests stay out of the user's cache, unless CI names one."""
    os.environ.setdefault("RECBOLE_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Steps of small models wait longer for threads than they take."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled pairs of items with titles."""
    from tests.model.prompted_data import write_clicks

    return write_clicks(tmp_path_factory.mktemp("clicks"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random language model that knows the words of those titles, by its name."""
    from tests.model.prompted_data import write_llama

    return f"lm:{write_llama(tmp_path_factory.mktemp('llama'))}"


@pytest.fixture(scope="module")
def listing_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One that knows the words of the tiny data set's titles and of prompts that list them, by its name."""
    from tests.model.listed_data import write_llama

    return str(write_llama(tmp_path_factory.mktemp("llama")))


@pytest.fixture
def bundled_smollm2(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real smollm2: half a gigabyte, unpacked once into the user's cache and not anew for every session."""
    if not all(importlib.util.find_spec(name) for name in (SMOLLM2_MODULE, "gguf")):
        pytest.skip(f"not installed: {INSTALL_SMOLLM2}")
    if os.environ["RECBOLE_EXT_CACHE"].startswith(str(tmp_path_factory.getbasetemp())):
        monkeypatch.delenv("RECBOLE_EXT_CACHE")


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the package of toy models was installed, by pip."""
    place, source = tmp_path_factory.mktemp("toys"), tmp_path_factory.mktemp("source")
    subprocess.run(["cp", "-r", str(ROOT / "tests" / "toys"), str(source)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
         "--no-build-isolation", f"--target={place}", str(source / "toys")],
        check=True, capture_output=True,
    )  # fmt: skip
    return place


@pytest.fixture
def installed(toys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy models are there by name."""
    monkeypatch.syspath_prepend(str(toys))
    plugged_in.cache_clear()
    yield
    plugged_in.cache_clear()
