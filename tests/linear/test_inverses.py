"""Inverses on disk: shared, whole or not there, and the same bits as without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_ext.core.errors import HarnessError
from recbole_ext.linear import inverses
from recbole_ext.linear.inverses import Inverses, kept, limit, make_room
from recbole_ext.linear.sides import ItemSide
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment

N = 24


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache for matrices of any size."""
    monkeypatch.setenv("RECBOLE_EXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RECBOLE_EXT_INVERSES", raising=False)
    monkeypatch.setattr(inverses, "_WORTH", 0)
    monkeypatch.setattr(inverses, "_said", set())
    return tmp_path / "cache" / "inverses"


@pytest.fixture
def made(monkeypatch):
    """The λ of each inversion that is made."""
    found, original = [], inverses.invert_

    def counted(x, g, ridge, *rest):
        found.append(ridge)
        return original(x, g, ridge, *rest)

    monkeypatch.setattr(inverses, "invert_", counted)
    return found


def rows(seed=0):
    x = sp.random(40, N, 0.3, "csr", random_state=seed)
    x.data[:] = 1
    return x


def matrix(value: float, size: int = N) -> torch.Tensor:
    return torch.full((size, size), value)


def files(cache):
    return sorted(path.name for path in cache.glob("*.npy"))


def test_a_search_for_l3ae_inverts_nothing_that_one_for_ease_did(made, tiny_path, tmp_path):
    grids = {
        "EASE": [{"reg_weight": w} for w in (50.0, 300.0)],
        "L3AE": [{"reg_x": x, "reg_kd": k} for x in (50.0, 300.0, 400.0) for k in (0.0, 20.0)],
    }
    for model, grid in grids.items():
        given = {"encoder": "hash:64"} if model != "EASE" else {}
        experiment = make_experiment(model, "tiny", tiny_path, side="items", **given)
        training = Training(experiment, experiment.embeddings(), tmp_path)
        for _, scores in training.build(experiment.settings.params)[0].families(grid):
            assert all(bool(torch.isfinite(s[:, 1:]).all()) for s in scores(torch.arange(1, 9)))
    assert made == [50.0, 300.0, 400.0]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_weights_are_the_same_bits_from_disk_and_without_it(
    precision, made, tiny_path, tmp_path, monkeypatch
):
    experiment = make_experiment("EASE", "tiny", tiny_path, side="items", precision=precision)
    training = Training(experiment, None, tmp_path)

    def solved():
        found = training.build(experiment.settings.params)[0]
        found.solve()
        return found.item_matrix

    monkeypatch.setenv("RECBOLE_EXT_INVERSES", "0")
    without = solved()
    monkeypatch.delenv("RECBOLE_EXT_INVERSES")
    # The third: what the second made of its P in place is not on disk.
    assert all(torch.equal(without, solved()) for _ in range(3))
    assert len(made) == 2


@pytest.mark.parametrize("side", ["items", "users"])
def test_other_data_another_ridge_side_or_precision_are_other_inverses(side, made):
    def of(x, ridge, side=side, precision="float64"):
        found = Inverses(x, side, precision, "cpu").at(ridge)
        return found.p if isinstance(found, ItemSide) else found.kernel

    x = rows()
    one = of(x, 5.0).clone()
    moved = x.copy()
    moved.indices = x.indices.copy()
    moved.indices[0] = _other(x)
    for other in (of(moved, 5.0), of(x, 5.000001), of(rows(1), 5.0)):
        assert not torch.equal(one, other)
    assert of(x, 5.0, precision="float32").dtype == torch.float32
    of(x, 5.0, side="users" if side == "items" else "items")
    assert len(made) == 6
    assert torch.equal(of(x, 5.0), one) and len(made) == 6
    gram = (x.T @ x if side == "items" else x @ x.T).toarray()
    # Float64, condition about 50.
    np.testing.assert_allclose(one, np.linalg.inv(gram + 5 * np.eye(len(gram))), atol=1e-12)


def _other(x):
    """An item that the first user lacks."""
    return min(set(range(N)) - set(x.indices[: x.indptr[1]].tolist()))


def test_the_least_recently_used_goes_first(cache, monkeypatch):
    size = N * N * 4
    monkeypatch.setenv("RECBOLE_EXT_INVERSES", str((3 * size + 1000) / 2**30))
    for place, name in enumerate("abc"):
        kept(name, N, lambda place=place: matrix(float(place)))
        os.utime(cache / f"{name}.npy", (place, place))
    kept("a", N, lambda: pytest.fail("is there"))
    kept("d", N, lambda: matrix(3.0))
    assert files(cache) == ["a.npy", "c.npy", "d.npy"]


def test_what_is_mapped_outlives_its_file(cache):
    kept("a", N, lambda: matrix(1.0))
    mapped = kept("a", N, lambda: pytest.fail("is there"))
    make_room(cache, 0)
    assert files(cache) == [] and torch.equal(mapped, matrix(1.0))


def test_a_process_killed_while_it_writes_leaves_nothing_torn(cache):
    script = """
        import os, torch
        from recbole_ext.linear import inverses
        write = inverses.np.lib.format.write_array

        def half(stream, array, **rest):
            write(stream, array[:7], **rest)
            stream.flush()
            print("half", flush=True)
            import time; time.sleep(60)

        inverses.np.lib.format.write_array = half
        inverses.kept("a", 24, lambda: torch.ones(24, 24))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (torn,) = cache.glob(".a.npy.*")
    assert files(cache) == []
    assert torch.equal(kept("a", N, lambda: matrix(2.0)), matrix(2.0))
    assert torch.equal(kept("a", N, lambda: pytest.fail("is there")), matrix(2.0))
    assert torn.exists()  # it might be another process's that is at it
    os.utime(torn, (0, 0))
    make_room(cache, 1 << 30)
    assert not torn.exists() and files(cache) == ["a.npy"]


@pytest.mark.parametrize("harm", ["short", "flipped", "empty"])
def test_a_damaged_file_is_made_again(harm, cache, capsys):
    kept("a", N, lambda: matrix(1.0))
    path = cache / "a.npy"
    content = bytearray(path.read_bytes())
    if harm == "flipped":
        content[500] ^= 1
    path.write_bytes({"short": content[:-9], "flipped": content, "empty": b""}[harm])
    assert torch.equal(kept("a", N, lambda: matrix(2.0)), matrix(2.0))
    assert "damaged" in capsys.readouterr().err
    assert torch.equal(kept("a", N, lambda: pytest.fail("is there")), matrix(2.0))


def test_without_a_disk_one_line_says_so_and_it_goes_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RECBOLE_EXT_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert torch.equal(kept("a", N, lambda: matrix(1.0)), matrix(1.0))
    assert capsys.readouterr().err.count("not kept") == 1


def test_a_full_disk_or_a_small_limit_keeps_nothing_and_goes_on(cache, monkeypatch, capsys):
    def full(stream, array, **rest):
        stream.write(b"some")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", full)
        assert torch.equal(kept("a", N, lambda: matrix(1.0)), matrix(1.0))
    assert "No space left" in capsys.readouterr().err
    monkeypatch.setenv("RECBOLE_EXT_INVERSES", "1e-7")
    kept("a", N, lambda: matrix(1.0))
    assert "RECBOLE_EXT_INVERSES" in capsys.readouterr().err
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_limit_that_is_no_size_is_refused(cache, monkeypatch):
    for given in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("RECBOLE_EXT_INVERSES", given)
        with pytest.raises(HarnessError, match=f"RECBOLE_EXT_INVERSES={given}"):
            limit(cache)
