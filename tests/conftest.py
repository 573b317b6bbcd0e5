"""Shared problems: a tiny made-up dataset with times and titles, and MovieLens-100K as RecBole bundles it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recbole_ext.registry import plugged_in

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real datasets beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data beside the checkout: tests on real files are left out")
    return SHARED


def write_tiny(folder: Path, users: int = 40, items: int = 30, seed: int = 0) -> Path:
    """Write folder/tiny/tiny.{inter,item}: two tastes, every history at least five long."""
    rng = np.random.default_rng(seed)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(users):
        liked = np.where(np.arange(items) % 2 == user % 2, 5.0, 1.0)
        chosen = rng.choice(
            items, size=int(rng.integers(5, 12)), replace=False, p=liked / liked.sum()
        )
        lines += [
            f"u{user}\ti{item}\t{rng.integers(1, 6)}\t{1000 + t}" for t, item in enumerate(chosen)
        ]
    target = folder / "tiny"
    target.mkdir(parents=True, exist_ok=True)
    (target / "tiny.inter").write_text("\n".join(lines) + "\n")
    words = ["red", "blue"], ["lamp", "chair", "table"]
    titles = [f"i{i}\t{words[0][i % 2]} {words[1][i % 3]} number {i}" for i in range(items)]
    (target / "tiny.item").write_text("item_id:token\ttitle:token_seq\n" + "\n".join(titles) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Embeddings of tests stay out of the user's cache, unless CI names one."""
    os.environ.setdefault("RECBOLE_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def toys(tmp_path_factory):
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
def installed(toys, monkeypatch):
    """The toy models can be named here."""
    monkeypatch.syspath_prepend(str(toys))
    plugged_in.cache_clear()
    yield
    plugged_in.cache_clear()
