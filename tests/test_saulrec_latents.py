"""The page of latents: measures of planted latents, of turned ones, and what is written of titles."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from benchmarks.saulrec import latents
from recbole_ext.core.errors import HarnessError
from recbole_ext.sae.concepts import Concepts
from recbole_ext.sae.fitting import fitted
from recbole_ext.sae.tied import TiedCoder
from tests.model.listed_data import CODER
from tests.model.test_sasrec import SMALL

ITEMS, WIDTH, GROUPS = 240, 16, 8
TOKENS = [f"i{place}" for place in range(ITEMS)]


@pytest.fixture(scope="module")
def planted():
    """Vectors around one direction for each group, a coder with these directions, and the groups as concepts."""
    generator = torch.Generator().manual_seed(3)
    directions = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator)).Q[:GROUPS]
    group = torch.arange(ITEMS) % GROUPS
    x = directions[group] * 3 + 0.1 * torch.randn(ITEMS, WIDTH, generator=generator)
    coder = TiedCoder(WIDTH, GROUPS, 1, tied=True, standardise=False)
    with torch.no_grad():
        coder.encoder.copy_(directions)
    counts = sp.csr_matrix(np.eye(GROUPS)[group.numpy()])
    names = tuple(f"group {place}" for place in range(GROUPS))
    return x, coder.requires_grad_(False), Concepts(names, counts), group.numpy()


def test_planted_latents_are_pure_and_apart_and_turned_ones_are_less(planted):
    x, coder, concepts, group = planted
    own, turned = latents.systems(coder, x, concepts, TOKENS, seed=0)
    assert set(own.measures) == set(latents.MEASURES)
    assert own.measures["label_purity"] == pytest.approx(1 - 1 / GROUPS, abs=0.02)
    assert own.measures["live"] == 1 and own.measures["overlap"] == 0 == own.measures["overlap_nearest"]  # fmt: skip
    assert own.measures["items"] == np.median(np.bincount(group)) and own.measures["error"] < 0.05
    assert turned.measures["label_purity"] < own.measures["label_purity"] - 0.1
    assert turned.measures["error"] > 5 * own.measures["error"]


def test_overlap_of_the_nearest_is_that_of_a_loop(planted):
    x, _, _, _ = planted
    torch.manual_seed(1)
    coder = TiedCoder(WIDTH, 12, 3, tied=True, standardise=True).requires_grad_(False)
    found = latents.measured("any", coder, x, None, TOKENS)
    has = [set(np.flatnonzero(column)) for column in found.codes.T if column.any()]
    near = [
        max(len(one & other) / len(one | other) for other in has if other is not one) for one in has
    ]
    assert found.measures["overlap_nearest"] == pytest.approx(np.mean(near), abs=1e-6)  # float32
    assert "label_purity" not in found.measures


def test_a_fitted_coder_misses_less_and_repeats(planted):
    x = planted[0]

    def made(epochs):
        torch.manual_seed(5)
        return fitted(TiedCoder(WIDTH, GROUPS, 1, True, False), x, 0.1, epochs, 64, 0.01, seed=2)

    one, again = made(20), made(20)
    assert torch.equal(one.encoder, again.encoder) and not one.encoder.requires_grad
    errors = [float((x - coder(x)).square().mean()) for coder in (made(0), one)]
    assert errors[1] < errors[0] / 3
    with pytest.raises(HarnessError, match="not finite"):
        fitted(TiedCoder(WIDTH, GROUPS, 1, True, False), x * torch.inf, 0.0, 1)


@pytest.mark.parametrize("name", ["SASRecSAE", "SimGCL"])
def test_a_page_is_made_of_a_run_and_names_items_only_where_that_is_asked(
    name, tiny_path, tmp_path, capsys
):
    from recbole_ext.cli import main

    own = {**SMALL, **CODER} if name == "SASRecSAE" else {"epochs": 1, "threads": 1}
    given = [f"--{key}={value}" for key, value in {**own, "protocols": "full"}.items()]
    where = ["--dataset=tiny", f"--data-path={tiny_path}"]
    assert main([f"--model={name}", *where, f"--records={tmp_path / 'runs'}", *given]) == 0
    out = tmp_path / "page.md"
    asked = [str(tmp_path / "runs"), f"--model={name}", *where, f"--out={out}", "--sae_dim=8", "--sae_k=2", "--sae_epochs=2"]  # fmt: skip
    latents.main(asked)
    plain = out.read_text()
    assert "lamp" not in plain and "| latents | of turned vectors |" in plain
    assert ("the run's coder, 12 latents" in plain) == (name == "SASRecSAE")
    assert len(out.with_suffix(".csv").read_text().splitlines()) == 3
    latents.main([*asked, "--titles=2"])
    assert out.read_text().count("\n* ") == 2 and "lamp" in out.read_text()


def test_a_model_without_item_vectors_is_refused():
    with pytest.raises(HarnessError, match="no table of item vectors"):
        latents.item_vectors(torch.nn.Linear(2, 2))
