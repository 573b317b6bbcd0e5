"""What models of labelled pairs share: the rows that they learn from, and how those that are stepped are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch.nn import functional

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.stage import Stage
from recbole_ext.data.histories import Histories
from recbole_ext.model.profiles import Shuffled

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Users [B], items [B], labels [B] float, and rows [B] of the interactions."""


class LabelledRows:
    """Batches of the training rows, in another order in each epoch."""

    def __init__(
        self,
        user: torch.Tensor,
        item: torch.Tensor,
        label: torch.Tensor,
        row: torch.Tensor,
        size: int,
    ) -> None:
        """N rows: users and items in RecBole's ids, labels 0 or 1, places among the interactions.

        Args:
            user: [N].
            item: [N].
            label: [N] float.
            row: [N].
            size: of a batch.
        """
        self.columns = user, item, label, row
        self.places = Shuffled(np.arange(len(user)), size)

    def __len__(self) -> int:
        return len(self.places)

    def __call__(self, generator: torch.Generator) -> Iterator[Batch]:
        for rows in self.places(generator):
            user, item, label, row = (column[rows] for column in self.columns)
            yield user, item, label, row


class PairModel(GeneralRecommender):  # type: ignore[misc]
    """The chance that a pair has label 1: `predict` is the logistic function of `logits`, which a subclass gives.

    `user`, `item` [N] are the training rows in RecBole's ids, `label` [N] theirs, `row` [N] their places among the interactions.

    Raises:
        HarnessError: the data has no labels, or some are not 0 or 1.
    """

    input_type = InputType.POINTWISE
    probabilities = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        name = type(self).__name__
        if dataset.labels is None:
            raise HarnessError(
                f"{name} learns from labels, and {dataset.dataset_name} has none here: --keep_label=true"
            )
        others = dataset.labels[(dataset.labels != 0) & (dataset.labels != 1)]
        if len(others):
            raise HarnessError(
                f"{name} learns from labels of 0 and 1, and {dataset.dataset_name} has others, e.g. {others[0]:g}"
            )
        self.user: Ints = dataset.inter_feat[self.USER_ID].numpy()
        self.item: Ints = dataset.inter_feat[self.ITEM_ID].numpy()
        self.label: Ints = dataset.labels.astype(np.int64)
        self.row: Ints = dataset.rows

    def labelled_rows(self, size: int) -> LabelledRows:
        """The training rows on the model's device, in batches of `size`."""
        label = torch.from_numpy(self.label).float().to(self.device)
        user, item, row = (
            torch.from_numpy(of).to(self.device) for of in (self.user, self.item, self.row)
        )
        return LabelledRows(user, item, label, row, size)

    def logits(self, user: torch.Tensor, item: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """[B] log-odds of label 1 of pairs in RecBole's ids; `row` [B] are their places among the interactions."""
        raise NotImplementedError

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] chances of label 1."""
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        return torch.sigmoid(self.logits(user, item, interaction["row"]))


class SteppedPairModel(PairModel):
    """A pair model that is trained in one stage: binary cross-entropy on the labels, by Adam.

    The penalty `weight_decay` is that of the authors' Adam: weight_decay / 2 x the sum of squares is a part of the loss, so that
    it goes through Adam's scaling; decoupled decay of the same size would be next to nothing. Stopped by the metric of
    selection on the validation part, after `stopping_step` epochs without a better one.

    A subclass names what is trained in `trainable` and the parameters that decide it in `own_keys`.
    """

    trainable: tuple[str, ...]
    own_keys: ClassVar[tuple[str, ...]] = ()
    stage_name = "collaborative"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.keys: dict[str, Any] = {key: config[key] for key in self.own_keys}
        self.epochs, self.patience = int(config["epochs"]), int(config["stopping_step"])
        self.learning_rate = float(config["learning_rate"])
        self.penalty = float(config["weight_decay"])
        self.batch_size = int(config["train_batch_size"])

    def stages(self) -> list[Stage]:
        """The one stage of training."""
        return [
            Stage(
                name=self.stage_name,
                trainable=self.trainable,
                loader=self.rows(),
                loss=self.loss,
                fingerprint={
                    "model": type(self).__name__,
                    "penalty": self.penalty,
                    "train_batch_size": self.batch_size,
                    **self.keys,
                },
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                validate=self.validation_score,
                patience=self.patience or None,
                after=(),
                rows=lambda batch: len(batch[0]),
            )
        ]

    def rows(self, size: int | None = None) -> LabelledRows:
        """The training rows in batches of `size`, None for those of the labels' stage."""
        return self.labelled_rows(size or self.batch_size)

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy over the rows of a batch, and the penalty."""
        user, item, label, row = batch
        found = functional.binary_cross_entropy_with_logits(self.logits(user, item, row), label)
        if not self.penalty:
            return found
        squares = torch.stack([p.square().sum() for p in self.parameters() if p.requires_grad])
        return found + self.penalty / 2 * squares.sum()


class HistoryPairModel(SteppedPairModel):
    """A stepped pair model that reads the latest `MAX_ITEM_LIST_LENGTH` items that the user had liked before the row."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.longest = int(config["MAX_ITEM_LIST_LENGTH"])
        self.histories: Histories = dataset.histories()

    def before(self, row: torch.Tensor) -> torch.Tensor:
        """[B, longest] liked items before rows [B] in RecBole's ids, the latest at the right, 0 in front of shorter ones."""
        found = self.histories.latest(row.cpu().numpy(), self.longest) + 1
        return torch.from_numpy(found).to(self.device)
