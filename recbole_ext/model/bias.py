"""Bias: how often a user likes anything, and how well an item is liked; no taste."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ext.core.arrays import Floats, Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.model.clicks import PairModel

_STEPS = 50
_CONVERGED = 1e-8
"""Largest change of any parameter in a step that ends the solution."""


class Bias(PairModel):
    """logit P(label = 1) = mu + b_u + b_i, by ridge logistic regression: the minimum of

        sum of cross-entropy + reg_user / 2 sum b_u^2 + reg_item / 2 sum b_i^2,

    which is one point, found by Newton's steps. A user or an item that is not in training has b = 0.

    No paper's: the reference that every board of `ctr` has, of what is known without any pairing of users with items. `reg_user` and
    `reg_item` are chosen on validation.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.regs = float(config["reg_user"]), float(config["reg_item"])
        double = torch.float64
        self.register_buffer("mean", torch.zeros((), dtype=double))
        self.register_buffer("of_user", torch.zeros(self.n_users, dtype=double))
        self.register_buffer("of_item", torch.zeros(self.n_items, dtype=double))

    def solve(self) -> None:
        """Newton's steps from 0."""
        mean, of_user, of_item = ridge_logistic(
            self.user, self.item, self.label, self.n_users, self.n_items, *self.regs
        )
        self.mean.fill_(mean)
        self.of_user.copy_(torch.from_numpy(of_user))
        self.of_item.copy_(torch.from_numpy(of_item))

    def logits(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B] log-odds."""
        found: torch.Tensor = self.mean + self.of_user[user] + self.of_item[item]
        return found


def ridge_logistic(
    user: Ints,
    item: Ints,
    label: Ints,
    n_users: int,
    n_items: int,
    reg_user: float,
    reg_item: float,
) -> tuple[float, Floats, Floats]:
    """(mu, b_u [n_users], b_i [n_items]) of N rows, 0 for users and items without any.

    Args:
        user: [N].
        item: [N].
        label: [N] 0 or 1, both of which occur.
        n_users: of which `user` are.
        n_items: of which `item` are.
        reg_user: above 0.
        reg_item: above 0.

    Raises:
        HarnessError: all labels are the same, so that mu has no bound.
    """
    if len(np.unique(label)) < 2:
        raise HarnessError("Bias: the labels of the training part are all the same")
    count = len(label)
    ones, places = np.ones(count), np.arange(count)
    x = sp.csr_matrix(
        (
            np.concatenate([ones, ones, ones]),
            (np.tile(places, 3), np.concatenate([0 * user, 1 + user, 1 + n_users + item])),
        ),
        (count, 1 + n_users + n_items),
    )
    ridge = np.concatenate([[0.0], np.full(n_users, reg_user), np.full(n_items, reg_item)])
    sign = 1.0 - 2.0 * label

    def objective(w: Floats) -> float:
        return float(np.logaddexp(0.0, sign * (x @ w)).sum() + (ridge * w * w).sum() / 2)

    w = np.zeros(x.shape[1])
    value = objective(w)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-(x @ w)))
        gradient = x.T @ (chance - label) + ridge * w
        step = _solved(x, chance * (1.0 - chance), ridge, gradient)
        size = 1.0
        while (tried := objective(w - size * step)) > value + 1e-9 * abs(value) and size > 1e-6:
            size /= 2
        w, value = w - size * step, tried
        if np.abs(size * step).max() < _CONVERGED:
            break
    return float(w[0]), w[1 : 1 + n_users], w[1 + n_users :]


def _solved(x: sp.csr_matrix, weight: Floats, ridge: Floats, target: Floats) -> Floats:
    """(X^T diag(weight) X + diag(ridge))^-1 target, by conjugate gradients: nothing of users x items is made."""
    from scipy.sparse.linalg import LinearOperator, cg

    diagonal = np.asarray(x.T @ weight).ravel() + ridge  # entries of X are 0 and 1
    by = 1.0 / diagonal
    size = x.shape[1]
    product = LinearOperator(
        (size, size), lambda v: x.T @ (weight * (x @ v)) + ridge * v, dtype=float
    )
    preconditioner = LinearOperator((size, size), lambda v: by * v, dtype=float)
    found, _ = cg(product, target, rtol=1e-10, maxiter=2000, M=preconditioner)
    return np.asarray(found)
