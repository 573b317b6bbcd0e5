"""Who has what, in RecBole's ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recbole_ext.data.interactions import Interactions
from recbole_ext.data.splits import HISTORY, TRAIN, VALID, Split


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


def validation_rows(data: Interactions, split: Split) -> sp.csr_matrix:
    """[n_users + 1, n_items + 1] all that users with a validation part have, but for their test part; other rows are empty."""
    users, _ = split.pairs(data, VALID)
    user, item = split.pairs(data, TRAIN, HISTORY, VALID)
    kept = np.isin(user, users)
    cells = np.ones(int(kept.sum()), np.float32), (user[kept] + 1, item[kept] + 1)
    rows = sp.csr_matrix(cells, (len(data.user_tokens) + 1, len(data.item_tokens) + 1))
    rows.data[:] = 1.0
    return rows
