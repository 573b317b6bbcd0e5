"""A model in two stages: factors by BPR, then a linear map of the items over frozen factors."""

from __future__ import annotations

import time

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import nn
from torch.nn import functional

from recbole_ext.core.stage import Stage
from recbole_ext.recbole_compat import training_pairs


class Pairs:
    """Batches of (users, items), shuffled anew in each epoch."""

    def __init__(self, users: torch.Tensor, items: torch.Tensor, size: int) -> None:
        self.users, self.items, self.size = users, items, size

    def __len__(self) -> int:
        return -(-len(self.users) // self.size)

    def __call__(self, generator: torch.Generator):
        order = torch.randperm(len(self.users), generator=generator)
        for rows in order.split(self.size):
            yield self.users[rows], self.items[rows]


class TwoStages(GeneralRecommender):
    """Scores are p_u . (q_i + M q_i), M = 0 at the start."""

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        width = config["embedding_size"]
        self.config = {
            key: config[key]
            for key in ("factor_epochs", "map_epochs", "learning_rate", "nap", "batch_size")
        }
        self.users, self.items = (
            nn.Embedding(self.n_users, width),
            nn.Embedding(self.n_items, width),
        )
        self.map = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(0.2)
        nn.init.zeros_(self.map.weight)
        users, items = training_pairs(dataset)
        self.pairs = Pairs(
            torch.from_numpy(users).long(),
            torch.from_numpy(items).long(),
            self.config["batch_size"],
        )

    def stages(self) -> list[Stage]:
        rate, shared = (
            self.config["learning_rate"],
            {"width": self.users.embedding_dim, "batch": self.pairs.size},
        )
        return [
            Stage("factors", ("users", "items"), self.pairs, self.factor_loss, shared, self.config["factor_epochs"], rate,
                  rows=lambda batch: len(batch[0])),
            Stage("map", ("map",), self.pairs, self.map_loss, {}, self.config["map_epochs"], rate,
                  rows=lambda batch: len(batch[0])),
        ]  # fmt: skip

    def factor_loss(self, batch) -> torch.Tensor:
        users, items = batch
        others = torch.randint(
            1, self.n_items, items.shape
        )  # torch's own, which a resumed stage goes on with
        p = functional.dropout(self.users(users), 0.2)
        return -functional.logsigmoid((p * (self.items(items) - self.items(others))).sum(1)).mean()

    def map_loss(self, batch) -> torch.Tensor:
        time.sleep(self.config["nap"])
        users, items = batch
        others = torch.randint(1, self.n_items, items.shape)
        q = self.mapped(self.items.weight)
        return -functional.logsigmoid((self.users(users) * (q[items] - q[others])).sum(1)).mean()

    def mapped(self, items: torch.Tensor) -> torch.Tensor:
        return items + self.map(items)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        return (self.users(interaction[self.USER_ID]) @ self.mapped(self.items.weight).T).view(-1)

    def predict(self, interaction) -> torch.Tensor:
        q = self.mapped(self.items(interaction[self.ITEM_ID]))
        return (self.users(interaction[self.USER_ID]) * q).sum(1)
