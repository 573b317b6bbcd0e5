"""RecBole's config, dataset, loader and model, fed from memory."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recbole_ext.core.arrays import Ints
from recbole_ext.core.errors import HarnessError
from recbole_ext.data.interactions import Interactions
from recbole_ext.data.splits import HISTORY, TEST, TRAIN, UNUSED, VALID, Split
from recbole_ext.recbole_compat.boundary import by_recbole
from recbole_ext.recbole_compat.stack import recbole

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Bench:
    """What a model needs to be built and trained, all of it RecBole's."""

    name: str
    """Of the model as it was typed, for messages: `SASRec@recbole` is SASRec in RecBole's config."""
    config: Any
    dataset: Any
    """Training part. Has `item_vectors` [n_items + 1, d] (row 0 is padding), and `forget_item_vectors()`, when the model reads text, `item_titles` [n_items + 1] (the
    first is "") when it reads titles, `item_texts()` [n_items] or None, `user_vectors` [n_users + 1, d] or None, and `item_blocks` [n_items + 1] or None. `validation_rows()` is what stages may stop by: [n_users + 1, n_items + 1] scipy csr, all that users with a
    validation part have but for their test part, the other rows empty. A general model's has `labels` [N], in the order of its interactions, None where there are none, `rows` [N], their places among all
    interactions, and `histories()`, a `data.histories.Histories` of all of those, items counted from 0. Of a model with `whole_histories`
    it holds each training interaction once, by user and then by place; of another sequential one RecBole's prefixes of histories."""
    make_loader: Callable[[], Any]
    """Of `train_loader`; called once."""
    built: tuple[Any, Any, Any] | None
    """RecBole's (train, valid, test) datasets; None for sequential models."""
    places: Ints | None
    """[N] of each interaction in its user's history, for a model that reads histories in order."""
    folded: Any = None
    """Training part and what is folded in of users whom it lacks, in one; None where nothing is, and for sequential models,
    which are given histories."""

    @cached_property
    def train_loader(self) -> Any:
        """RecBole's batches of the training part. Its loader and sampler hold a Python object for each interaction, 150 bytes
        of it: a model that is solved, or that makes batches of its own, never asks."""
        return self.make_loader()

    def read_of(self, data: Interactions, split: Split, *parts: int) -> tuple[Ints, Ints]:
        """(Users, items) of the interactions in any of `parts`, of which a model that reads histories makes its input;
        none for another, to which they would be copies of everything."""
        return split.pairs(data, *(parts if self.places is not None else ()))


