"""RLMRec's pickled matrices, written by hand here: the parts, the items' numbers, and nothing that a pickle could run."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_ext.core.errors import HarnessError
from recbole_ext.data.catalog import DatasetSpec
from recbole_ext.data.load import load_dataset
from recbole_ext.data.source import Supply, described

NAME = "rlmrec-amazon-book"
PAIRS = {"trn": [(0, 0), (0, 3), (1, 1), (2, 2)], "val": [(1, 3)], "tst": [(0, 2), (2, 0)]}


def written(folder, **other):
    for part, pairs in PAIRS.items():
        rows, columns = np.array(pairs).T
        matrix = sp.coo_matrix((np.ones(len(pairs)), (rows, columns)), shape=(3, 4))
        (folder / f"{part}_mat.pkl").write_bytes(pickle.dumps(other.get(part, matrix)))
    lines = [json.dumps({"iid": i, "asin": f"B{i}"}) for i in range(4)]
    (folder / "amazon_item.json").write_text("\n".join(lines) + "\n")


def loaded(folder, allow=True):
    found = described(NAME)
    supply = Supply(folder / "cache", folder, allow_pickle=allow)
    return load_dataset(
        DatasetSpec(NAME, None, found["options"], found["source"], supply), {"split": "files"}
    )


def test_the_matrices_are_the_parts_and_a_zero_is_no_interaction(tmp_path):
    with_zero = sp.coo_matrix(([1.0, 0.0], ([0, 1], [2, 2])), shape=(3, 4))
    written(tmp_path, tst=with_zero)
    data = loaded(tmp_path)
    found = {
        part: {
            (data.user_tokens[u], data.item_tokens[i])
            for u, i in zip(data.user[data.part == k], data.item[data.part == k], strict=True)
        }
        for k, part in enumerate(PAIRS)
    }
    expected = {part: {(str(u), str(i)) for u, i in pairs} for part, pairs in PAIRS.items()}
    assert found == {**expected, "tst": {("0", "2")}}
    asins = dict(zip(data.item_tokens, data.item_columns["asin"], strict=True))
    assert asins == {str(i): f"B{i}" for i in range(4)}


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


def test_a_pickle_is_read_where_that_is_asked_for_and_only_as_a_matrix(tmp_path):
    written(tmp_path)
    with pytest.raises(HarnessError, match="--allow-pickle"):
        loaded(tmp_path, allow=False)
    for wrong, said in (
        (Evil(tmp_path / "evil"), "which no matrix needs; it was not read"),
        ({"a": 1}, "holds no sparse matrix"),
        (sp.csr_matrix(np.eye(3)), "which no matrix needs"),
    ):
        written(tmp_path, val=wrong)
        with pytest.raises(HarnessError, match=f"val_mat.pkl: .*{said}"):
            loaded(tmp_path)
    assert not (tmp_path / "evil").exists()
    (tmp_path / "val_mat.pkl").write_bytes(b"no pickle")
    with pytest.raises(HarnessError, match=r"val_mat\.pkl: no readable matrix"):
        loaded(tmp_path)
