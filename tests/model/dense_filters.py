"""Graph filters as dense matrices in float64, written from the formulas."""

from __future__ import annotations

import numpy as np

from recbole_ext.model.chebycf import coefficients


class Dense:
    """What the formulas are made of, as dense matrices in float64 of a binary x [m, n]."""

    def __init__(self, x, eps=0.5, mu=0.0):
        self.x = x
        self.users, self.items = x.sum(1), x.sum(0)
        self.r = np.zeros_like(x)
        for u, i in zip(*np.nonzero(x), strict=True):
            self.r[u, i] = 1 / ((self.users[u] + mu) * (self.items[i] + mu)) ** eps
        self.p = self.r.T @ self.r
        self.u, self.s, vt = np.linalg.svd(self.r)
        self.rank, self.v = int((self.s > 1e-7).sum()), vt.T

    def degrees(self, power):
        """D^power, 0 of an item without interactions."""
        return np.array([d**power if d else 0.0 for d in self.items])

    def low(self, k, scale):
        v = self.v[:, : min(k, self.rank)]
        return (self.x * self.degrees(-scale)) @ v @ v.T * self.degrees(scale)


def slow_gfcf(x, k, alpha):
    d = Dense(x)
    return x @ d.p + alpha * d.low(k, 0.5)


def slow_bspm(x, k, beta, merge, sharpen, solver, T_s, K_s, combine):
    """The authors' procedure, step by step."""
    d = Dense(x)
    blurred, low = (
        x + (x @ d.p - x),
        d.low(k, 0.5),
    )  # one Euler step of length 1 of ds/dt = s (P̃ - I)
    if not sharpen:
        return blurred + beta * low
    s, h, after = (blurred + beta * low if merge == "early" else blurred), T_s / K_s, []

    def slope(s):
        return -s @ d.p

    for _ in range(K_s):
        if solver == "euler":
            s = s + h * slope(s)
        else:
            a = slope(s)
            b = slope(s + h / 2 * a)
            c = slope(s + h / 2 * b)
            e = slope(s + h * c)
            s = s + h / 6 * (a + 2 * b + 2 * c + e)
        after.append(s)
    made = np.mean([blurred, *after], axis=0) if combine else s
    return made + beta * low if merge == "late" else made


def slow_chebycf(x, degree, phi, eta, alpha, beta):
    """The polynomial by P̃'s eigenvalues, of which Chebyshev's cosines are taken."""
    d = Dense(x)
    values, vectors = np.linalg.eigh(d.p)
    angle = np.arccos(np.clip(1 - 2 * values, -1, 1))
    c = coefficients(degree, phi)
    p = vectors @ np.diag(sum(c[j] * np.cos(j * angle) for j in range(degree + 1))) @ vectors.T
    before, after = (x * d.degrees(-beta), d.degrees(beta)) if beta else (x, 1.0)
    v = d.v[:, : min(eta, d.rank)]
    return (before @ p + alpha * before @ v @ v.T) * after


def slow_sgfcf(x, k, eps, mu, gamma, beta, beta_end, individual):
    d = Dense(x, eps, mu)
    k = min(k, d.rank)

    def share(x):
        found = []
        for row, of in enumerate(x):
            mine = np.flatnonzero(of)
            others = np.delete(x, row, axis=0)
            pairs = [(i, j) for i in mine for j in mine if i != j]
            hits = sum((others[:, i] * others[:, j]).any() for i, j in pairs)
            found.append(hits / len(pairs) if pairs else 0.0)
        return np.array(found)

    def exponents(x):
        if not individual:
            return np.full(len(x), beta)
        h = share(x)
        low, high = h[x.sum(1) > 0].min(), h[x.sum(1) > 0].max()
        return beta + (beta_end - beta) * (h - low) / (high - low)

    s, of_users, of_items = d.s[:k] / d.s[0], exponents(x), exponents(x.T)
    left = d.u[:, :k] * s ** of_users[:, None]
    rate = left @ (d.v[:, :k] * s ** of_items[:, None]).T
    twice = d.r @ d.r.T @ d.r
    out = np.zeros_like(x)
    for u in range(len(x)):
        if x[u].sum():
            out[u] = rate[u] / rate[u].sum() + gamma * twice[u] / twice[u].sum()
    return out


SLOW = {"GFCF": slow_gfcf, "BSPM": slow_bspm, "ChebyCF": slow_chebycf, "SGFCF": slow_sgfcf}
