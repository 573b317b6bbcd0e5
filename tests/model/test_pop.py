"""Pop counts training interactions."""

from __future__ import annotations

import numpy as np

from recbole_ext.model.pop import Pop
from recbole_ext.pipeline.training import Training
from tests.problems import make_experiment


def test_an_interaction_that_stands_twice_counts_twice_as_in_recboles_matrix(tiny_path, tmp_path):
    experiment = make_experiment("Pop", "tiny", tiny_path)
    _, bench = Training(experiment, None, tmp_path).build(experiment.settings.params)
    rows = np.random.default_rng(0).permutation(len(bench.dataset.inter_feat))
    doubled = bench.dataset.copy(bench.dataset.inter_feat[np.r_[rows, rows[:7]]])
    model = Pop(bench.config, doubled)
    model.solve()
    wanted = np.asarray(doubled.inter_matrix(form="csr").sum(axis=0)).ravel()
    assert model.counts.numpy().dtype == np.float32 and wanted.sum() == len(rows) + 7
    np.testing.assert_array_equal(model.counts, wanted)
