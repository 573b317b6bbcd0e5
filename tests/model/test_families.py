"""A family of points scores what each of its points scores when it is fitted alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.pipeline.training import Training
from recbole_ext.testing import write_tiny
from tests.problems import make_experiment

GRIDS = {
    "EASE": [{"reg_weight": w} for w in (5.0, 300.0)],
    "L3AE": [
        {"reg_x": x, "reg_f": f, "reg_kd": k}
        for x in (150.0, 400.0)
        for f in (0.1, 10.0)
        for k in (0.0, 20.0, 200.0)
    ],
    "SemanticEASE": [{"reg_f": f} for f in (0.1, 10.0)],
    "CosineText": [{}],
    "CEASE": [{"reg_weight": x, "alpha": a} for x in (50.0, 300.0) for a in (0.0, 0.5, 3.0)],
    "AddEASE": [
        {"reg_weight": 200.0, "reg_f": f, "alpha": a} for f in (1.0, 50.0) for a in (0.0, 0.3, 1.0)
    ],
}


@pytest.mark.parametrize("side", ["items", "users"])
@pytest.mark.parametrize("model", GRIDS)
def test_a_family_equals_separate_fits(model, side, tmp_path):
    with_p = model not in ("SemanticEASE", "CosineText")
    if not with_p and side == "users":
        return  # has no side
    given = {"encoder": "hash:64"} if model != "EASE" else {}
    given |= {"side": side} if with_p else {}
    data = write_tiny(tmp_path, users=120, items=150)
    experiment = make_experiment(model, "tiny", data, precision="float64", **given)
    training = Training(experiment, experiment.embeddings(), tmp_path)
    params = experiment.settings.params
    shared, _ = training.build(params)
    users = torch.arange(1, 60)
    seen = []
    for group, scorer in shared.families(GRIDS[model]):
        for point, scores in zip(group, scorer(users), strict=True):
            alone, bench = training.build({**params, **point})
            alone.solve()
            fields = bench.config["USER_ID_FIELD"]
            expected = alone.full_sort_predict({fields: users}).view(len(users), -1)
            # Scores are of order 1, made in float32 from float64 inverses by sums of up to 150 terms.
            np.testing.assert_allclose(scores[:, 1:], expected[:, 1:], atol=2e-5)
            seen.append(point)
    assert sorted(map(str, seen)) == sorted(map(str, GRIDS[model]))
