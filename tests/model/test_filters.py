"""Graph filters against dense matrices in float64 that are written from the formulas, each other, and separate fits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_ext.config import model_defaults
from recbole_ext.core.errors import HarnessError
from recbole_ext.linear import responses
from recbole_ext.linear.filters import Filter, LowPass, polynomial
from recbole_ext.linear.graph import Graph, shared_factor
from recbole_ext.linear.responses import Responses
from recbole_ext.model import bspm
from recbole_ext.model.bspm import BSPM
from recbole_ext.model.chebycf import ChebyCF, coefficients
from recbole_ext.model.gfcf import GFCF
from recbole_ext.model.graph_filter import GraphFilter
from recbole_ext.model.sgfcf import SGFCF
from recbole_ext.pipeline.checks import planned_bytes
from recbole_ext.pipeline.training import Training
from recbole_ext.recbole_compat import folded_in
from recbole_ext.registry.find import find_model
from recbole_ext.tune.search import grid
from tests.model.dense_filters import SLOW, Dense
from tests.problems import make_experiment, train

N_USERS, N_ITEMS = 30, 22
SHARPENED = {"k": 6, "beta": 0.4, "T_s": 2.5, "K_s": 1, "solver": "rk4", "merge": "early"}
POINTS = [
    ("GFCF", {"k": 6, "alpha": 0.3}),
    ("GFCF", {"k": 0, "alpha": 0.3}),
    ("GFCF", {"k": 17, "alpha": 0.7}),  # above the rank
    *(
        ("BSPM", {**SHARPENED, "merge": merge, "solver": solver, "K_s": steps, "combine": combine})
        for merge in ("early", "late")
        for solver in ("rk4", "euler")
        for steps in (1, 3)
        for combine in (False, True)
    ),
    ("BSPM", {**SHARPENED, "sharpen": False}),
    ("BSPM", {**SHARPENED, "sharpen": False, "combine": True, "merge": "late"}),
    ("BSPM", {**SHARPENED, "k": 0}),
    ("BSPM", {**SHARPENED, "k": 17}),
    ("ChebyCF", {"degree": 8, "phi": 1.5, "eta": 6, "alpha": 0.2, "beta": 0.4}),
    ("ChebyCF", {"degree": 8, "phi": 10, "eta": 17, "alpha": 0.2, "beta": 0}),
    ("ChebyCF", {"degree": 5, "phi": 3, "eta": 0, "alpha": 0.2, "beta": 0.3}),
    ("ChebyCF", {"degree": 1, "phi": 1, "eta": 6, "alpha": 0, "beta": 0.3}),
    ("SGFCF", {"k": 6, "eps": 0.34, "mu": 0, "gamma": 1.6, "beta": 0.3, "beta_end": 2.5}),
    ("SGFCF", {"k": 17, "eps": 0.28, "mu": 0, "gamma": 2.0, "beta": 0.7, "beta_end": 1.1}),
    ("SGFCF", {"k": 6, "eps": 0.5, "mu": 5.3, "gamma": 0.025, "beta": 2, "beta_end": 5}),
    ("SGFCF", {"k": 6, "eps": 0.4, "mu": 0, "gamma": 0, "beta": 0.95, "individual": False}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twins, so that the rank is low, a user and an item that training lacks, and a user of one item."""
    rng = np.random.default_rng(5)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for twin in range(N_USERS // 2):
        items = rng.choice(N_ITEMS - 1, size=int(rng.integers(4, 9)), replace=False)
        late = twin == 14
        for user in (2 * twin, 2 * twin + 1):
            some = items[:3] if twin == 13 else items
            for place, item in enumerate(some):
                time = 5000 if late or (twin == 13 and place) else 1000 + place * 100
                lines.append(f"u{user}\ti{item}\t{time + user}.0")
            if late:
                lines.append(f"u{user}\ti{N_ITEMS - 1}\t6000.0")
    target = tmp_path_factory.mktemp("twins") / "twins"
    target.mkdir()
    (target / "twins.inter").write_text("\n".join(lines) + "\n")
    return target.parent


def experiment_of(name, folder, **given):
    keys = {"protocols": "full", "split": "global_time", "ks": "1,5", **given}
    return make_experiment(name, "twins", folder, **keys)


def solved(name, folder, tmp_path, **given):
    """A model that scores."""
    experiment = experiment_of(name, folder, **given)
    model, _ = Training(experiment, None, tmp_path).build(experiment.settings.params)
    model.solve()
    return model


@pytest.mark.parametrize(("name", "point"), POINTS)
def test_a_filter_is_its_formula(name, point, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(GraphFilter, "dtype", torch.float64)
    model = solved(name, folder, tmp_path, **point)
    x = model.interactions.toarray().astype(np.float64)[1:, 1:]
    assert (x.sum(1) == 0).any() and (x.sum(0) == 0).any() and (x.sum(1) == 1).any()
    assert Dense(x).rank < 17 < min(x.shape)
    scores = model.scores_of(np.arange(1, model.n_users))[:, 1:].numpy()
    expected = SLOW[name](x, **model.point)
    np.testing.assert_allclose(scores, expected, atol=1e-8)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("name", SLOW)
def test_float32_is_near(name, folder, tmp_path):
    point = next(point for model, point in POINTS if model == name)
    model = solved(name, folder, tmp_path, **point)
    x = model.interactions.toarray().astype(np.float64)[1:, 1:]
    scores = model.scores_of(np.arange(1, model.n_users))[:, 1:].numpy()
    expected = SLOW[name](x, **model.point)
    # Sums of tens of terms of order 1; SGFCF divides by one that is small beside them.
    np.testing.assert_allclose(scores, expected, atol=2e-6 * max(1, abs(expected).max()))


def test_gfcf_is_bspm_without_sharpening(folder, tmp_path):
    users = np.arange(1, N_USERS)
    given = {"k": 7, "beta": 0.3, "merge": "late", "sharpen": False}
    one = solved("GFCF", folder, tmp_path, k=7, alpha=0.3).scores_of(users)
    two = solved("BSPM", folder, tmp_path, **given).scores_of(users)
    assert torch.allclose(one, two, atol=1e-6)
    other = solved("BSPM", folder, tmp_path, **{**given, "sharpen": True}).scores_of(users)
    assert not torch.allclose(one, other, atol=1e-2)


def test_one_step_of_runge_kutta_is_the_polynomial_of_its_length():
    z = np.linspace(0, 2.5, 6)
    s, slope = np.ones_like(z), lambda s: -z * s  # ds/dt = -zs over a length of 1
    a = slope(s)
    b = slope(s + a / 2)
    c = slope(s + b / 2)
    e = slope(s + c)
    np.testing.assert_allclose(bspm.step("rk4", z), s + (a + 2 * b + 2 * c + e) / 6, atol=1e-12)
    assert bspm.step("rk4", np.array([2.5]))[0] == pytest.approx(0.648, abs=5e-4)
    assert bspm.step("euler", np.array([2.5]))[0] == -1.5


def test_coefficients_are_the_published_ones():
    c = coefficients(8, 1.5)
    np.testing.assert_allclose(
        c, (0.5, -0.49268, 0, -0.03233, 0, 0.02112, 0, -0.00111, 0), atol=5e-6
    )
    at = np.polynomial.chebyshev.chebval(1 - 2 * np.array([0, 0.25, 0.5, 0.75, 1]), c)
    np.testing.assert_allclose(at, (-0.005, 0.296, 0.5, 0.704, 1.005), atol=5e-4)


@pytest.mark.parametrize("degree", [0, 1, 4, 12, 40])
def test_a_polynomial_is_what_its_coefficients_sum_to(degree):
    def f(z):
        return (1 - z) ** degree + 3 * z ** min(degree, 1)

    z = np.linspace(0, 1, 50)
    made = np.polynomial.chebyshev.chebval(1 - 2 * z, polynomial(f, degree))
    np.testing.assert_allclose(made, f(z), atol=1e-12)


def test_many_small_steps_are_the_exponential_also_in_float32(folder, tmp_path):
    given = {**SHARPENED, "k": 0, "K_s": 10, "T_s": 5}
    model = solved("BSPM", folder, tmp_path, **given)
    x = model.interactions.toarray().astype(np.float64)[1:, 1:]
    values, vectors = np.linalg.eigh(Dense(x).p)
    expected = x @ (vectors * (values * np.exp(-5 * values))) @ vectors.T
    scores = model.scores_of(np.arange(1, model.n_users))[:, 1:]
    # e^-z by four terms at z = .5 is 2.4e-4 off in each of ten steps; rounding of degree 41 is below that.
    np.testing.assert_allclose(scores, expected, atol=3e-4)


def test_both_scales_of_a_filter_are_its_own():
    rng = np.random.default_rng(3)
    x = (rng.random((15, 9)) < 0.4).astype(np.float64)
    graph, d = Graph.of(sp.csr_matrix(x), dtype=torch.float64), Dense(x)
    v = graph.factor(4).vectors
    filters = [
        Filter((0.1, 0.2, 0.3), 0.7, LowPass(3, (0.5, 0.25), 0.2)),
        Filter((0.0, 1.0), 0.0, LowPass(3, (1.0,), 0.2)),
        Filter((0.0,), 0.1, LowPass(4, (1.0,), 0.9)),
        Filter((2.0,)),
    ]
    made = Responses(graph, v, filters)
    of_each = dict(zip(made.order, map(torch.clone, made.of(sp.csr_matrix(x))), strict=True))
    found = [of_each[i].numpy() for i in range(len(filters))]
    t1 = np.eye(9) - 2 * d.p
    t2 = 2 * t1 @ t1 - np.eye(9)
    p = 0.1 * np.eye(9) + 0.2 * t1 + 0.3 * t2
    low = d.low(3, 0.2)
    expected = [
        (x * d.degrees(-0.7)) @ p * d.degrees(0.7) + low @ (0.5 * np.eye(9) + 0.25 * t1),
        x @ t1 + low,
        d.low(4, 0.9),
        2 * x,
    ]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-10)


@pytest.mark.parametrize("by_columns", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_many_filters_together_are_each_as_if_alone(by_columns, several, monkeypatch):
    """Enough for the T_j to be made in place of the polynomials, and for more than one product of all that is summed."""
    monkeypatch.setattr(responses, "_COLUMNS_BELOW", 1e9 if by_columns else 0)
    rng = np.random.default_rng(7)
    x = (rng.random((15, 9)) < 0.4).astype(np.float64)
    x[:, 8], x[3] = 0, 0
    graph, d = Graph.of(sp.csr_matrix(x), dtype=torch.float64), Dense(x)

    def drawn(degree):
        return tuple(float(c) for c in rng.normal(size=degree + 1))

    scales = [0.0, 0.4] if several else [0.4]
    filters = [Filter(drawn(i % 4), e, LowPass(k, drawn(i % 3), e)) for i in range(9) for e in scales for k in (0, 2, 5)]  # fmt: skip
    filters += [Filter((0.0,), 0.4), Filter((0.0, 2.0), 0.4, LowPass(5, (0.0,), 0.4)), filters[1]]
    made = Responses(graph, graph.factor(5).vectors, filters)
    assert made.by_columns == (by_columns and not several)
    assert [len(span.members) for span in made.rows.values()] == [4] * len(scales)
    turn = np.eye(9) - 2 * d.p
    powers = [np.eye(9), turn, 2 * turn @ turn - np.eye(9)]
    powers.append(2 * turn @ powers[2] - turn)
    found = dict(zip(made.order, map(torch.clone, made.of(sp.csr_matrix(x[:6]))), strict=True))
    assert sorted(found) == list(range(len(filters)))
    for i, f in enumerate(filters):
        p, q = (
            sum(c * power for c, power in zip(some, powers, strict=False)) for some in (f.p, f.low.q if f.low else (0.0,))
        )  # fmt: skip
        expected = (x * d.degrees(-f.scale)) @ p * d.degrees(f.scale)
        if f.low:
            expected = expected + d.low(f.low.k, f.low.scale) @ q
        np.testing.assert_allclose(found[i], expected[:6], atol=1e-10)


def test_the_points_of_a_grid_share_their_products_with_the_graph(monkeypatch):
    """The second stage of BSPM's: x by T_1 to T_9, and its low-pass, or what stands for it, by T_1 to T_8."""
    (stage,) = [grid(s) for s in model_defaults(find_model("BSPM")).space if "merge" in s]
    point = {"k": 3, "beta": 0.2, "sharpen": True}
    filters = [BSPM.filter_at({**point, **each}) for each in stage]
    assert len(filters) == 96
    x = sp.csr_matrix((np.random.default_rng(4).random((20, 14)) < 0.4).astype(np.float64))
    graph, columns = Graph.of(x, dtype=torch.float64), []
    times = Graph.times
    monkeypatch.setattr(
        Graph, "times", lambda self, y: columns.append(y.shape[1]) or times(self, y)
    )
    v = torch.eye(14, 3, dtype=torch.float64)
    for below, together, made in (
        (0, filters, 20 * 9 + 20 * 8),
        (1e9, filters, 20 * 9 + 3 * 8),  # of all users the same three columns
        (0, filters[:1], 20 * 5 + 3 * 4),
    ):
        monkeypatch.setattr(responses, "_COLUMNS_BELOW", below)
        columns.clear()
        for _ in Responses(graph, v, together).of(x):
            pass
        assert sum(columns) == made


GRIDS = {
    "GFCF": [{"k": k, "alpha": a} for k in (0, 3, 9) for a in (0.0, 0.3)],
    "BSPM": [
        {"k": k, "merge": merge, "K_s": steps, "combine": combine}
        for k in (3, 9)
        for merge in ("early", "late")
        for steps in (1, 2)
        for combine in (True, False)
    ],
    "ChebyCF": [
        {"beta": beta, "phi": phi, "eta": eta, "degree": degree}
        for beta in (0.0, 0.4)
        for phi in (1.5, 10)
        for eta in (0, 9)
        for degree in (3, 8)
    ],
    "SGFCF": [
        {"k": k, "eps": eps, "gamma": gamma, "beta_end": end}
        for eps in (0.3, 0.5)
        for k in (3, 9)
        for gamma in (0.0, 1.5)
        for end in (1.0, 2.0)
    ],
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_family_equals_separate_fits(name, folder, tmp_path):
    key = {"ChebyCF": "eta"}.get(name, "k")
    experiment = experiment_of(name, folder, **{key: 5})
    training = Training(experiment, None, tmp_path)
    shared, _ = training.build(experiment.settings.params)
    users, seen = torch.arange(1, N_USERS), []
    for group, scorer in shared.families(GRIDS[name]):
        for point, scores in zip(group, scorer(users), strict=True):
            alone = solved(name, folder, tmp_path, **{key: 5, **point})
            # The factor has converged to 1e-8; scores of order 1 in float32.
            np.testing.assert_allclose(scores, alone.scores_of(users.numpy()), atol=1e-5)
            seen.append(point)
    assert sorted(map(str, seen)) == sorted(map(str, GRIDS[name]))
    assert not bool(shared.vectors.any())  # its own weights stay as they are


@pytest.mark.parametrize("name", SLOW)
def test_scores_do_not_depend_on_the_block(name, folder, tmp_path, monkeypatch):
    point = next(point for model, point in POINTS if model == name)
    model, users = solved(name, folder, tmp_path, **point), np.arange(N_USERS)
    whole = model.scores_of(users)
    monkeypatch.setattr("recbole_ext.model.graph_filter._BLOCK", 7 * model.n_items)
    assert torch.allclose(model.scores_of(users), whole, atol=1e-6)


@pytest.mark.parametrize("name", ["SGFCF", "GFCF"])
def test_a_user_that_is_folded_in_is_scored_as_a_further_row_of_the_same_graph(
    name, tiny_path, tmp_path
):
    """Of a filter that has learnt from others, and whose homophily counts them all."""
    experiment = make_experiment(name, "tiny", tiny_path, split="users", fold=3, protocols="full", k=6)  # fmt: skip
    fitted = train(experiment, tmp_path)
    scoring = folded_in(fitted.model, fitted.bench)
    new = np.flatnonzero(np.diff(scoring.rows.indptr) > np.diff(fitted.model.interactions.indptr))
    x = scoring.rows[new].toarray()[:, 1:].astype(float)
    trained = fitted.model.interactions.toarray()[1:, 1:].astype(float)
    found = scoring.scores_of(new)[:, 1:].numpy()
    if name == "GFCF":
        d = Dense(trained)
        low = x * d.degrees(-0.5) @ d.v[:, :6] @ d.v[:, :6].T * d.degrees(0.5)
        np.testing.assert_allclose(found, x @ d.p + 0.3 * low, atol=1e-5)
        return
    shares = scoring._user_shares(new).numpy()
    for row, share in zip(x, shares, strict=True):
        mine = np.flatnonzero(row)
        pairs = [(i, j) for i in mine for j in mine if i != j]
        hits = sum((trained[:, i] * trained[:, j]).any() for i, j in pairs)
        assert share == pytest.approx(hits / len(pairs) if pairs else 0.0)
    assert fitted.model.rows is fitted.model.interactions
    assert "folded" not in fitted.model._shares and np.isfinite(found).all()


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("k", [N_ITEMS, N_USERS, 1000])
def test_more_vectors_than_users_or_items_are_refused_in_one_line(name, k, folder, tmp_path):
    key = "eta" if name == "ChebyCF" else "k"
    with pytest.raises(HarnessError, match=f"--{key}={k}: 30 users and 22 items .*; lower --{key} to at most 21") as e:  # fmt: skip
        solved(name, folder, tmp_path, **{key: k})
    assert len(str(e.value).splitlines()) == 1
    model = solved(name, folder, tmp_path, **{key: 5})
    with pytest.raises(HarnessError, match=f"lower --{key}"):
        next(model.families([{key: k}]))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("GFCF", "k", -1),
        ("GFCF", "alpha", -0.1),
        ("BSPM", "T_s", 0),
        ("BSPM", "K_s", 0),
        ("BSPM", "beta", -1),
        ("BSPM", "merge", "middle"),
        ("BSPM", "solver", "rk5"),
        ("SGFCF", "k", 0),
        ("SGFCF", "eps", -0.3),
        ("SGFCF", "mu", -1),
        ("SGFCF", "gamma", -1),
        ("SGFCF", "beta", -0.5),
        ("SGFCF", "beta_end", -2),
        ("ChebyCF", "degree", 0),
        ("ChebyCF", "phi", 0),
        ("ChebyCF", "eta", -5),
        ("ChebyCF", "alpha", -1),
        ("ChebyCF", "beta", -0.4),
    ],
)
def test_values_out_of_bounds_are_refused_before_any_work(name, key, value, folder):
    with pytest.raises(HarnessError, match=f"--{key}={value}"):
        experiment_of(name, folder, **{key: value})


@pytest.mark.parametrize("model", [GFCF, BSPM, ChebyCF, SGFCF])
def test_memory_grows_with_the_items_and_not_with_their_square(model, folder):
    key = model.rank_key
    params = experiment_of(model.__name__, folder, **{key: 256}).settings.params
    one, two = (model.planned_bytes(30_000, n, params) for n in (40_000, 400_000))
    assert 8 * 40_000 * 256 < one < 8 * 40_000**2 / 4
    assert two < 11 * one
    assert planned_bytes(experiment_of(model.__name__, folder, **{key: 5})) > 0


def test_a_plan_has_room_for_a_family():
    rest = 4 * responses._COLUMNS_MOST
    assert GFCF.planned_bytes(100, 50, {"k": 4}) >= 30 * GFCF.family_bytes + rest


def test_a_search_takes_the_kept_factor_of_more_vectors_and_a_tested_model_its_own():
    x = sp.csr_matrix((np.random.default_rng(4).random((20, 14)) < 0.4).astype(np.float64))
    shared_factor(x, 9)
    assert shared_factor(x, 5, larger=True) is shared_factor(x, 9)
    own = shared_factor(x, 5)
    assert own.vectors.shape[1] == 5 and shared_factor(x, 9, larger=True).vectors.shape[1] == 9
    # One of another graph is another.
    assert shared_factor(x[:15], 5, larger=True) is not shared_factor(x, 9, larger=True)
