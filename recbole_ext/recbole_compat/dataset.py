"""RecBole's dataset, filled from memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recbole_ext.core.arrays import Ints
from recbole_ext.data.interactions import Interactions
from recbole_ext.data.splits import TEST, TRAIN, UNUSED, VALID, Split

if TYPE_CHECKING:
    import torch


class Padded:
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


@functools.cache
def dataset_class(sequential: bool) -> type:
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
