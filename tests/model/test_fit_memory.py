"""What a fit of L3AE's sparse side holds of the size of its item vectors, of which a million items make 1.5 GB."""

from __future__ import annotations

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.scale.catalogue import Catalogue
from recbole_ext.linear import semantics, thin
from recbole_ext.model import linear_autoencoder
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment

SMALL = Catalogue(items=1000, interactions_per_item=12, items_per_topic=60, groups=4)


def test_a_sparse_fit_holds_four_tables_of_the_size_of_the_vectors_at_most(tmp_path, monkeypatch):
    """F, PFᵀ and M, and blocks of 64 of 384 columns that are solved for; the vectors themselves, in NumPy's memory, are the fifth."""
    monkeypatch.setattr(linear_autoencoder, "_THIN", 1)
    for module, name in ((linear_autoencoder, "_ITEMS"), (semantics, "_ITEMS"), (thin, "_BLOCK")):
        monkeypatch.setattr(module, name, 64)
    folder = SMALL.write(tmp_path)
    given = {"side": "sparse", "precision": "float32", "density": 0.016}
    vectors = f"file:{folder / 'vectors.parquet'}"
    experiment = make_experiment("L3AE", SMALL.name, tmp_path, encoder=vectors, **given)
    training = Training(experiment, experiment.embeddings(), tmp_path)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        model, bench = training.build(experiment.settings.params)
        model.solve()
    found = watched.profiler.kineto_results.events()
    memory = sorted((e.start_ns(), e.nbytes()) for e in found if e.name() == "[memory]")
    table = model.n_items * SMALL.width * 4
    held = np.cumsum([size for _, size in memory]) / table
    # 4.2; with buffers of zeros in the fit, and products as a whole, 6.0.
    assert 3 <= held.max() < 4.5
    # What scores are made of, L and R, and a twentieth of a table for P and the rest: F is let go of.
    assert 2 <= held[-1] < 2.3
    assert model.left.dtype == torch.float32 and model.left.is_contiguous()
    # RecBole's copy is made anew if somebody asks for it, and held by nobody till then.
    shared = bench.dataset.padded_vectors
    assert "tensor" not in vars(shared)
    np.testing.assert_array_equal(bench.dataset.item_vectors[1:], training.embeddings.vectors)
