"""BSPM: blurring, and sharpening by an ordinary differential equation whose coarse steps are the method."""

from __future__ import annotations

import numpy as np

from recbole_ext.core.arrays import Floats
from recbole_ext.linear.filters import Filter, LowPass, polynomial
from recbole_ext.model.graph_filter import GraphFilter, Point


def step(solver: str, z: Floats) -> Floats:
    """What one step of ds/dt = -s P̃ multiplies by, z being its length times an eigenvalue of P̃."""
    if solver == "euler":
        return 1 - z
    return 1 - z + z**2 / 2 - z**3 / 6 + z**4 / 24  # the classic Runge-Kutta method of order 4


class BSPM(GraphFilter):
    """Choi, Hong, Park, Cho, "Blurring-Sharpening Process Models for Collaborative Filtering", SIGIR 2023, in the form of the
    authors' code.

    Blurred b = x P̃, low-passed l = x D^-½ V_k V_kᵀ D^½; s starts at b + βl (`merge: early`, BSPM-EM) or at b (`late`, BSPM-LM,
    where βl is added in the end) and is sharpened, ds/dt = -s P̃, up to T_s in K_s steps of `solver`. Scores are the last s,
    or, with `combine`, the mean of b and of s after each step. `sharpen: false` leaves b + βl. Each step is linear, and
    multiplies by 1 - hP̃ (Euler) or by the first five terms of e^-hP̃ (RK4), h = T_s / K_s: few steps are another model
    than many.

    Deviations: items without interactions are left out of D^±½, where the code divides by zero. The authors leave the low-pass out
    on Amazon-book by the data set's name: `k: 0` here. Blurring and low-pass in several steps, which their code has and no
    published setting uses, are left out. The search space is ours, about the published settings.
    """

    keys = ("k", "beta", "merge", "sharpen", "solver", "T_s", "K_s", "combine")

    @staticmethod
    def filter_at(point: Point) -> Filter:
        k, beta, steps = int(point["k"]), float(point["beta"]), int(point["K_s"])
        solver, h = str(point["solver"]), float(point["T_s"]) / steps
        sharpen, combine = bool(point["sharpen"]), bool(point["combine"])
        early = point["merge"] == "early" and sharpen

        def sharpened(z: Floats) -> Floats:
            """What s is multiplied by; of the mean, but for b itself."""
            if not sharpen:
                return np.ones_like(z)
            one = step(solver, h * z)
            after = [one**t for t in range(1, steps + 1)]
            return sum(after, np.zeros_like(z)) / (steps + 1) if combine else after[-1]

        def blurred(z: Floats) -> Floats:
            mean_has_b = combine and sharpen
            return z * (sharpened(z) + (1 / (steps + 1) if mean_has_b else 0.0))

        degree = steps * (1 if solver == "euler" else 4) if sharpen else 0
        q = polynomial(lambda z: beta * sharpened(z), degree) if early else (beta,)
        return Filter(polynomial(blurred, degree + 1), low=LowPass(k, q))
