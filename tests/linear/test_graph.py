"""Products with the graph, however many rows are multiplied at once."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.core.sparse import by_rows
from recbole_ext.linear.graph import _PANEL, Graph

X = sp.random(40, 25, 0.2, format="csr", random_state=3).sign()
GRAPH = Graph.of(X, dtype=torch.float64)


@given(count=st.integers(0, 400))
def test_panels_are_all_columns_once_and_all_but_the_last_full(count):
    panels = list(GRAPH.panels(count))
    assert [place for panel in panels for place in range(*panel)] == list(range(count))
    widths = [stop - first for first, stop in panels]
    assert set(widths[:-1]) <= {_PANEL} and max(widths, default=1) <= _PANEL


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 70])
def test_rows_times_the_graph_are_those_of_the_dense_matrix(count):
    rows = sp.random(count, 25, 0.3, format="csr", random_state=1)
    r = GRAPH.rows.to_dense().numpy()
    found = GRAPH.times_rows(by_rows(rows, torch.float64))
    # Sums of at most 1,000 products below 1
    np.testing.assert_allclose(found.numpy(), rows @ (r.T @ r), rtol=0, atol=1e-12)
