"""Toys that steering is tested on: users, items with tags, neurons, and random ones of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from hypothesis import strategies as st

from recbole_ext.sae.steering_evaluation import evaluated
from recbole_ext.sae.steering_systems import steered_systems
from recbole_ext.sae.steering_table import SteeringTable
from recbole_ext.sae.steering_task import steering_task


@dataclass
class Toy:
    """Scores that are codes times a matrix; it writes down what it was asked."""

    of_users: torch.Tensor
    weights: torch.Tensor
    items: torch.Tensor
    asked: list = field(default_factory=list)

    def codes(self, users):
        self.asked.append(users.tolist())
        return self.of_users[users]

    def scores(self, users, codes):
        self.asked.append((users.tolist(), codes.tolist()))
        return codes @ self.weights

    def plain(self, users):
        return self.of_users[users] @ self.weights.flip(0)

    def item_codes(self):
        return self.items


# Seven items, tags a and b: 0 a, 1 a, 2 b, 3 b, 4 a and b, 5 and 6 neither.
TAGS = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [0, 0], [0, 0]], dtype=bool)
# Neuron 0 is a's, 1 is b's, 2 is neither's and 3 is dead.
WEIGHTS = torch.tensor(
    [
        [0.9, 0.8, 0.0, 0.0, 0.7, 0.0, 0.1],
        [0.0, 0.0, 0.9, 0.75, 0.6, 0.0, 0.2],
        [0.1, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)
CODES = torch.tensor([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 1, 1, 0]]).float()
HELD_OUT = (np.array([0, 0, 1, 1, 2, 3]), np.array([2, 5, 0, 1, 4, 5]))
HISTORY = (np.array([0, 1, 1, 2, 3, 4]), np.array([0, 2, 3, 5, 0, 1]))
NEURONS = torch.tensor([[0], [1]])
USERS, NAMES = [f"u{i}" for i in range(5)], ["a", "b"]


def toy() -> Toy:
    return Toy(CODES, WEIGHTS, torch.eye(4)[[0, 0, 1, 1, 0, 2, 2]])


def toy_task(**changes):
    given = {"held_out": HELD_OUT, "history": HISTORY, "k": 3} | changes
    return steering_task(TAGS, user_tokens=USERS, tag_names=NAMES, **given)


@st.composite
def problems(draw):
    """A random task with its systems' pieces; every score is distinct."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    users, items, n_tags, h = (
        draw(st.integers(*span)) for span in ((2, 6), (12, 20), (1, 5), (4, 8))
    )
    tags = rng.random((items, n_tags)) < 0.4
    tags[0, 0] = True
    kinds = rng.choice(list("+x-"), (users, items), p=[0.2, 0.2, 0.6])
    kinds[0, 0] = "+"
    kinds[0, 1:] = np.where(kinds[0, 1:] == "x", "-", kinds[0, 1:])
    seen = kinds == "x"
    kinds[seen & (seen.cumsum(axis=1) > items - 4)] = "-"  # a list of four has as many candidates
    codes = rng.gamma(1.0, 1.0, (users, h)) * (rng.random((users, h)) < 0.6)
    codes[:, 0] += 0.1  # a code of zeros would tie all items
    model = Toy(
        *(torch.from_numpy(x) for x in (codes, rng.normal(size=(h, items)), np.eye(h)[:, :h]))
    )
    neurons = torch.from_numpy(np.stack([rng.permutation(h)[:3] for _ in range(n_tags)]))
    task = steering_task(
        tags, np.nonzero(kinds == "+"), np.nonzero(kinds == "x"), [f"{u}" for u in range(users)],
        [f"{t}" for t in range(n_tags)], draw(st.sampled_from(["targets", "random"])), k=4,
    )  # fmt: skip
    return task, model, neurons


def evaluate_toy() -> SteeringTable:
    return evaluated(toy_task(), steered_systems(toy(), {"map": NEURONS}, counts=(1,)))