def prepare(
    model: type | str,
    params: Mapping[str, Any],
    data: Interactions,
    split: Split,
    *,
    name: str,
    seed: int,
    device: str,
    scratch: Path,
    item_vectors: npt.NDArray[np.float32] | None = None,
    item_titles: Sequence[str] | None = None,
    item_texts: Callable[[], Sequence[str]] | None = None,
    user_vectors: npt.NDArray[np.float32] | None = None,
    item_blocks: npt.NDArray[np.int64] | None = None,
) -> Bench:
    """Seed everything and build config, dataset and training loader.

    Args:
        model: a RecBole model subclass, or a RecBole model name.
        params: model and training parameters, already checked; they win over RecBole's files.
        data: interactions in canonical order.
        split: their parts.
        name: of the model, as it was typed.
        seed: of every random generator.
        device: `cpu` or `cuda`.
        scratch: a folder for whatever RecBole insists on creating.
        item_vectors: [n_items, d] text embeddings in item order, or None.
        item_titles: [n_items] in item order, "" where there is none, or None.
        item_texts: the texts behind `item_vectors`, asked for by a model that encodes them itself.
        user_vectors: [n_users, d] those of what is said of users in words, or None.
        item_blocks: [n_items] ascending, items of one dataset where several are trained on, or None.
    """
    recbole()
    import torch
    from recbole.utils import ModelType, get_model, init_seed

    with by_recbole(name, data.name):
        if isinstance(model, str):
            model = get_model(model)
        config = _config_class()(
            model=model,
            dataset=data.name,
            config_dict={
                **_fixed(seed, scratch),
                **params,
                "harness_device": device,
            },
        )
        sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        in_order = sequential or bool(config["time-aware"])  # DiffRec's key
        if in_order:
            _check_histories(name, data, split)
        init_seed(seed, True)
        # Several threads that add into one row (the gradient of an index) would add in any order, and a run would not repeat.
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Its other half costs time, and nothing here reads memory that was never written.
        deterministic: Any = torch.utils.deterministic
        deterministic.fill_uninitialized_memory = False
        places = split.places(data) if in_order else None
        whole = bool(getattr(model, "whole_histories", False))
        dataset = _dataset_class(sequential)(config, data, split, places, whole)
        built = dataset.build()
        # One of each, whatever the number of parts: vectors of a million items take more than everything else.
        titles = None if item_titles is None else ["", *item_titles]
        of_items = None if item_vectors is None else _Padded(item_vectors)
        of_users = None if user_vectors is None else _Padded(user_vectors).tensor
        blocks = None if item_blocks is None else np.concatenate([[0], item_blocks])
        for part in built:
            if titles is not None:
                part.item_titles = titles
            part.item_texts = item_texts
            if of_items is not None:
                part.padded_vectors = of_items
            part.user_vectors = of_users
            part.item_blocks = blocks
        built[0].validation_rows = functools.partial(_validation_rows, data, split)
        folded = dataset.with_histories()
        loader = functools.partial(_loader, name, config, built[0], folded is not None, params)
        if not sequential:
            built[0].labels = None if data.label is None else data.label[split.part == TRAIN]
            built[0].rows = np.flatnonzero(split.part == TRAIN)
            built[0].histories = functools.partial(split.histories, data)
        parts = None if sequential else (built[0], built[1], built[2])
        bench = Bench(name, config, built[0], loader, parts, places, folded)
        if not (hasattr(model, "solve") or hasattr(model, "stages")):
            _ = bench.train_loader
        return bench


def _loader(name: str, config: Any, dataset: Any, folded: bool, params: Mapping[str, Any]) -> Any:
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


class _Padded:
    """Vectors with a row of zeros before them: made when somebody looks, and made again where they have been let go of."""

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        """`vectors` [n, d]."""
        self._vectors = vectors

    @cached_property
    def tensor(self) -> torch.Tensor:
        """[n + 1, d]"""
        import torch

        zero = np.zeros((1, self._vectors.shape[1]), np.float32)
        return torch.from_numpy(np.vstack([zero, self._vectors]))

    def forget(self) -> None:
        self.__dict__.pop("tensor", None)


class _Places(Mapping[str, int]):
    """Token -> its id in RecBole, in a dictionary that is made when somebody looks: few do."""

    def __init__(self, names: npt.NDArray[Any]) -> None:
        self._names = names

    @cached_property
    def _place(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self._names)}

    def __getitem__(self, token: str) -> int:
        return self._place[token]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _check_histories(model: str, data: Interactions, split: Split) -> None:
    """Refuse data in which nothing follows anything.

    Raises:
        HarnessError: there are no times, or no user has two interactions in training.
    """
    if data.time is None:
        raise HarnessError(
            f"{model} reads histories in order, but {data.name} has no timestamp column"
        )
    if np.bincount(split.pairs(data, TRAIN)[0]).max(initial=0) < 2:
        raise HarnessError(
            f"{model} learns which item follows another, but no user of {data.name} has two interactions in training: "
            "raise --min_user, or the first share of --split_ratio"
        )


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


