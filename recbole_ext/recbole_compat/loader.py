"""RecBole's batches of the training part, and what is drawn into them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recbole_ext.recbole_compat.boundary import by_recbole
from recbole_ext.recbole_compat.rows import training_pairs


def loader_of(name: str, config: Any, dataset: Any, folded: bool, params: Mapping[str, Any]) -> Any:
    """RecBole's batches of `dataset`; `folded`: some users have nothing in it."""
    from recbole.data.dataloader import UserDataLoader
    from recbole.data.utils import get_dataloader

    with by_recbole(name, dataset.dataset_name):
        sampler = _train_sampler(config, dataset)
        loader_class = get_dataloader(config, "train")
        if folded and loader_class is UserDataLoader:
            loader_class = _training_users()
        loader = loader_class(config, dataset, sampler, shuffle=config["shuffle"])
        if params.get("pos_sampling") == "user_uniform":
            loader.transform = _user_uniform(config, dataset)
        return loader


@functools.cache
def _training_users() -> type:
    import torch
    from recbole.data.dataloader import UserDataLoader
    from recbole.data.interaction import Interaction

    class TrainingUsers(UserDataLoader):  # type: ignore[misc]
        """RecBole's batches of users, without those that have nothing in training: an empty row would be learnt."""

        def _init_batch_size_and_step(self) -> None:
            users = torch.unique(self._dataset.inter_feat[self.uid_field])
            self.user_list = Interaction({self.uid_field: users})
            self.sample_size = len(users)
            super()._init_batch_size_and_step()

    return TrainingUsers


def _train_sampler(config: Any, dataset: Any) -> Any:
    """RecBole's sampler of negatives outside the training part, None for a model that draws none."""
    from recbole.sampler import RepeatableSampler

    args = config["train_neg_sample_args"]
    if args["distribution"] == "none":
        return None
    kind = RepeatableSampler if config["repeatable"] else sampler_class()
    return kind(
        ["train"],
        dataset if config["repeatable"] else [dataset],
        args["distribution"],
        args["alpha"],
    ).set_phase("train")


@functools.cache
def sampler_class() -> type:
    from recbole.sampler import Sampler

    class HarnessSampler(Sampler):  # type: ignore[misc]
        """RecBole's sampler, whose last phase draws what a user has in none of the datasets.

        RecBole's own reads each dataset once for every phase, and refuses a user who has every item, whether anything is
        drawn for that user or not; see `draws`.
        """

        def get_used_ids(self) -> dict[str, Any]:
            used = np.empty(self.user_num, dtype=object)
            used[:] = [set() for _ in used]
            for dataset in self.datasets:
                feat = dataset.inter_feat
                for user, item in zip(
                    feat[self.uid_field].tolist(), feat[self.iid_field].tolist(), strict=True
                ):
                    used[user].add(item)
            return {self.phases[-1]: used}

    return HarnessSampler


def _user_uniform(config: Any, dataset: Any) -> Callable[[Any, Any], Any]:
    """In place of the pairs of a batch as many that are drawn by user; RecBole adds their negatives."""
    from recbole.data.interaction import Interaction

    from recbole_ext.recbole_compat.sampling import UserUniform

    drawn = UserUniform(*training_pairs(dataset), dataset.user_num)

    def transform(_: Any, batch: Any) -> Any:
        users, items = drawn(len(batch))
        return Interaction({config["USER_ID_FIELD"]: users, config["ITEM_ID_FIELD"]: items})

    return transform
