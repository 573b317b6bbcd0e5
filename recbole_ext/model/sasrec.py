"""SASRec: what comes next, learnt at all places of a history at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import nn
from torch.nn import functional

from recbole_ext.core.arrays import Ints
from recbole_ext.core.contrastive import mean_log_sum_exp
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Computed, Stage
from recbole_ext.model.self_attention import MODULES, SelfAttentive
from recbole_ext.model.sequences import Batch, Windows, left_padded
from recbole_ext.recbole_compat.sampling import Negatives, without_any_left

_KEYS = (
    "hidden_size", "n_layers", "n_heads", "dropout_prob", "MAX_ITEM_LIST_LENGTH", "loss", "windows", "train_batch_size",
)  # fmt: skip
"""What the stage depends on beside its batches."""


class SASRec(SelfAttentive, SequentialRecommender):  # type: ignore[misc]
    """Kang, McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, in the form of A-LLMRec's code and of its PyTorch
    port: score(u, i) = <f_u, e_i>, f_u the state at the last place of the latest `MAX_ITEM_LIST_LENGTH` items.

    One pass over a history gives the state at each of its places, and each is trained on the item that follows it: with `bce` by
    softplus(-<f, e_next>) + softplus(<f, e_j>), j drawn uniformly from what the user has not in training, means over places; with `ce` by the
    softmax over the catalogue. RecBole's model of this name (`SASRec@recbole`) makes one pass for each place instead. Adam with betas .9
    and .98; items are scaled by the root of d inside the encoder only.

    Deviations, ours: no place sees the padding in front of it, so that a state depends on the history alone; the epoch is chosen by the
    metric of selection on validation, where A-LLMRec keeps the last and the port looks at test; matrices start from Xavier's normal;
    `windows: all` learns each place of a history that is longer than a window, `overlapping` so that each has half a window before it at
    least, where there is as much; histories of like length share a batch.
    """

    input_type = InputType.POINTWISE
    trainable = MODULES
    whole_histories = True
    stage_name = "collaborative"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys: dict[str, Any] = {key: config[key] for key in _KEYS}
        self.epochs, self.patience = int(config["epochs"]), int(config["stopping_step"])
        self.learning_rate = float(config["learning_rate"])
        self.batch_size = int(config["train_batch_size"])
        self.longest = int(config["MAX_ITEM_LIST_LENGTH"])
        self.user: Ints = dataset.inter_feat[self.USER_ID].numpy()
        self.item: Ints = dataset.inter_feat[self.ITEM_ID].numpy()
        self.softmax = config["loss"] == "ce"
        if not self.softmax:
            self.negatives = self._negatives(dataset)
        self.make_transformer(self.n_items, self.longest, config)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)
        with torch.no_grad():
            self.items.weight[0] = 0.0

    def _negatives(self, dataset: Any) -> Negatives:
        pairs = np.unique(np.stack([self.user, self.item]), axis=1)
        every = np.ones(self.n_items)
        every[0] = 0
        full = without_any_left(pairs[0], pairs[1], every)
        if full is not None:
            user = dataset.field2id_token[self.USER_ID][full]
            raise HarnessError(
                f"{type(self).__name__} draws negatives, but user '{user}' of {dataset.dataset_name} has every item in training: "
                "leave that user out of the data, or take --loss=ce, which draws none"
            )
        return Negatives(
            pairs[0], pairs[1], int(dataset.user_num), self.n_items, device=self.device
        )

    def stages(self) -> list[Stage | Computed]:
        """The one stage of training."""
        half = -(-self.longest // 2)
        steps = {"latest": None, "all": self.longest, "overlapping": half}
        return [
            Stage(
                name=self.stage_name,
                trainable=self.trainable,
                loader=Windows(
                    self.user,
                    self.item,
                    self.longest,
                    self.batch_size,
                    steps[self.keys["windows"]],
                    self.device,
                ),
                loss=self.loss,
                fingerprint={"model": "SASRec", **self.keys},
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                betas=(0.9, 0.98),
                validate=self.collaborative_score,
                patience=self.patience or None,
                after=(),
                rows=lambda batch: len(batch[0]),
                reads=("data", "split", "valid_rows"),
            )
        ]

    def collaborative_score(self) -> float:
        """The metric of selection, of the scores of this stage."""
        score: float = self.validation_score()
        return score

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the places of a batch that an item follows."""
        users, seen, following = batch
        there = (following > 0).flatten().nonzero()[:, 0]
        states = self.states(seen).flatten(0, 1).index_select(0, there)
        wanted = following.flatten()[there]
        if self.softmax:
            own = (states * self.items(wanted)).sum(1)
            told: torch.Tensor = mean_log_sum_exp(states, self.items.weight[1:]) - own.mean()
            return told
        owner = users[:, None].expand_as(seen).flatten()[there]
        drawn = self.negatives(owner, 1)[:, 0]
        above, below = ((states * self.items(of)).sum(1) for of in (wanted, drawn))
        return functional.softplus(-above).mean() + functional.softplus(below).mean()

    @property
    def item_table(self) -> torch.Tensor:
        """[n_items, d] that scores are made with, the padding item's first."""
        return self.items.weight

    def user_states(self, histories: Sequence[Sequence[int]]) -> torch.Tensor:
        """[B, d] of histories in RecBole's ids, the latest item last; only the latest `MAX_ITEM_LIST_LENGTH` of each are read."""
        read = [list(history)[-self.longest :] for history in histories]
        longest = max([1, *(len(history) for history in read)])
        rows = [[0] * (longest - len(history)) + history for history in read]
        return self.states(torch.tensor(rows, device=self.device), 1)[:, 0]

    def _of(self, interaction: Any) -> torch.Tensor:
        """[B, d] states of RecBole's rows; a row of padding alone has that of no history."""
        seen = left_padded(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return self.states(seen, 1)[:, 0]

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """[B * n_items] scores of every item."""
        return (self._of(interaction) @ self.item_table.T).flatten()

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] scores of the given items; one state for all rows of a user."""
        users, where = np.unique(interaction[self.USER_ID].cpu().numpy(), return_inverse=True)
        first = np.zeros(len(users), dtype=np.int64)
        first[where[::-1]] = np.arange(len(where))[::-1]
        states = self._of(interaction[torch.from_numpy(first)])[torch.from_numpy(where)]
        found: torch.Tensor = (states * self.item_table[interaction[self.ITEM_ID]]).sum(1)
        return found