def training_pairs(dataset: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(users, items) of a RecBole dataset in its ids, each pair once."""
    pairs = dataset.inter_matrix(form="csr")
    pairs.sum_duplicates()
    pairs = pairs.tocoo()
    return pairs.row, pairs.col


def interaction_rows(dataset: Any) -> sp.csr_matrix:
    """[n_users, n_items] who has what in a RecBole dataset, in its ids, 1 each."""
    user, item = (dataset.inter_feat[f].numpy() for f in (dataset.uid_field, dataset.iid_field))
    shape = dataset.user_num, dataset.item_num
    same, later = user[1:] == user[:-1], item[1:] > item[:-1]
    if ((user[1:] > user[:-1]) | (same & later)).all():
        # In canonical order, as they mostly are: RecBole's own way takes four times the memory of what it makes.
        ends = np.append(0, np.cumsum(np.bincount(user, minlength=shape[0])))
        kind = np.int32 if ends[-1] <= np.iinfo(np.int32).max else np.int64
        ones = np.ones(len(item), np.float32)
        return sp.csr_matrix((ones, item.astype(kind), ends.astype(kind)), shape)
    rows: sp.csr_matrix = dataset.inter_matrix(form="csr").astype(np.float32)
    rows.data[:] = 1.0
    return rows


def _validation_rows(data: Interactions, split: Split) -> sp.csr_matrix:
    """[n_users + 1, n_items + 1] all that users with a validation part have, but for their test part; other rows are empty."""
    users, _ = split.pairs(data, VALID)
    user, item = split.pairs(data, TRAIN, HISTORY, VALID)
    kept = np.isin(user, users)
    cells = np.ones(int(kept.sum()), np.float32), (user[kept] + 1, item[kept] + 1)
    rows = sp.csr_matrix(cells, (len(data.user_tokens) + 1, len(data.item_tokens) + 1))
    rows.data[:] = 1.0
    return rows


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


def _fixed(seed: int, scratch: Path) -> dict[str, Any]:
    """Settings that are ours to fix: everything around the model that RecBole would read from its files."""
    return {
        "seed": seed,
        "reproducibility": True,
        "state": "WARNING",
        "show_progress": False,
        "checkpoint_dir": str(scratch),
        "data_path": str(scratch),
        "normalize_all": False,
        "eval_args": {
            "split": {"RS": [0.8, 0.1, 0.1]},
            "order": "TO",
            "group_by": "user",
            "mode": "full",
        },
        "metrics": ["Recall"],
        "topk": [20],
        "valid_metric": "Recall@20",
        "metric_decimal_place": 10,
    }


@functools.cache
def _config_class() -> type:
    import torch
    from recbole.config import Config
    from recbole.data.utils import get_dataloader
    from recbole.utils import ModelType

    class HarnessConfig(Config):  # type: ignore[misc]
        """RecBole's Config fed by one dictionary: no command line, no eval of strings, no mutation of arguments."""

        def _load_cmd_line(self) -> dict[str, Any]:
            return {}

        def _load_variable_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
            return dict(config_dict)

        def _set_default_parameters(self) -> None:
            final = self.final_config_dict
            final["repeatable"] = final["MODEL_TYPE"] == ModelType.SEQUENTIAL
            full_softmax = final["repeatable"] and final.get("loss_type") == "CE"
            final.setdefault("eval_args", {})
            final["model"] = self.model
            # Loaders of whole user rows and the full softmax take no sampled negatives; RecBole's default would raise.
            # Models that are counted or solved read none, but for RecBole's Pop, which counts them.
            by_rows = get_dataloader(self, "train").__name__ == "UserDataLoader"
            solved = final["MODEL_TYPE"] == ModelType.TRADITIONAL and self.model != "Pop"
            if full_softmax or by_rows or solved:
                final["train_neg_sample_args"] = None
            super()._set_default_parameters()

        def _init_device(self) -> None:
            # RecBole's own would overwrite CUDA_VISIBLE_DEVICES, which a scheduler may have set.
            self.final_config_dict.update(
                single_spec=True,
                local_rank=0,
                device=torch.device(self.final_config_dict.pop("harness_device")),
            )

    return HarnessConfig


@functools.cache
def _dataset_class(sequential: bool) -> type:
    import pandas as pd
    from recbole.data import dataset as datasets
    from recbole.utils import FeatureSource, FeatureType

    parent = datasets.SequentialDataset if sequential else datasets.Dataset

    class HarnessDataset(parent):  # type: ignore[misc, valid-type]
        """RecBole's Dataset filled from memory, with canonical ids and our split."""

        def __init__(
            self, config: Any, data: Interactions, split: Split, places: Ints | None, whole: bool
        ) -> None:
            self._given = data, split, places
            self._whole = whole
            super().__init__(config)
            del self._given

        def _load_data(self, token: str, dataset_path: str) -> None:
            data, split, places = self._given
            # Sequential models build their prefixes from what they may train on, and from nothing else.
            rows = (
                np.flatnonzero(split.part == TRAIN)
                if sequential
                else np.argsort(split.part, kind="stable")[: int((split.part < UNUSED).sum())]
            )
            columns: dict[str, npt.NDArray[Any]] = {
                self.uid_field: data.user[rows],
                self.iid_field: data.item[rows],
            }
            for field, ids in columns.items():
                ids += 1
                self.set_field_property(field, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)
            if places is not None:
                # RecBole keeps times as float32, which tells moments of today apart from 128 seconds on; places it keeps exactly.
                columns[self.time_field] = places[rows].astype(np.float64)
                self.set_field_property(
                    self.time_field, FeatureType.FLOAT, FeatureSource.INTERACTION, 1
                )
            self.inter_feat = pd.DataFrame(columns, copy=False)
            self.user_feat = self.item_feat = None
            self.file_size_list = [int((split.part == part).sum()) for part in (TRAIN, VALID, TEST)]

        def _data_filtering(self) -> None:
            """Filters have run; see `recbole_ext.data.interactions`."""

        def _remap_ID_all(self) -> None:
            data = self._given[0]
            for field, tokens in (
                (self.uid_field, data.user_tokens),
                (self.iid_field, data.item_tokens),
            ):
                names = np.array(["[PAD]", *tokens], dtype=object)
                self.field2id_token[field] = names
                self.field2token_id[field] = _Places(names)

        @property
        def item_vectors(self) -> torch.Tensor:
            """[n_items + 1, d], one for all parts."""
            found: torch.Tensor = self.padded_vectors.tensor
            return found

        def forget_item_vectors(self) -> None:
            """For a model that makes something else of them, and reads no more: of a million items they take more than all else."""
            self.padded_vectors.forget()

        def data_augmentation(self) -> None:
            """A row for each prefix of each history, unless the model reads them whole."""
            if self._whole:
                self.sort(by=[self.uid_field, self.time_field], ascending=True)
            else:
                super().data_augmentation()

        def _fill_nan(self) -> None:
            """Nothing is missing; RecBole's version writes to a copy under pandas 3."""

        def with_histories(self) -> Any:
            """Training part and what is folded in, None where nothing is; once it is built."""
            known, histories = sum(self.file_size_list), len(self.inter_feat)
            if sequential or histories == known:
                return None
            found = self.copy(self.inter_feat[np.r_[: self.file_size_list[0], known:histories]])
            # RecBole goes through all interactions for it, and every validation asks for it again.
            found.history_item_matrix = functools.cache(found.history_item_matrix)
            return found

        def build(self) -> list[Any]:
            self._change_feat_format()
            if sequential:
                return [self.copy(self.inter_feat)] * 3
            ends = np.cumsum(self.file_size_list)
            return [
                self.copy(self.inter_feat[int(end - size) : int(end)])
                for size, end in zip(self.file_size_list, ends, strict=True)
            ]

    return HarnessDataset


def build_model(model: type | str, bench: Bench) -> Any:
    """The model on its device. RecBole's own models are found by name."""
    from recbole.model.general_recommender.lightgcn import LightGCN
    from recbole.utils import get_model

    from recbole_ext.recbole_compat.propagation import SymmetricMatrix

    cls = get_model(model) if isinstance(model, str) else model
    with warnings.catch_warnings(), by_recbole(bench.name, bench.dataset.dataset_name):
        warnings.simplefilter("ignore")
        built = cls(bench.config, bench.dataset).to(bench.config["device"])
        if isinstance(built, LightGCN):
            built.norm_adj_matrix = SymmetricMatrix(built.norm_adj_matrix)
        return built
