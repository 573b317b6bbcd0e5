"""Search spaces as the YAML files have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_ext.config import model_defaults
from recbole_ext.registry.find import find_model
from recbole_ext.tune.search import grid

FILES = sorted((Path(__file__).resolve().parents[2] / "properties" / "model").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_space_names_the_models_keys_in_their_types_and_no_point_twice(path):
    found = model_defaults(find_model(path.stem))
    for stage in found.space:
        for key, values in stage.items():
            default = found.params[key]
            kinds = (int, float) if isinstance(default, float) else type(default)
            assert all(isinstance(value, kinds) for value in values), key
        points = grid(stage)
        assert len({str(point) for point in points}) == len(points) > 1
